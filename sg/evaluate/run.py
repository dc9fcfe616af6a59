"""One evaluation from model to scores: what `train.py` does after the last stage, and `evaluate.py` alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sg.artefacts.predictions import OK, read_predictions
from sg.evaluate.answering import evaluate
from sg.evaluate.asking import PromptEncoder, TokenSource
from sg.evaluate.benchmark import Benchmark
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.scoring import OVERALL, Scores, score
from sg.evaluate.submission import write_submissions

log = logging.getLogger(__name__)


def evaluate_model(
    model: Any,
    encoder: PromptEncoder,
    benchmark: Benchmark,
    visual_tokens: TokenSource,
    config: BenchmarkConfig,
    path: Path,
    made_by: str,
    failures: Mapping[str, str] | None = None,
) -> dict[str, dict[str, float]]:
    """Ask everything (see `evaluate`), write the official result files beside `path`, and log the scores.

    Returns:
        Official accuracies in percent: {setting: {"overall" | "short" | ...: accuracy}}, probes included.
    """
    evaluate(model, encoder, benchmark, visual_tokens, config, path, made_by, failures)
    wanted = {*config.answering.settings, *config.answering.probes}
    rows = [row for row in read_predictions(path) if row.setting in wanted]
    write_submissions(path.parent, benchmark, rows)
    scores = score(rows)
    for line in score_lines(scores):
        log.info(line)
    return {setting: result.percentages() for setting, result in scores.items()}


def score_lines(scores: Scores) -> list[str]:
    """A line a setting: official and strict accuracy, buckets, letters, and what went wrong."""
    lines = []
    for setting, result in scores.items():
        overall = result.buckets[OVERALL].overall
        buckets = ", ".join(f"{name} {value:.1f}" for name, value in result.percentages().items() if name != OVERALL)
        letters = " ".join(f"{letter or 'none'} {number}" for letter, number in result.letters.items())
        parts = [f"{setting}: {overall.accuracy:.1f} % of {overall.answered} answered ({buckets})"]
        parts.append(f"{overall.strict_accuracy:.1f} % of all {overall.total}; letters {letters}")
        failed = ", ".join(f"{number} {status}" for status, number in result.statuses.items() if status != OK)
        parts += [failed] if failed else []
        parts += [f"{result.without_subtitle_lines} without a subtitle"] if result.without_subtitle_lines else []
        lines.append("; ".join(parts))
    return lines
