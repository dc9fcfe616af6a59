"""`evaluate.py served=URL`: ask a server all questions, once each, and write the same rows as for a local model."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sg.artefacts.predictions import OK, Prediction, PredictionWriter, read_predictions
from sg.caption.hosted import pricing
from sg.caption.hosted.asking import ServiceWork, ask
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import Ledger
from sg.core.errors import DataError
from sg.core.files import atomic_path
from sg.core.identity import Identity
from sg.core.mistakes import renamed
from sg.core.tracking import LoggerConfig
from sg.evaluate.asking import Asker
from sg.models.student import STUDENTS, StudentProcessor
from sg.study.served.media import FrameFiles, Unprocessed
from sg.study.served.questions import NO_PROMPT, QuestionRecipe, key_of, rows_of
from sg.study.served.settings import ServerConfig

if TYPE_CHECKING:
    from sg.evaluate.benchmark import Benchmark
    from sg.evaluate.config import BenchmarkConfig
    from sg.video.sampling import FramePolicy

LEDGER_FILE = "ledger.sqlite"
LONGEST_PROMPT = 2**40
_KEYS = {
    "captioner.model.name": "model.name",
    "captioner/model=NAME": "model.name=NAME",
    "captioner.base_url": "served",
    "captioner.": "server.",
}
"""Keys in the engine's messages, and what they are called here."""


def sampling_of(config: ServerConfig, model: Any) -> FramePolicy:
    """The frames of a video: those of the model of the settings, unless `server.frames` sets their number."""
    from sg.video.sampling import MiddleOfSegments

    return MiddleOfSegments(config.frames) if config.frames else STUDENTS.of(model).processor(model).frames


def ask_server(
    benchmark: Benchmark,
    config: BenchmarkConfig,
    server: ServerConfig,
    sampling: FramePolicy,
    path: Path,
    answers: Identity,
) -> Path:
    """Ask the server all questions of a benchmark that have no answer yet, and write all rows to `path`.

    Args:
        answers: the identity of the answers.

    Raises:
        ConfigError: the permission, the key or the budget is missing.
        DataError: answers exist, but the ledger of what was asked is gone.
        SgError: a limit or the server ended the run; the rows so far are written, and the same command continues.
    """
    server = replace(server, generation=_generation(server, config))
    files = FrameFiles(benchmark, server, sampling)
    recipe = _recipe(benchmark, config, server, files, answers)
    if not any(one.is_askable for one in recipe.asks.values()):
        return _write(path, answers.name, [one.row for one in recipe.asks.values()])
    _check_ledger(path, path.with_name(LEDGER_FILE), answers.name)

    def estimate() -> pricing.CostEstimate:
        videos = (pricing.EstimatedVideo(item.duration_s, False) for item in recipe.items(files.counts))
        return pricing.estimate(server, videos, datetime.datetime.now(datetime.UTC).date())

    work = ServiceWork(
        recipe=recipe,
        items=lambda: recipe.items(files.counts),
        media=lambda: files,
        estimate=estimate,
        title=f"evaluate {benchmark.name}",
        folder=path.parent,
    )

    def write(ledger: Ledger) -> Path:
        return _write(path, answers.name, rows_of(ledger, recipe, config))

    with renamed(_KEYS):
        return ask(work, path.with_name(LEDGER_FILE), LoggerConfig(kind="csv"), write)


def _recipe(
    benchmark: Benchmark, config: BenchmarkConfig, server: ServerConfig, files: FrameFiles, answers: Identity
) -> QuestionRecipe:
    """All questions in all settings and probes."""
    processor = cast(StudentProcessor, Unprocessed())
    asker = Asker(benchmark, config, processor, files.facts, LONGEST_PROMPT, answers.name, files.failures)
    return QuestionRecipe(server, NO_PROMPT, {key_of(one.row): one for one in asker.asks()}, answers)


def _generation(server: ServerConfig, config: BenchmarkConfig) -> dict[str, Any]:
    """What is sent with every request: greedy answers of the benchmark's largest length."""
    given = {"max_output_tokens": config.answering.max_new_tokens, "temperature": 0}
    likely = {"logprobs": True, "top_logprobs": server.logprobs} if server.logprobs else {}
    return given | likely | server.generation


def _check_ledger(path: Path, ledger: Path, recipe: str) -> None:
    """Raise DataError if answers exist that the ledger does not know: they would be paid for again."""
    if not path.is_file():
        return
    known: set[str] = set()
    if ledger.is_file():
        with contextlib.closing(reading.open_for_reading(ledger)) as db:
            known = {row.video_id for row in reading.results(db, recipe)}
    try:
        answered = [key_of(row) for row in read_predictions(path) if row.status == OK and row.made_by == recipe]
    except DataError:
        if known:
            return  # they are written again
        raise
    unknown = len(set(answered) - known)
    if unknown:
        what = f"does not know {unknown:,} of them" if ledger.exists() else "is gone"
        raise DataError(
            f"{path} has {len(answered):,} answers, but the ledger {ledger} {what}, so these questions would be asked, "
            "and paid for, again: restore the ledger from a backup, or move these answers away to ask again."
        )


def _write(path: Path, answers: str, rows: Iterable[Prediction]) -> Path:
    """Write the rows whole: their order is that of the benchmark, in whatever order the answers came."""
    with PredictionWriter(path, answers):
        pass  # the answers of another model are moved aside
    with atomic_path(path) as temporary, PredictionWriter(temporary, answers) as writer:
        writer.write(rows)
    return path
