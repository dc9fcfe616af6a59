"""What is said of a file of answers: the program's own score, the official reading, and where they differ."""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.answer_files.look import read_answer_file, read_answer_folder
from sg.artefacts.answer_files.record import AnswerFile, FileAnswer, predictions_of
from sg.artefacts.predictions import SETTINGS, Prediction
from sg.core.errors import DataError
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, read_benchmark
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.matching import Matching, match, match_rows
from sg.evaluate.official.result import OfficialForms, OfficialResult

LISTED = 10
ROUNDED = 0.06
"""Programs record percentages with as little as one decimal."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """The rows of a file of answers in one setting, or of our `predictions.jsonl`, and the text about them."""

    name: str
    rows: list[Prediction]
    text: str


def read_and_report(path: Path, config: BenchmarkConfig | None = None) -> list[FileReport]:
    """Read the file of answers at `path`, or all in a folder, and match the answers to the benchmark of `config`.

    Raises:
        MissingInputError: there is no such file, or the benchmark has no table.
        DataError: the file has another format, is of another benchmark, or does not say the right answers.
    """
    benchmark = None if config is None else read_benchmark(config)
    if path.is_dir():
        return [_report(file, benchmark, config) for file in read_answer_folder(path)]
    found = read_answer_file(path)
    if isinstance(found, AnswerFile):
        return [_report(found, benchmark, config)]
    if benchmark is None or config is None:
        return [FileReport(path.stem, found, "")]
    matching = match_rows(found, benchmark, path)
    texts = []
    for setting in SETTINGS:
        results = (
            config.official.table(rows) if (rows := [row for row in matching.rows if row.setting == setting]) else []
        )
        texts += [result.text for result in results] + [f"{setting}, official: {result.headline}" for result in results]
    return [FileReport(path.stem, matching.rows, "\n".join([*texts, *matching.lines()]) + "\n")]


def _report(file: AnswerFile, benchmark: Benchmark | None, config: BenchmarkConfig | None) -> FileReport:
    lines = harness_lines(file)
    if benchmark is None or config is None:
        answers = {answer.question.question_id: answer for answer in file.answers}
        matching = Matching(predictions_of(file), answers)
        known = file.benchmark or "NAME"
        lines.append(f"not matched to the benchmark: benchmark={known} benchmark.folder=DIR checks the questions too")
    else:
        kind = BENCHMARKS.name_of(config)
        if file.benchmark not in ("", kind):
            raise DataError(f"{file.path} holds answers to {file.benchmark}, but benchmark={kind} is given.")
        matching = match(file, benchmark, config)
        lines += matching.lines()
    results = _forms(file, config).table(matching.rows)
    lines += difference_lines(matching.rows, matching.answers, results)
    text = "\n".join([*(result.text for result in results), *lines]) + "\n"
    return FileReport(f"{file.benchmark or 'answers'}-{file.setting}", matching.rows, text)


def _forms(file: AnswerFile, config: BenchmarkConfig | None) -> OfficialForms:
    if config is not None or not file.benchmark:
        return (config or BenchmarkConfig).official
    settings = BENCHMARKS.settings(file.benchmark)
    return settings.official if issubclass(settings, BenchmarkConfig) else BenchmarkConfig.official


def counted(number: int, name: str) -> str:
    """A number with its noun: `1 answer`, `2 answers`."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def harness_lines(file: AnswerFile) -> list[str]:
    """The program's own score, recomputed and as it recorded it."""
    name = f"{file.writer} on {file.task}" if file.writer else "a plain table"
    lines = [f"{file.path}: {counted(len(file.answers), 'answer')}, {file.setting}, written by {name}"]
    harness = file.harness
    if harness is None:
        return lines
    if harness.partial is not None:
        asked, total = harness.partial
        lines.append(f"a partial run: {asked:,} of {total:,} questions; do not compare it with scores of whole runs")
    values = []
    if harness.value is not None:
        values.append(f"{harness.value:.2f} % recomputed from the answers")
    if harness.recorded is not None:
        values.append(f"{harness.recorded:.2f} % in its own result file")
    lines.append(f"its own score: {', '.join(values) or 'it gives none for such a file'} ({harness.rule})")
    if len(values) == 2 and abs((harness.value or 0) - (harness.recorded or 0)) > ROUNDED:
        lines.append("the two differ: the result file is not that of these answers")
    return lines


def difference_lines(
    rows: Sequence[Prediction], answers: dict[str, FileAnswer], results: Sequence[OfficialResult]
) -> list[str]:
    """The questions that program and official rule score differently, by kind, with examples."""
    lines = [f"official: {result.headline}" for result in results]
    kinds: dict[str, list[str]] = {}
    silent = 0
    for row in rows:
        answer = answers.get(row.question_id)
        if answer is None or (answer.score is None and answer.read is None):
            continue
        if not row.is_answered and answer.score == 0:
            silent += 1
        elif (kind := _kind(row, answer)) is not None:
            kinds.setdefault(kind, []).append(_example(row, answer))
    if silent:
        lines.append(f"  {counted(silent, 'answer')} without a letter: wrong there, left out officially")
    for kind, examples in kinds.items():
        more = "; ..." if len(examples) > LISTED else ""
        lines.append(f"  {counted(len(examples), 'answer')}: {kind} ({'; '.join(examples[:LISTED])}{more})")
    if not kinds and not silent and any(answer.score is not None for answer in answers.values()):
        lines.append("  both score every answer alike")
    return lines


def _kind(row: Prediction, answer: FileAnswer) -> str | None:
    """Why the two scores of an answer differ; None if they do not."""
    # VLMEvalKit's rating of MVBench counts every score but 0 as right: a missing reply (None) and a failed call (-1).
    there = answer.score != 0
    if there == row.is_correct:
        return None
    if answer.score is None:
        return "a missing reply counts as right there"
    if answer.score < 0:
        return "a failed call counts as right there"
    if row.letter == "" and row.is_correct:
        return "the official rule counts an answer that chooses nothing as right"
    if row.letter == "":
        return "right there, but the official rule reads no letter"
    return f"{'right' if there else 'wrong'} there, because another letter is read"


def _example(row: Prediction, answer: FileAnswer) -> str:
    there = "" if answer.read is None else f"there {answer.read or 'none'}, "
    return (
        f"{row.question_id}: {there}officially {row.letter or 'none'}, right {row.answer}, {reprlib.repr(row.response)}"
    )
