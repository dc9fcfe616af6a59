"""Asks a checkpoint with one change of settings after another, and writes the waterfall of the difference."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sg.artefacts.predictions import Prediction, read_predictions
from sg.artefacts.result import PREDICTIONS_FILE
from sg.core.errors import ConfigError
from sg.study.explain.changes import MODEL, changed, parse
from sg.study.explain.waterfall import waterfall, waterfall_text, write_waterfall

log = logging.getLogger(__name__)

READER = "answer_reader"


def explain(config: Any, ask: Callable[[Any], list[Any]]) -> Path:
    """Ask with the settings of `config`, and after each change of `config.explain`; print and write the waterfall.

    Visual tokens and answers that exist are reused; another answer rule alone reads the same responses again.

    Args:
        config: the settings of `evaluate.py` (`EvaluateConfig`).
        ask: asks everything with some settings, and returns its evaluations.

    Raises:
        ConfigError: a change is not a setting, or several benchmarks are given.
    """
    if config.more_benchmarks:
        raise ConfigError("explain=[...] is about one benchmark: name one, as benchmark=NAME.")
    settings = [config]
    steps: list[tuple[Any, list[Prediction]]] = []
    for change in config.explain:
        settings.append(_after(settings[-1], *parse(change)))
    for number, own in enumerate(settings):
        if number and parse(config.explain[number - 1])[0] == READER:
            steps.append(_read_again(own, steps[-1]))
            continue
        (evaluation,) = ask(replace(own, output=None))
        steps.append((evaluation, read_predictions(evaluation.folder / PREDICTIONS_FILE)))
    parts = []
    for setting in config.benchmark.answering.settings:
        rows = [[row for row in found if row.setting == setting] for _, found in steps]
        if all(rows):
            parts += waterfall(setting, list(config.explain), rows)
    print(waterfall_text(parts), end="")
    folder = steps[0][0].folder / "explain" if config.output is None else Path(config.output)
    page = write_waterfall(folder, parts)
    log.info("Waterfall: %s", page)
    return page


def _after(config: Any, key: str, value: str) -> Any:
    if key.startswith(MODEL):
        return replace(config, model=changed(config.model, key.removeprefix(MODEL), value))
    return replace(config, benchmark=changed(config.benchmark, key, value))


def _read_again(config: Any, before: tuple[Any, Sequence[Prediction]]) -> tuple[Any, list[Prediction]]:
    """The rows of the step before, read by another rule."""
    evaluation, rows = before
    questions = {question.question_id: question for question in evaluation.benchmark.questions}
    read = []
    for row in rows:
        if row.status == "ok" and not row.option_order:
            reading = config.benchmark.rule(questions[row.question_id], row.response)
            row = replace(row, letter=reading.letter, score=reading.score)
        read.append(row)
    return evaluation, read
