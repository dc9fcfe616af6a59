"""One evaluation from model to scores: used by `train.py` after the last stage and by `evaluate.py`."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sg.artefacts.answer_rules.calibration import AGREEING, calibration_line, reliability_text
from sg.artefacts.predictions import OK, OVERALL, SETTINGS, Prediction, read_predictions
from sg.core.errors import DataError
from sg.core.files import write_text
from sg.evaluate.answering import evaluate
from sg.evaluate.asking import SUBTITLES_OK, FeatureSource
from sg.evaluate.benchmark import Benchmark
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.official.files import write_official
from sg.evaluate.official.result import OfficialResult
from sg.evaluate.scoring import Count, Scores, SettingScores, score
from sg.evaluate.submission import check_all_asked
from sg.models.student import Student, StudentProcessor

log = logging.getLogger(__name__)


def evaluate_model(
    student: Student,
    processor: StudentProcessor,
    benchmark: Benchmark,
    features: FeatureSource,
    config: BenchmarkConfig,
    path: Path,
    made_by: str,
    failures: Mapping[str, str] | None = None,
) -> dict[str, dict[str, float]]:
    """Ask all questions (see `evaluate`), write the official result files beside `path`, and log the scores.

    Returns:
        Official accuracies in percent: {setting: {"overall" | "short" | ...: accuracy}}, probes included.
    """
    evaluate(student, processor, benchmark, features, config, path, made_by, failures)
    scores = publish(benchmark, config, path)
    return {setting: result.percentages() for setting, result in scores.items()}


def publish(benchmark: Benchmark, config: BenchmarkConfig, path: Path) -> Scores:
    """Score the answers in `path` in the settings and probes of `config`, and write the official result files.

    Raises:
        DataError: a question was not asked, or no question could be asked.
    """
    wanted = {*config.answering.settings, *config.answering.probes}
    rows = [row for row in read_predictions(path) if row.setting in wanted]
    if not any(row.status == OK for row in rows):
        reasons = ", ".join(dict.fromkeys(row.reason for row in rows[:100]))
        raise DataError(f"None of the {len(rows):,} questions of {path} could be asked ({reasons[:300]}).")
    for setting in SETTINGS:
        chosen = [row for row in rows if row.setting == setting]
        if chosen:
            check_all_asked(benchmark, {row.question_id for row in chosen})
            write_official(path.parent, setting, config, benchmark, chosen)
    scores = score(rows)
    for line in score_lines(scores):
        log.info(line)
    for setting, result in scores.items():
        for name, found in (("reliability", result.calibration), ("text_reliability", result.text_calibration)):
            if found is not None:
                write_text(path.parent / f"{name}_{setting}.txt", reliability_text(found))
    for setting, results in official_results(benchmark, config, rows).items():
        write_text(path.parent / f"official_{setting}.txt", "\n".join(result.text for result in results))
        for official in results:
            log.info("%s, %s, official: %s", benchmark.name, setting, official.headline)
    return scores


def official_results(
    benchmark: Benchmark, config: BenchmarkConfig, rows: Iterable[Prediction]
) -> dict[str, Sequence[OfficialResult]]:
    """The official results by setting, without probes, from rows in the order of the benchmark."""
    places = {question.question_id: at for at, question in enumerate(benchmark.questions)}
    ordered = sorted((row for row in rows if row.question_id in places), key=lambda row: places[row.question_id])
    chosen = {name: [row for row in ordered if row.setting == name] for name in SETTINGS}
    return {name: config.official.table(members) for name, members in chosen.items() if members}


def score_lines(scores: Scores) -> list[str]:
    """One line per setting: official and strict accuracy, buckets, letters, and failures."""
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
        broken = {name: number for name, number in result.subtitles.items() if name != SUBTITLES_OK}
        parts += [f"subtitles {name} for {number}" for name, number in broken.items()]
        parts += _calibration_lines(result)
        lines.append("; ".join(parts))
    return lines


def _calibration_lines(result: SettingScores) -> list[str]:
    letters, texts = result.calibration, result.text_calibration
    lines = [calibration_line(letters)] if letters else []
    if texts is not None:
        lines.append(calibration_line(texts, "text"))
    elif letters is not None and letters.agreement < AGREEING:
        lines.append("benchmark.answering.option_texts=true asks for the likelihoods of the texts")
    return lines


def score_details(scores: Scores) -> dict[str, Any]:
    """All counts as plain data: {setting: {"buckets": ..., "letters": ..., ...}}."""
    return {setting: _details(result) for setting, result in scores.items()}


def _details(result: SettingScores) -> dict[str, Any]:
    counts = {name: bucket.overall for name, bucket in result.buckets.items()}
    overall = result.buckets[OVERALL]
    categories = {"domain": overall.domain, "sub_category": overall.sub_category, "task_type": overall.task_type}
    return {
        "buckets": {name: _count(count) for name, count in counts.items()},
        "categories": {
            kind: {name: _count(count) for name, count in groups.items()} for kind, groups in categories.items()
        },
        "task_mean": result.task_mean,
        "chance": result.chance,
        "logit": _count(result.logit),
        "calibration": None if result.calibration is None else asdict(result.calibration),
        "text_calibration": None if result.text_calibration is None else asdict(result.text_calibration),
        "letters": {letter or "none": number for letter, number in result.letters.items()},
        "right_letters": result.answers,
        "statuses": result.statuses,
        "subtitles": result.subtitles,
        "without_subtitle_lines": result.without_subtitle_lines,
    }


def _count(count: Count) -> dict[str, float]:
    return asdict(count) | {"accuracy": count.accuracy, "strict_accuracy": count.strict_accuracy}
