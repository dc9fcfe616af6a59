"""Asking a service with the ledger: each item once, within quotas and budget, resumable after any end.

Captions, verdicts of a judge and answers to the questions of a benchmark are obtained here. They differ in their
recipe, which makes the requests and examines the answers, and in the files that are sent.
"""

import asyncio
import contextlib
import datetime
import json
import logging
import platform
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import sg
from sg.artefacts.captions import CAPTIONS_FILE, read_captions
from sg.artefacts.tables import read_info
from sg.caption.hosted import pricing
from sg.caption.hosted.engine.items import CaptionItem, new_tasks
from sg.caption.hosted.engine.limits import Budget, DailyQuota
from sg.caption.hosted.engine.outcomes import Outcomes
from sg.caption.hosted.engine.pacing import CircuitBreaker, Pacer
from sg.caption.hosted.engine.recipe import Recipe, Words
from sg.caption.hosted.engine.requests import RequestPipeline, SentMedia
from sg.caption.hosted.engine.retries import PAUSE_JITTER
from sg.caption.hosted.engine.run import CaptioningRun
from sg.caption.hosted.engine.uploads import FileStore
from sg.caption.hosted.records import origin
from sg.caption.hosted.services.records import Service
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.caption.hosted.watch import Watch, share_of_budget
from sg.caption.ledger import reading
from sg.caption.ledger.journal import LedgerJournal
from sg.caption.ledger.ledger import BLOCKED, FAILED, REJECTED, SUCCEEDED, TERMINAL, Ledger
from sg.caption.ledger.merge import adopt
from sg.caption.ledger.recipes import other_recipes, record_recipe, rename_recipe
from sg.core.errors import ConfigError, DataError
from sg.core.identity import differences
from sg.core.progress import Progress
from sg.core.tracking import LoggerConfig, Tracker

log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ServiceWork:
    """What a service is asked.

    Attributes:
        items: yields all items; it is called once per run.
        media: the files that are sent.
        estimate: what the items cost, without a request.
        title: names the run in logs.
        folder: for the logs of the runs.
        known: other ledgers, whose answers of the same recipe are copied.
    """

    recipe: Recipe
    items: Callable[[], Iterable[CaptionItem]]
    media: Callable[[], SentMedia]
    estimate: Callable[[], pricing.CostEstimate]
    title: str
    folder: Path
    known: Sequence[Path] = ()


def bring_up_to_date(path: Path, recipe: Recipe) -> None:
    """Give the results of an earlier version of this program the current name of their recipe, if there are any."""
    if count := rename_recipe(path, recipe.former_name, recipe.name):
        log.info("%s results of an earlier version of this program are kept: %s", f"{count:,}", path)


def other_captions(path: Path, recipe: Recipe) -> str:
    """A warning if the ledger has captions, but none of this recipe, so that all videos would be paid for again."""
    bring_up_to_date(path, recipe)
    lines = []
    for other in other_recipes(path, recipe.name):
        changed = (
            "" if other.identity is None else f" ({'; '.join(map(str, differences(other.identity, recipe.identity)))})"
        )
        what = f"{other.captions:,} {recipe.words.result}s"
        lines.append(f"{path} has {what} of another prompt, model, setting or version{changed}.")
    if lines:
        lines.append(
            "They are kept, but not used: to use them, restore what differs. Otherwise every request is paid again."
        )
    return "\n".join(lines)


def ask(work: ServiceWork, path: Path, logger: LoggerConfig, write: Callable[[Ledger], Result]) -> Result:
    """Ask a service about all items, or continue an earlier run, with the ledger at `path`.

    The items are read in parts and kept in the ledger, so memory does not grow with their number. `write` is called
    with the ledger at the end of the run, however it ends; its value is returned.

    Raises:
        ConfigError: a setting, the key, the budget or the permission is missing.
        SgError: a limit ended the run; the same command continues.
        KeyboardInterrupt: the user ended it; the same holds.
    """
    recipe = work.recipe
    _check_permissions(recipe, work.estimate())
    service = recipe.config.service()
    with only_one(path, recipe.words), reading.naming_damage(path):
        if warning := other_captions(path, recipe):
            log.warning("%s", warning)
        with contextlib.closing(Ledger(path)) as ledger:
            _prepare(work, ledger, service)
            status = "failed"
            try:
                asyncio.run(_work(work, ledger, service, logger))
                status = "done"
            except KeyboardInterrupt:
                status = "interrupted"
                raise
            finally:
                ledger.end_run(status)
                _log_result(ledger, work)
                written = write(ledger)
            _check_captions(ledger, recipe)
    return written


def _check_captions(ledger: Ledger, recipe: Recipe) -> None:
    """Raise an error if the run has ended without a caption, so that there is no file to print the path of."""
    counts = reading.states(ledger.connection, recipe.name)
    ended = {state: count for state, count in counts.items() if state in TERMINAL}
    if ended and not counts.get(SUCCEEDED):
        reasons = [
            f"{count:,} {state.replace('_', ' ')} ({reading.last_error(ledger.connection, recipe.name, state)})"
            for state, count in ended.items()
        ]
        all_items = f"{sum(ended.values()):,} {recipe.words.items}"
        raise DataError(
            f"No {recipe.words.result} for any of the {all_items}: {', '.join(reasons)}. Once the reason is gone, "
            f"captioner.retry_states=[{','.join(ended)}] asks again."
        )


def _prepare(work: ServiceWork, ledger: Ledger, service: Service) -> None:
    """Start a run in the ledger: its tasks are the items that have no result anywhere."""
    recipe, config = work.recipe, work.recipe.config
    longest_pause_s = PAUSE_JITTER * config.retry.max_wait_s
    if lost := ledger.start_run(_snapshot(config), _versions(service), longest_pause_s):
        log.info("%d requests of an earlier run were lost in flight; each may have been billed", lost)
    if reading.costs_disagree(ledger.connection):
        log.warning(
            "%s: the costs of its requests and of its minutes disagree, so a part of the file has changed; "
            "the larger sum counts, $%.4f",
            ledger.path,
            reading.spent_usd(ledger.connection),
        )
    record_recipe(ledger, recipe.identity)
    ledger.set_tasks(recipe.name, new_tasks(work.items(), recipe.name, config.shard_of))
    for other in work.known:
        if count := adopt(ledger, other, recipe.name):
            log.info("%s videos were captioned before and are not asked again: %s", f"{count:,}", other)
    _check_nothing_is_bought_again(ledger.path.parent, recipe, ledger)
    if count := ledger.requeue(recipe.name, config.retry_states):
        log.info("%d %s are tried again", count, recipe.words.items)


def _check_nothing_is_bought_again(folder: Path, recipe: Recipe, ledger: Ledger) -> None:
    """Stop if captions of this recipe exist whose purchase the ledger does not know: it was deleted, or is older.

    Raises:
        DataError: the message names the captions and the ledger.
    """
    for path in (folder / CAPTIONS_FILE, *sorted(folder.glob(f"*/{CAPTIONS_FILE}"))):
        info = read_info(path)
        if path.is_file() and not info and not reading.states(ledger.connection, recipe.name).get(SUCCEEDED):
            raise DataError(
                f"{path} cannot be read, and the ledger {ledger.path} knows no caption of it, so all would be bought "
                "again: restore the ledger from a backup, or move these captions away to buy them again."
            )
        if info.get("recipe_identity", {}).get("inputs", {}).get("answers") != recipe.identity.plain():
            continue
        again = reading.bought_again(ledger.connection, recipe.name, read_captions(path))
        if again:
            raise DataError(
                f"{path} has captions of {len(again):,} videos ({again[0]}, ...) that the ledger {ledger.path} does "
                "not know, so they would be bought again: restore the ledger from a backup, merge the ledgers of "
                "shards (action=merge), or move these captions away to buy them again."
            )


async def _work(work: ServiceWork, ledger: Ledger, service: Service, logger: LoggerConfig) -> None:
    recipe, config = work.recipe, work.recipe.config
    journal = LedgerJournal(ledger)
    counts = reading.states(ledger.connection, recipe.name)
    total = sum(counts.values()) - counts.get("withdrawn", 0)
    before = sum(counts.get(state, 0) for state in TERMINAL)
    kind, _, name = work.title.partition(" ")
    with (
        Progress("captions" if kind == "caption" else kind, total, recipe.words.items, done_before=before) as bar,
        Tracker(
            logger,
            work.folder / "runs" / ledger.run_id,
            name=f"{work.title} {config.name}",
            group=work.title,
            job_type=kind,
            settings=json.loads(_snapshot(config)),
            tags=[name, config.name, config.model.name],
        ) as tracker,
    ):
        pipeline = make_pipeline(work, total, ledger, journal, service)
        watch = Watch(bar, tracker)
        try:
            if pipeline.store is not None:
                await pipeline.store.sweep(keep=reading.files_of_jobs(ledger.connection))
            if config.in_batches:
                from sg.caption.hosted.engine.batches import BatchCaptioningRun

                await BatchCaptioningRun(pipeline, watch).go()
            else:
                await CaptioningRun(pipeline, watch).go()
        finally:
            tracker.summary({"cost/usd": pipeline.budget.spent_usd, **share_of_budget(pipeline)})
            await service.close()
            await journal.close()


def make_pipeline(
    work: ServiceWork, num_items: int, ledger: Ledger, journal: LedgerJournal, service: Service
) -> RequestPipeline:
    """Everything that requests need, with what earlier runs have used of quotas and budget."""
    recipe, config = work.recipe, work.recipe.config
    price = pricing.price_of(config, datetime.datetime.now(datetime.UTC).date())
    quota, db = config.quota, ledger.connection
    store = None
    if config.has_file_store:
        store = FileStore(service, log.info)  # type: ignore[arg-type]  # `has_file_store` says so
    return RequestPipeline(
        recipe=recipe,
        num_videos=num_items,
        ledger=ledger,
        journal=journal,
        service=service,
        media=work.media(),
        store=store,
        pacer=_pacer(config, ledger),
        breaker=CircuitBreaker(),
        budget=Budget(_budget(config), reading.spent_usd(db)),
        day=DailyQuota(quota, lambda since: reading.requests_since(db, since)),
        outcomes=Outcomes(recipe, price, origin(recipe, service, ledger.run_id, price), draw=random.Random()),
        forecast=pricing.Forecast(price, recipe.max_output_tokens),
        say=log.info,
    )


def _pacer(config: HostedCaptionerConfig, ledger: Ledger) -> Pacer:
    """A pacer that has counted the requests of earlier processes: a restart does not reset the provider's windows."""
    quota = config.quota

    def scaled(limit: float | None) -> float | None:
        return None if limit is None else limit * quota.safety_factor

    pacer = Pacer(
        rpm=scaled(quota.rpm), tpm=scaled(quota.tpm), usd_per_10_min=scaled(quota.usd_per_10_min), say=log.info
    )
    now = time.time()
    for started, tokens, usd in reading.recent_requests(ledger.connection, now - 660):
        pacer.remember(now - started, tokens, usd)
    return pacer


def _budget(config: HostedCaptionerConfig) -> float:
    return config.free_without_asking_usd if config.usd_budget is None else config.usd_budget


def _check_permissions(recipe: Recipe, estimate: pricing.CostEstimate) -> None:
    config, words = recipe.config, recipe.words
    if not config.i_have_rights:
        raise ConfigError(
            f"{words.doing} sends your videos to a service: check that their licence and the people in them allow it, "
            "then set captioner.i_have_rights=true."
        )
    usd = estimate.usd[config.tier]
    if config.usd_budget is None and usd > config.free_without_asking_usd:
        look = "see dry_run=true, then " if words.is_captioning else ""
        raise ConfigError(
            f"{words.doing} these {estimate.videos:,} {words.items} costs about ${usd:,.2f}: {look}set "
            "captioner.budget_usd=DOLLARS."
        )


@contextlib.contextmanager
def only_one(path: Path, words: Words = Recipe.words) -> Iterator[None]:
    """An exclusive lock per ledger. The operating system frees it when the process dies, so no lease has to expire."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            share = ", or give each process its part with captioner.shard=0/2" if words.is_captioning else ""
            raise ConfigError(f"Another process is {words.doing.lower()} with {path}: wait for it{share}.") from None
        yield


def _log_result(ledger: Ledger, work: ServiceWork) -> None:
    """Print the number of items in each state, and why those without a result have none."""
    db, recipe = ledger.connection, work.recipe
    counts = reading.states(db, recipe.name)
    text = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in counts.items())
    log.info(
        "%s: %s; $%.4f spent, %d requests lost in flight",
        recipe.words.items, text, reading.spent_usd(db), reading.lost_requests(db),
    )  # fmt: skip
    for state in (BLOCKED, REJECTED, FAILED):
        if counts.get(state):
            log.info("%s, most often: %s", state.replace("_", " "), reading.last_error(db, recipe.name, state))
    if count := reading.estimated_costs(db, ledger.run_id):
        log.warning(
            "%s %ss cost what was estimated: the service reported no token counts for them, or impossible ones",
            f"{count:,}",
            recipe.words.result,
        )


def _snapshot(config: HostedCaptionerConfig) -> str:
    return json.dumps(asdict(config), sort_keys=True)


def _versions(service: Service) -> str:
    return json.dumps({"sg": sg.__version__, "python": platform.python_version(), service.sdk[0]: service.sdk[1]})
