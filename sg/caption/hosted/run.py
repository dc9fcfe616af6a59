"""Captioning a manifest through a service: from the settings to the ledger to `captions.parquet`."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import logging
import platform
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import sg
from sg.artefacts.captions import CAPTIONS_FILE, read_captions
from sg.artefacts.manifest import hash_manifest, scan_manifest
from sg.artefacts.tables import read_info
from sg.caption.hosted import pricing
from sg.caption.hosted.engine.addresses import media_of
from sg.caption.hosted.engine.items import CaptionItem, new_tasks
from sg.caption.hosted.engine.limits import Budget, DailyQuota
from sg.caption.hosted.engine.outcomes import Outcomes
from sg.caption.hosted.engine.pacing import CircuitBreaker, Pacer
from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.hosted.engine.requests import RequestPipeline
from sg.caption.hosted.engine.retries import PAUSE_JITTER
from sg.caption.hosted.engine.run import CaptioningRun
from sg.caption.hosted.engine.uploads import FileStore
from sg.caption.hosted.prompting import read_prompt
from sg.caption.hosted.records import origin, write_results
from sg.caption.hosted.services.records import Service
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.caption.hosted.watch import Watch, share_of_budget
from sg.caption.ledger import reading
from sg.caption.ledger.journal import LedgerJournal
from sg.caption.ledger.ledger import BLOCKED, FAILED, REJECTED, SUCCEEDED, TERMINAL, Ledger
from sg.caption.ledger.merge import adopt, answered_keys
from sg.caption.ledger.recipes import other_recipes, record_recipe, rename_recipe, task_key
from sg.core.errors import ConfigError, DataError
from sg.core.identity import differences
from sg.core.progress import Progress
from sg.core.tracking import LoggerConfig, Tracker
from sg.sources.config import CAPTIONS_FOLDER, DataConfig

log = logging.getLogger(__name__)
Result = TypeVar("Result")


def recipe_of(config: HostedCaptionerConfig) -> Recipe:
    """The prompt and the settings of a captioner, checked against each other."""
    return Recipe(config, read_prompt(config.prompt))


def ledger_path(data: DataConfig, config: HostedCaptionerConfig) -> Path:
    """The ledger of a captioner's captions; every shard has its own."""
    which, count = config.shard_of
    name = "ledger.sqlite" if count == 1 else f"ledger-{which}of{count}.sqlite"
    return data.captions_path(config.name).parent / name


def results_folder(data: DataConfig, config: HostedCaptionerConfig) -> Path:
    """The folder of the captions; every shard has its own, so that no shard replaces the captions of another."""
    which, count = config.shard_of
    folder = data.captions_path(config.name).parent
    return folder if count == 1 else folder / f"shard-{which}of{count}"


def bring_up_to_date(path: Path, recipe: Recipe) -> None:
    """Give the results of an earlier version of this program the current name of their recipe, if there are any."""
    if count := rename_recipe(path, recipe.former_name, recipe.name):
        log.info("%s videos of an earlier version of this program keep their captions: %s", f"{count:,}", path)


def estimate_run(
    data: DataConfig,
    config: HostedCaptionerConfig,
    manifest: Path,
    input_ratio: float = 1.0,
    recipe: Recipe | None = None,
) -> pricing.CostEstimate:
    """What captioning the data takes, without a request; `input_ratio` as in `pricing.estimate`.

    Videos whose captions a mix copies from the ledgers of its sources are not counted.
    """
    recipe = recipe or recipe_of(config)
    known = {key for path in _part_ledgers(data, config, recipe) for key in answered_keys(path, recipe.name)}
    items = (item for item in _items(recipe, manifest) if task_key(item.item_key, recipe.name) not in known)
    videos = (pricing.EstimatedVideo(item.duration_s, item.has_audio, _size(data, item)) for item in items)
    return pricing.estimate(config, videos, datetime.datetime.now(datetime.UTC).date(), input_ratio)


def _items(recipe: Recipe, manifest: Path) -> Iterator[CaptionItem]:
    return (item for record in scan_manifest(manifest) if (item := recipe.item(record)) is not None)


def other_captions(path: Path, recipe: Recipe) -> str:
    """A warning if the ledger has captions, but none of this recipe, so that all videos would be paid for again."""
    bring_up_to_date(path, recipe)
    lines = []
    for other in other_recipes(path, recipe.name):
        changed = (
            "" if other.identity is None else f" ({'; '.join(map(str, differences(other.identity, recipe.identity)))})"
        )
        lines.append(f"{path} has {other.captions:,} captions of another prompt, model, setting or version{changed}.")
    if lines:
        lines.append(
            "They are kept, but not used: to use them, restore what differs. Otherwise every video is asked again."
        )
    return "\n".join(lines)


def caption_with_service(data: DataConfig, config: HostedCaptionerConfig, manifest: Path, logger: LoggerConfig) -> Path:
    """Caption the videos of the manifest, or continue an earlier run; returns the path of the captions.

    Raises:
        ConfigError, SgError, KeyboardInterrupt: see `ask_service`; the captions so far are written.
    """
    recipe, folder, manifest_hash = recipe_of(config), results_folder(data, config), hash_manifest(manifest)

    def write(ledger: Ledger) -> Path:
        return write_results(ledger.connection, recipe, folder, manifest_hash)

    return ask_service(data, recipe, ledger_path(data, config), manifest, logger, write)


def ask_service(
    data: DataConfig,
    recipe: Recipe,
    path: Path,
    manifest: Path,
    logger: LoggerConfig,
    write: Callable[[Ledger], Result],
) -> Result:
    """Ask a service about the videos of the manifest, or continue an earlier run, with the ledger at `path`.

    The manifest is read in parts and its videos are kept in the ledger, so memory does not grow with their number.
    `write` is called with the ledger at the end of the run, however it ends; its value is returned.

    Raises:
        ConfigError: a setting, the key, the budget or the permission is missing.
        SgError: a limit ended the run; the same command continues.
        KeyboardInterrupt: the user ended it; the same holds.
    """
    config = recipe.config
    _check_permissions(config, estimate_run(data, config, manifest, recipe=recipe))
    service = config.service()
    with _only_one(path):
        if warning := other_captions(path, recipe):
            log.warning("%s", warning)
        with contextlib.closing(Ledger(path)) as ledger:
            _prepare(data, recipe, ledger, service, manifest)
            status = "failed"
            try:
                asyncio.run(_work(data, config, recipe, ledger, service, logger))
                status = "done"
            except KeyboardInterrupt:
                status = "interrupted"
                raise
            finally:
                ledger.end_run(status)
                _log_result(ledger, recipe)
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
        raise DataError(f"None of the {sum(ended.values()):,} videos has a caption: {', '.join(reasons)}.")


def _prepare(
    data: DataConfig,
    recipe: Recipe,
    ledger: Ledger,
    service: Service,
    manifest: Path,
) -> None:
    """Start a run in the ledger: its tasks are those of the manifest that have no result anywhere."""
    config = recipe.config
    longest_pause_s = PAUSE_JITTER * config.retry.max_wait_s
    if lost := ledger.start_run(_snapshot(config), _versions(service), longest_pause_s):
        log.info("%d requests of an earlier run were lost in flight; each may have been billed", lost)
    record_recipe(ledger, recipe.identity)
    ledger.set_tasks(recipe.name, new_tasks(_items(recipe, manifest), recipe.name, config.shard_of))
    for other in _part_ledgers(data, config, recipe):
        if count := adopt(ledger, other, recipe.name):
            log.info("%s videos were captioned before and are not asked again: %s", f"{count:,}", other)
    _check_nothing_is_bought_again(ledger.path.parent, recipe, ledger)
    if count := ledger.requeue(recipe.name, config.retry_states):
        log.info("%d videos are tried again", count)


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


def _part_ledgers(data: DataConfig, config: HostedCaptionerConfig, recipe: Recipe) -> list[Path]:
    """Ledgers of this captioner for the data sets that a mix is drawn from."""
    folders = (folder / CAPTIONS_FOLDER / config.name for folder in data.part_folders)
    paths = [path for folder in folders for path in sorted(folder.glob("ledger*.sqlite"))]
    for path in paths:
        bring_up_to_date(path, recipe)
    return paths


async def _work(
    data: DataConfig,
    config: HostedCaptionerConfig,
    recipe: Recipe,
    ledger: Ledger,
    service: Service,
    logger: LoggerConfig,
) -> None:
    journal = LedgerJournal(ledger)
    counts = reading.states(ledger.connection, recipe.name)
    total = sum(counts.values()) - counts.get("withdrawn", 0)
    before = sum(counts.get(state, 0) for state in TERMINAL)
    folder = data.captions_path(config.name).parent
    with (
        Progress("captions", total, "videos", done_before=before) as bar,
        Tracker(
            logger,
            folder / "runs" / ledger.run_id,
            name=f"caption {data.name} {config.name}",
            group=f"caption {data.name}",
            job_type="caption",
            settings=json.loads(_snapshot(config)),
            tags=[data.name, config.name, config.model.name],
        ) as tracker,
    ):
        pipeline = make_pipeline(data, config, recipe, total, ledger, journal, service)
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
    data: DataConfig,
    config: HostedCaptionerConfig,
    recipe: Recipe,
    num_videos: int,
    ledger: Ledger,
    journal: LedgerJournal,
    service: Service,
) -> RequestPipeline:
    """Everything that requests need, with what earlier runs have used of quotas and budget."""
    today = datetime.datetime.now(datetime.UTC).date()
    price = pricing.price_of(config, today)
    quota, db = config.quota, ledger.connection
    store = None
    if config.has_file_store:
        store = FileStore(service, log.info)  # type: ignore[arg-type]  # `has_file_store` says so
    return RequestPipeline(
        recipe=recipe,
        num_videos=num_videos,
        ledger=ledger,
        journal=journal,
        service=service,
        media=media_of(data, config),
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
    return config.free_without_asking_usd if config.budget_usd is None else config.budget_usd


def _check_permissions(config: HostedCaptionerConfig, estimate: pricing.CostEstimate) -> None:
    if not config.i_have_rights:
        raise ConfigError(
            "Captioning sends your videos to a service: check that their licence and the people in them allow it, then "
            "set captioner.i_have_rights=true."
        )
    usd = estimate.usd[config.tier]
    if config.budget_usd is None and usd > config.free_without_asking_usd:
        raise ConfigError(
            f"Captioning these {estimate.videos:,} videos costs about ${usd:,.2f}: see dry_run=true, then set "
            "captioner.budget_usd=DOLLARS."
        )


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """An exclusive lock per ledger. The operating system frees it when the process dies, so no lease has to expire."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"Another process is captioning with {path}: wait for it, or give each process its part with "
                "captioner.shard=0/2."
            ) from None
        yield


def _size(data: DataConfig, item: CaptionItem) -> int:
    """Bytes of a video file, from the manifest or from the disk; 0 if the file or the folder is missing."""
    if item.size or not item.path:
        return item.size
    try:
        return (Path(data.videos) / item.path).stat().st_size
    except OSError:
        return 0


def _log_result(ledger: Ledger, recipe: Recipe) -> None:
    """Print the number of videos in each state, and why those without a caption have none."""
    db = ledger.connection
    counts = reading.states(db, recipe.name)
    text = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in counts.items())
    log.info(
        "videos: %s; $%.4f spent, %d requests lost in flight", text, reading.spent_usd(db), reading.lost_requests(db)
    )
    for state in (BLOCKED, REJECTED, FAILED):
        if counts.get(state):
            log.info("%s, most often: %s", state.replace("_", " "), reading.last_error(db, recipe.name, state))
    if count := reading.estimated_costs(db, ledger.run_id):
        log.warning(
            "%s captions cost what was estimated: the service reported no token counts for them, or impossible ones",
            f"{count:,}",
        )


def _snapshot(config: HostedCaptionerConfig) -> str:
    return json.dumps(asdict(config), sort_keys=True)


def _versions(service: Service) -> str:
    return json.dumps({"sg": sg.__version__, "python": platform.python_version(), service.sdk[0]: service.sdk[1]})
