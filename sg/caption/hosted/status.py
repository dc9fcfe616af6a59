"""The state of a captioning run, read from its ledger, and a check whether a run could start."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.hosted.run import ledger_path, recipe_of
from sg.caption.hosted.services.records import Failure, Request
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import TERMINAL
from sg.sources.config import DataConfig

STATUS_SCHEMA = 1
"""Version of the record that `status` returns."""


def status(db: sqlite3.Connection, recipe: Recipe) -> dict[str, Any]:
    """States, remaining time, costs and requests as plain data; `hours_left` is None if it is not known."""
    counts, now = reading.states(db, recipe.name), time.time()
    total = sum(counts.values()) - counts.get("withdrawn", 0)
    done = sum(counts.get(state, 0) for state in TERMINAL)
    recent = reading.results_since(db, now - 3600)
    usd, tokens, requests = reading.spent_since(db, now - 3600)
    return {
        "videos": total,
        "done": done,
        "hours_left": 0.0 if done == total else ((total - done) / recent if recent else None),
        "states": counts,
        "spent_usd": reading.spent_usd(db),
        "last_hour": {"usd": usd, "requests": requests, "tokens": tokens},
        "requests_today": reading.requests_since(db, reading.pacific_midnight(now)),
        "lost_requests": reading.lost_requests(db),
        "errors": reading.errors(db),
    }


def status_text(record: Mapping[str, Any]) -> str:
    """The record of `status` as text."""
    hours, hour = record["hours_left"], record["last_hour"]
    left = "no result in the last hour" if hours is None else f"{hours:.1f} h left"
    left = "nothing left" if record["done"] == record["videos"] else left
    lines = [
        f"  {'videos':<22}{record['done']:,} of {record['videos']:,} done, {left}",
        *(f"  {state.replace('_', ' '):<22}{count:,}" for state, count in record["states"].items()),
        f"  {'spent':<22}${record['spent_usd']:,.4f}, of it ${hour['usd']:,.4f} in the last hour",
        f"  {'last hour':<22}{hour['requests']:,} requests, {hour['tokens']:,} tokens",
        f"  {'requests today':<22}{record['requests_today']:,} (a day ends at midnight US Pacific)",
        f"  {'lost in flight':<22}{record['lost_requests']:,}",
        *(f"  {'error: ' + kind:<22}{count:,}" for kind, count in record["errors"].items()),
    ]
    return "\n".join(lines)


def doctor(data: DataConfig, config: HostedCaptionerConfig) -> str:
    """Whether key, model and disk would allow a run: asks the model one short question, without a video."""
    recipe = recipe_of(config)
    folder = ledger_path(data, config).parent
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free

    async def ask() -> str:
        service = config.service()
        try:
            question = Request(config.model.name, "Answer in one word.", "Say yes.", None, {"max_output_tokens": 256})
            answer = await service.generate(question)
        finally:
            await service.close()
        return f"FAILS: {answer.sentence()}" if isinstance(answer, Failure) else f"{answer.model_version} answers"

    place = f"{'found' if Path(data.videos).is_dir() else 'NOT FOUND'} in {data.videos}"
    if config.urls or data.is_remote:
        place = f"the service reads them at {config.urls or data.videos}"
    lines = [
        f"  {'model':<12}{asyncio.run(ask())}",
        f"  {'prompt':<12}{recipe.prompt.prompt_id} version {recipe.prompt.version}",
        f"  {'disk':<12}{free / 1e9:,.1f} GB free for the ledger in {folder}",
        f"  {'videos':<12}{place}",
    ]
    return "\n".join(lines)
