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
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sg
from sg.artefacts.manifest import hash_manifest, scan_manifest
from sg.caption.hosted import pricing
from sg.caption.hosted.engine.clips import Clip, clip_of, new_tasks, task_key
from sg.caption.hosted.engine.limits import DailyQuota, Purse
from sg.caption.hosted.engine.media import Films
from sg.caption.hosted.engine.outcomes import SCHEMA_VERSION, Outcomes, Settled
from sg.caption.hosted.engine.pacing import Breaker, Pacer
from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.hosted.engine.requests import Desk
from sg.caption.hosted.engine.run import Run
from sg.caption.hosted.engine.uploads import FileStore
from sg.caption.hosted.prompting import read_prompt
from sg.caption.hosted.records import write_results
from sg.caption.hosted.services.build import build_service
from sg.caption.hosted.services.records import Service
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.caption.ledger import reading
from sg.caption.ledger.journal import Journal
from sg.caption.ledger.ledger import TERMINAL, Ledger
from sg.caption.ledger.merge import adopt, answered_keys
from sg.core.errors import ConfigError
from sg.core.progress import Progress
from sg.core.tracking import LoggerConfig, Tracker
from sg.sources.config import CAPTIONS_FOLDER, DataConfig

log = logging.getLogger(__name__)
_LOGGED_EVERY_S = 10.0


def recipe_of(config: HostedCaptionerConfig) -> Recipe:
    """The prompt and the settings of a captioner, checked against each other."""
    return Recipe(config, read_prompt(config.prompt))


def ledger_path(data: DataConfig, config: HostedCaptionerConfig) -> Path:
    """The ledger of a captioner's captions; every shard has its own."""
    which, count = config.shard_of
    name = "ledger.sqlite" if count == 1 else f"ledger-{which}of{count}.sqlite"
    return data.captions_path(config.name).parent / name


def estimate_run(
    data: DataConfig, config: HostedCaptionerConfig, manifest: Path, input_ratio: float = 1.0
) -> pricing.Estimate:
    """What captioning the data takes, without a request; `input_ratio` as of `pricing.estimate`.

    Clips that the data this is drawn from has captions for are not counted: they are taken over.
    """
    recipe = recipe_of(config).name
    known = {key for path in _part_ledgers(data, config) for key in answered_keys(path, recipe)}
    clips = (clip for clip in map(clip_of, scan_manifest(manifest)) if task_key(clip, recipe) not in known)
    items = (pricing.EstimatedClip(clip.duration_s, clip.has_audio, _size(data, clip)) for clip in clips)
    return pricing.estimate(config, items, datetime.datetime.now(datetime.UTC).date(), input_ratio)


def caption_with_service(data: DataConfig, config: HostedCaptionerConfig, manifest: Path, logger: LoggerConfig) -> Path:
    """Caption the clips of the manifest, or go on doing so; gives the path of the captions.

    The manifest is read a part at a time and the clips go into the ledger, so memory does not grow with their number.

    Raises:
        ConfigError: a setting, the key, the budget or the permission is missing.
        SgError: a limit ended the run; its captions so far are written, and the same command goes on.
        KeyboardInterrupt: the user ended it; the same holds.
    """
    recipe = recipe_of(config)
    estimate = estimate_run(data, config, manifest)
    _check_permissions(config, estimate)
    service = build_service(config)
    manifest_hash = hash_manifest(manifest)
    folder = data.captions_path(config.name).parent
    path = ledger_path(data, config)
    with _only_one(path):
        ledger = Ledger(path)
        try:
            lost = ledger.start_run(_snapshot(config), _versions(service))
            if lost:
                log.info("%d requests of an earlier run were lost in flight; each may have been paid", lost)
            ledger.set_tasks(recipe.name, new_tasks(scan_manifest(manifest), recipe.name, config.shard_of))
            for other in _part_ledgers(data, config):
                if count := adopt(ledger, other, recipe.name):
                    log.info("%s clips were captioned before and are not asked again: %s", f"{count:,}", other)
            if count := ledger.requeue(recipe.name, config.retry_states):
                log.info("%d clips are tried again", count)
            status = "failed"
            try:
                asyncio.run(_work(data, config, recipe, ledger, service, logger))
                status = "done"
            except KeyboardInterrupt:
                status = "interrupted"
                raise
            finally:
                ledger.end_run(status)
                _say_result(ledger, recipe)
                captions = write_results(ledger.connection, recipe, folder, manifest_hash)
        finally:
            ledger.close()
    return captions


def _part_ledgers(data: DataConfig, config: HostedCaptionerConfig) -> list[Path]:
    """Ledgers of this captioner for the data that a mix is drawn from."""
    folders = (folder / CAPTIONS_FOLDER / config.name for folder in data.part_folders)
    return [path for folder in folders for path in sorted(folder.glob("ledger*.sqlite"))]


async def _work(
    data: DataConfig,
    config: HostedCaptionerConfig,
    recipe: Recipe,
    ledger: Ledger,
    service: Service,
    logger: LoggerConfig,
) -> None:
    journal = Journal(ledger)
    counts = reading.states(ledger.connection, recipe.name)
    total = sum(counts.values()) - counts.get("withdrawn", 0)
    before = sum(counts.get(state, 0) for state in TERMINAL)
    folder = data.captions_path(config.name).parent
    with (
        Progress("captions", total, "clips", done_before=before) as bar,
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
        desk = make_desk(data, config, recipe, total, ledger, journal, service)
        watch = Watch(bar, tracker)
        try:
            if desk.store is not None:
                await desk.store.sweep(keep=_needed_files(ledger))
            if config.kind == "gemini_batch":
                from sg.caption.hosted.engine.batches import BatchRun

                await BatchRun(desk, watch).go()
            else:
                await Run(desk, watch).go()
        finally:
            tracker.summary({"cost/usd": desk.purse.spent_usd, **_share(desk)})
            await service.close()
            await journal.close()


def make_desk(
    data: DataConfig,
    config: HostedCaptionerConfig,
    recipe: Recipe,
    num_clips: int,
    ledger: Ledger,
    journal: Journal,
    service: Service,
) -> Desk:
    """Everything that requests need, with what earlier runs used up of quotas and budget."""
    batch = config.kind == "gemini_batch"
    today = datetime.datetime.now(datetime.UTC).date()
    price = pricing.price_on(config.model, today, batch=batch, allow_expired=config.allow_expired_price)
    quota, db = config.quota, ledger.connection

    def scaled(limit: float | None) -> float | None:
        return None if limit is None else limit * quota.safety_factor

    pacer = Pacer(
        rpm=scaled(quota.rpm), tpm=scaled(quota.tpm), usd_per_10_min=scaled(quota.usd_per_10_min), say=log.info
    )
    now = time.time()
    for started, tokens, usd in reading.recent_requests(db, now - 660):
        pacer.remember(now - started, tokens, usd)
    store = None
    if config.kind in ("gemini", "gemini_batch"):
        store = FileStore(service, journal, ledger, log.info)  # type: ignore[arg-type]  # both kinds keep files
    folder = data.captions_path(config.name).parent
    can_upload = config.kind == "gemini"
    return Desk(
        recipe=recipe,
        num_clips=num_clips,
        ledger=ledger,
        journal=journal,
        service=service,
        films=Films(Path(data.videos), config.transport, folder / "proxies", can_upload=can_upload, timeout_s=300),
        store=store,
        pacer=pacer,
        breaker=Breaker(),
        purse=Purse(_budget(config), reading.spent_usd(db)),
        day=DailyQuota(quota, lambda since: reading.requests_since(db, since)),
        outcomes=Outcomes(recipe, price, _made_by(recipe, service, ledger.run_id, price), draw=random.Random()),
        forecast=pricing.Forecast(price, recipe.max_output_tokens),
        say=log.info,
    )


class Watch:
    """Shows a run: the bar with its running cost, and every ten seconds the numbers for W&B."""

    def __init__(self, bar: Progress, tracker: Tracker) -> None:
        self._bar, self._tracker, self._logged = bar, tracker, time.monotonic()

    def __call__(self, settled: Settled, run: Any) -> None:
        """One request was settled."""
        counts, desk = run.counts, run.desk
        note = f"${desk.purse.spent_usd:.4f}, {run.concurrency.in_flight} in flight"
        if settled.decision.state == "succeeded":
            self._bar.advance(note=note)
        elif settled.decision.state in TERMINAL:
            self._bar.note = note
            self._bar.fail()
        if time.monotonic() - self._logged > _LOGGED_EVERY_S:
            self._logged = time.monotonic()
            values = {"captions/done": counts.captions, "captions/without": counts.ended_without}
            values |= {"speed/requests": counts.requests, "speed/concurrency": run.concurrency.limit}
            values |= {"tokens/input": counts.input_tokens, "tokens/output": counts.output_tokens}
            errors = {f"errors/{kind}": count for kind, count in counts.errors.items()}
            self._tracker.log(values | errors | {"cost/usd": desk.purse.spent_usd, **_share(desk)})


def _share(desk: Desk) -> dict[str, float]:
    return {"cost/share_of_budget": desk.purse.spent_usd / desk.purse.budget_usd}


def _budget(config: HostedCaptionerConfig) -> float:
    return config.free_without_asking_usd if config.budget_usd is None else config.budget_usd


def _check_permissions(config: HostedCaptionerConfig, estimate: pricing.Estimate) -> None:
    if not config.i_have_rights:
        raise ConfigError(
            "Captioning sends your films to a service: check that their licence and the people in them allow it, then "
            "say captioner.i_have_rights=true."
        )
    usd = estimate.batch_usd if config.kind == "gemini_batch" else estimate.sync_usd
    if config.budget_usd is None and usd > config.free_without_asking_usd:
        raise ConfigError(
            f"Captioning these {estimate.clips:,} clips costs about ${usd:,.2f}: see dry_run=true, then give "
            "captioner.budget_usd=DOLLARS."
        )


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """One process a ledger; a killed one lets go at once, so its successor waits for no lease to run out."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"Another process is captioning with {path}: wait for it, or give each its part with "
                "captioner.shard=0/2."
            ) from None
        yield


def _needed_files(ledger: Ledger) -> list[str]:
    rows = ledger.connection.execute("SELECT input_file FROM batch_job WHERE state IN ('creating', 'submitted')")
    return [name for (name,) in rows if name]


def _size(data: DataConfig, clip: Clip) -> int:
    """Bytes of a film, by the manifest or as it lies on the disk; 0 where it or the folder is missing."""
    if clip.size or not clip.path:
        return clip.size
    try:
        return (Path(data.videos) / clip.path).stat().st_size
    except OSError:
        return 0


def _say_result(ledger: Ledger, recipe: Recipe) -> None:
    counts = reading.states(ledger.connection, recipe.name)
    text = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in counts.items())
    log.info("clips: %s; $%.4f spent, %d requests lost in flight", text, reading.spent_usd(ledger.connection),
             reading.lost_requests(ledger.connection))  # fmt: skip


def _snapshot(config: HostedCaptionerConfig) -> str:
    return json.dumps(asdict(config), sort_keys=True)


def _versions(service: Service) -> str:
    return json.dumps({"sg": sg.__version__, "python": platform.python_version(), service.sdk[0]: service.sdk[1]})


def _made_by(recipe: Recipe, service: Service, run_id: str, price: pricing.Price) -> dict[str, Any]:
    config, prompt = recipe.config, recipe.prompt
    return {
        "schema_version": SCHEMA_VERSION,
        "model": config.model.name,
        "backend": config.kind,
        "sdk": {"name": service.sdk[0], "version": service.sdk[1]},
        "api_version": config.api_version if config.kind.startswith("gemini") else "",
        "prompt": {"id": prompt.prompt_id, "version": prompt.version, "hash": prompt.content_hash},
        "params_hash": recipe.params_hash,
        "price_row": {"input": price.input, "output": price.output, "valid_from": price.valid_from},
        "run_id": run_id,
    }
