"""The files of answers that the authors' scripts and leaderboards read, one function per form."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sg.artefacts.answer_rules.mvbench import PREFILL
from sg.artefacts.answer_rules.question import Question
from sg.artefacts.answer_rules.tempcompass import CAPTION_MATCHING, YES_NO
from sg.artefacts.predictions import Prediction
from sg.core.files import write_json, write_text
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.official.result import grouped
from sg.evaluate.submission import write_submission

V2_COLUMNS = (
    "video_id", "group_type", "group_structure", "question_id", "question", "options", "answer", "level",
    "second_head", "third_head", "prediction",
)  # fmt: skip


SubmissionWriter = Callable[[Path, Benchmark, Sequence[Prediction]], list[Path]]
"""Writes the rows of a setting, in the order of the benchmark, to files whose names start with a path; returns them."""


def write_official(
    folder: Path, setting: str, config: BenchmarkConfig, benchmark: Benchmark, rows: Sequence[Prediction]
) -> list[Path]:
    """Write the rows of a setting as the authors' script reads them; Video-MME's form is that of other benchmarks.

    The files are `official_<setting>.json` (TempCompass: one per task; Video-MME-v2: a table).
    """
    places = {question.question_id: at for at, question in enumerate(benchmark.questions)}
    ordered = sorted(rows, key=lambda row: places[row.question_id])
    return _WRITERS.get(BENCHMARKS.name_of(config), video_mme_file)(folder / f"official_{setting}", benchmark, ordered)


def video_mme_file(start: Path, benchmark: Benchmark, rows: Sequence[Prediction]) -> list[Path]:
    """Video-MME's JSON: one object per video."""
    path = _json(start)
    write_submission(path, benchmark, rows)
    return [path]


def choice_file(start: Path, benchmark: Benchmark, rows: Sequence[Prediction]) -> list[Path]:
    """MVBench's JSON: [right, total] by task, and the replies behind the bracket that the prompt ends with."""
    questions = {question.question_id: question for question in benchmark.questions}
    items = [
        {"pred": PREFILL + row.response.strip().split("\n")[0], "gt": _right(questions[row.question_id])}
        for members in grouped(rows, lambda row: [row.task_type]).values()
        for row in sorted(members, key=lambda row: number_in_task(row.question_id))
    ]
    return _choices(_json(start), rows, items)


def number_in_task(question_id: str) -> int:
    """The place of a question of MVBench in the table of its task: its id is `<task>-<number>`."""
    return int(question_id.rpartition("-")[2])


def mlvu_file(start: Path, benchmark: Benchmark, rows: Sequence[Prediction]) -> list[Path]:
    """MLVU's JSON: [right, total] by task, and the replies with their questions."""
    questions = {question.question_id: question for question in benchmark.questions}
    items = []
    for members in grouped(rows, lambda row: [row.task_type]).values():
        for row in members:
            question = questions[row.question_id]
            options = "\n".join(f"({a}) {b}" for a, b in zip(question.letters, question.option_texts, strict=True))
            text = f"Question: {question.text}\nOptions:\n{options}"
            facts = {"question_type": row.task_type, "question": text, "video": row.video_id}
            items.append({"pred": row.response, "gt": _right(question), **facts})
    return _choices(_json(start), rows, items)


def _choices(path: Path, rows: Sequence[Prediction], items: Sequence[Mapping[str, str]]) -> list[Path]:
    tasks = grouped(rows, lambda row: [row.task_type])
    counts = {task: [sum(row.is_correct for row in members), len(members)] for task, members in tasks.items()}
    write_json(path, {"acc_dict": counts, "res_list": items})
    return [path]


def _right(question: Question) -> str:
    return f"({question.answer}) {question.option_texts[question.letters.index(question.answer)]}"


def tempcompass_files(start: Path, benchmark: Benchmark, rows: Sequence[Prediction]) -> list[Path]:
    """TempCompass's JSON files, one per task: `{video: {dimension: [{question, answer, prediction}]}}`."""
    questions = {question.question_id: question for question in benchmark.questions}
    paths = []
    for task, members in grouped(rows, lambda row: [row.domain]).items():
        videos: dict[str, dict[str, list[dict[str, str]]]] = {}
        for row in members:
            text, answer = _stored(task, questions[row.question_id])
            item = {"question": text, "answer": answer, "prediction": row.response}
            videos.setdefault(row.video_id, {}).setdefault(row.task_type, []).append(item)
        paths.append(start.with_name(f"{start.name}_{task}.json"))
        write_json(paths[-1], videos)
    return paths


def _stored(task: str, question: Question) -> tuple[str, str]:
    """The question and the answer as the benchmark stores them."""
    at = question.letters.index(question.answer)
    if task == YES_NO:
        return question.text, question.option_texts[at]
    lines = question.option_texts if task == CAPTION_MATCHING else list(question.options)
    return "\n".join([question.text, *lines]), lines[at]


def letters_file(start: Path, benchmark: Benchmark, rows: Sequence[Prediction]) -> list[Path]:
    """LVBench's JSON: the letter by question, because its scorer reads nothing from an answer."""
    return _answer_map(_json(start), {row.question_id: row.letter or row.response for row in rows})


def responses_file(start: Path, benchmark: Benchmark, rows: Sequence[Prediction]) -> list[Path]:
    """LongVideoBench's JSON: the response by question."""
    return _answer_map(_json(start), {row.question_id: row.response for row in rows})


def _answer_map(path: Path, answers: Mapping[str, str]) -> list[Path]:
    write_json(path, answers)
    return [path]


def _json(start: Path) -> Path:
    return start.with_name(f"{start.name}.json")


def groups_file(start: Path, benchmark: Benchmark, rows: Sequence[Prediction]) -> list[Path]:
    """Video-MME-v2's table, tab-separated, with the column `prediction`."""
    places = {q.question_id: (video, q) for video in benchmark.videos for q in video.questions}
    stream = io.StringIO()
    writer = csv.DictWriter(stream, V2_COLUMNS, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_group_row(row, *places[row.question_id]) for row in rows)
    path = start.with_name(f"{start.name}.tsv")
    write_text(path, stream.getvalue())
    return [path]


def _group_row(row: Prediction, video: BenchmarkVideo, question: Question) -> dict[str, Any]:
    kind, _, structure = question.task_type.partition(" ")
    return {
        "video_id": video.video_id, "group_type": kind, "group_structure": structure or "[1, 2, 3, 4]",
        "question_id": row.question_id, "question": question.text, "options": "\n".join(question.options),
        "answer": row.answer, "level": video.duration.removeprefix("level_"), "second_head": question.domain,
        "third_head": question.sub_category, "prediction": row.response,
    }  # fmt: skip


_WRITERS: dict[str, SubmissionWriter] = {
    "mvbench": choice_file,
    "mlvu": mlvu_file,
    "tempcompass": tempcompass_files,
    "lvbench": letters_file,
    "longvideobench": responses_file,
    "video_mme_v2": groups_file,
}
