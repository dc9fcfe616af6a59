"""Reads the sample logs of lmms-eval (`--log_samples`), in all forms that it has written since 2024.

See `docs/reference/benchmarks.md`, section 6.
"""

import json
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.answer_files.record import (
    UNKNOWN_OPTIONS,
    AnswerFile,
    FileAnswer,
    HarnessScore,
    percent,
    without_repeats,
)
from sg.artefacts.answer_files.tables import parsed_json, text_of
from sg.artefacts.answer_rules.question import Question, labelled
from sg.artefacts.answers import LETTERS
from sg.artefacts.predictions import WITH_SUBTITLES, WITHOUT_SUBTITLES, is_json
from sg.core.errors import DataError

WRITER = "lmms-eval"
SUBTITLES = "This video's subtitles are listed below"
_NAME = re.compile(r"(?:\d{8}_\d{6}_)?samples_(?P<task>.+?)(?:_\d{8}_\d{6})?\.jsonl")
_OPTION = re.compile(r"\(?([A-Z])[.)] ?(.*)")

Sample = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _LoggedTask:
    """How the samples of one kind of task are read and scored.

    Attributes:
        keys: names of the metric, the present one first.
        answer: a sample and its metric as an answer.
        score: the harness' own number in percent, from the answers.
        rule: how it reads and counts, in words.
    """

    benchmark: str
    keys: tuple[str, ...]
    answer: Callable[[Sample, Sample, str], FileAnswer]
    score: Callable[[Sequence[FileAnswer]], float | None]
    rule: str


def _of_all(answers: Sequence[FileAnswer]) -> float | None:
    return percent(sum(answer.score or 0 for answer in answers), len(answers))


def _of_answered(answers: Sequence[FileAnswer]) -> float | None:
    return percent(sum(answer.score or 0 for answer in answers), sum(answer.read != "" for answer in answers))


LONG_VIDEO_BUCKETS = {15: "short", 60: "short", 600: "medium", 3600: "long"}
MLVU_TASKS = ("anomaly_reco", "count", "ego", "needle", "order", "plotQA", "topic_reasoning")


def _mean_of_tasks(answers: Sequence[FileAnswer]) -> float | None:
    """The mean over the seven tasks; one without samples adds 0."""
    by_task: dict[str, list[FileAnswer]] = {}
    for answer in answers:
        by_task.setdefault(answer.question.task_type, []).append(answer)
    return sum(_of_all(by_task[task]) or 0 for task in MLVU_TASKS if task in by_task) / len(MLVU_TASKS)


def _video_mme(sample: Sample, metric: Sample, where: str) -> FileAnswer:
    doc = _doc(sample)
    stored = doc.get("options")
    options = tuple(map(str, stored)) if isinstance(stored, list) else _options(sample.get("input"))
    name = _text(metric, "question_id", where)
    question = Question(
        name, str(metric.get("task_category", "")), str(doc.get("question", "")), options or UNKNOWN_OPTIONS,
        _text(metric, "answer", where), str(metric.get("category", "")), str(metric.get("sub_category", "")),
    )  # fmt: skip
    letter = _text(metric, "pred_answer", where)
    video = name.rsplit("-", 1)[0]
    return FileAnswer(
        where, question, _reply(sample, where), video, str(metric.get("duration") or "all"), (name,), read=letter,
        score=float(letter == question.answer),
    )  # fmt: skip


def _mvbench(sample: Sample, metric: Sample, where: str) -> FileAnswer:
    doc = _doc(sample)
    options = labelled(doc["candidates"]) if isinstance(doc.get("candidates"), list) else _options(sample.get("input"))
    text = str(doc.get("question") or _between(sample.get("input"), "Question:", "\nOption:"))
    number, answer = _doc_id(sample, where), _text(metric, "gt_answer", where)
    question = Question(str(number), "", text, options or labelled("?????"), answer)
    score = metric.get("score")
    if score not in (0, 1):
        raise DataError(f"{where} has {reprlib.repr(score)} as 'score' of its metric, expected 0 or 1.")
    # The log has the reply in place of a letter. Only an empty one matters here: it leaves the denominator.
    read = "" if metric.get("pred_answer") == "" else None
    reply, video = _reply(sample, where), str(doc.get("video", ""))
    return FileAnswer(where, question, reply, video, row=number, read=read, score=float(score))


def _longvideobench(sample: Sample, metric: Sample, where: str) -> FileAnswer:
    name, group = _text(metric, "id", where), metric.get("duration_group")
    options = _options(sample.get("input")) or labelled("?????")
    answer, letter = _text(metric, "answer", where), _text(metric, "parsed_pred", where)
    domain = f"up to {group} s"
    question = Question(name, str(metric.get("question_category", "")), "", options, answer, domain)
    duration = LONG_VIDEO_BUCKETS.get(group, "all") if isinstance(group, int) else "all"
    return FileAnswer(
        where, question, _reply(sample, where), name.rsplit("_", 1)[0], duration, (name,), read=letter,
        score=float(letter == answer),
    )  # fmt: skip


def _mlvu(sample: Sample, metric: Sample, where: str) -> FileAnswer:
    stored = _text(metric, "question_id", where)  # the text of the question
    number, letter = _doc_id(sample, where), _text(metric, "pred_answer", where)
    options = _options(stored)
    text = stored.split("\n(A)")[0]
    task = _text(metric, "task_type", where)
    question = Question(str(number), task, text, options or UNKNOWN_OPTIONS, _text(metric, "answer", where), task)
    score = float(letter == question.answer)
    return FileAnswer(where, question, _reply(sample, where), row=number, read=letter, score=score)


TASKS = (
    _LoggedTask(
        "video_mme", ("videomme_perception_score", "videomme_percetion_score"), _video_mme, _of_all,
        "its own reader, a question without a letter counts as wrong",
    ),
    _LoggedTask(
        "mvbench", ("mvbench_accuracy",), _mvbench, _of_answered,
        "the first letter A to E that is a word of the reply, an empty reply is left out",
    ),
    _LoggedTask(
        "longvideobench", ("lvb_acc",), _longvideobench, _of_all,
        "its own reader, a reply without a letter gets a random one",
    ),
    _LoggedTask("mlvu", ("mlvu_percetion_score",), _mlvu, _mean_of_tasks, "its own reader, mean over the seven tasks"),
)  # fmt: skip


def is_log(value: Any) -> bool:
    """Whether a line or a whole JSON file is one of lmms-eval."""
    return isinstance(value, dict) and ("doc_id" in value or {"logs", "args"} <= value.keys())


def read_log(path: Path) -> AnswerFile:
    """Read a sample log: JSON Lines, or the single JSON file of 2024.

    Raises:
        DataError: the file is cut or of another form, its metric is unknown, or it mixes tasks or runs.
    """
    samples = list(_samples(path))
    if not samples:
        raise DataError(f"{path} has no samples.")
    tasks = {task.benchmark: task for where, sample in samples for task in [_task_of(sample, where)]}
    if len(tasks) > 1:
        raise DataError(f"{path} mixes samples of {' and '.join(tasks)}: give each task as a file of its own.")
    (task,) = tasks.values()
    answers = without_repeats(path, [_answer(task, sample, where) for where, sample in samples])
    name = _task_name(path) or task.benchmark
    if task.benchmark == "mvbench":
        answers = tuple(_named_by_task(answer, name.removeprefix("mvbench_")) for answer in answers)
    recorded, partial = _results(path, name, task)
    harness = HarnessScore(task.score(answers), recorded, task.rule, partial)
    setting = _setting(name, [sample for _, sample in samples])
    return AnswerFile(path, WRITER, task.benchmark, name, answers, task.benchmark, setting, harness)


def _samples(path: Path) -> Iterator[tuple[str, Sample]]:
    text = text_of(path)
    if is_json(text):
        content = parsed_json(path)
        members = content.get("logs") if isinstance(content, dict) and "logs" in content else [content]
        if not isinstance(members, list):
            raise DataError(f"{path} has {reprlib.repr(members)} as 'logs', expected a list of samples.")
        lines: Iterable[tuple[str, Any]] = ((f"{path}, sample {at},", member) for at, member in enumerate(members))
    else:
        lines = _lines(path, text)
    for where, sample in lines:
        if not isinstance(sample, dict) or "doc_id" not in sample:
            raise DataError(f"{where} is not a sample of lmms-eval: it has no 'doc_id'.")
        yield where, sample


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"{path}, line {number},", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{path}, line {number}, is not JSON ({error}): the file is damaged or cut off."
                ) from error


def _task_of(sample: Sample, where: str) -> _LoggedTask:
    found = next((task for task in TASKS if any(isinstance(sample.get(key), dict) for key in task.keys)), None)
    if found is None:
        known = ", ".join(task.keys[0] for task in TASKS)
        raise DataError(f"{where} has none of the metrics {known} (its keys are {', '.join(map(str, sample))}).")
    return found


def _answer(task: _LoggedTask, sample: Sample, where: str) -> FileAnswer:
    metric = next(sample[key] for key in task.keys if isinstance(sample.get(key), dict))
    answer = task.answer(sample, metric, where)
    if answer.question.answer not in (*answer.question.letters,):
        raise DataError(
            f"{where} has {answer.question.answer!r} as right answer, but the options are "
            f"{', '.join(answer.question.letters)}."
        )
    return answer


def _named_by_task(answer: FileAnswer, task: str) -> FileAnswer:
    """MVBench's samples have numbers only; the name of their file says the task."""
    import dataclasses

    name = f"{task}-{answer.row}"
    question = dataclasses.replace(answer.question, question_id=name, task_type=task.replace("_", " "))
    return dataclasses.replace(answer, question=question, ids=(name,))


def _task_name(path: Path) -> str:
    """The name of the task in the name of the file; "" if it was renamed."""
    match = _NAME.fullmatch(path.name)
    return match["task"] if match else path.stem if path.suffix == ".json" else ""


def _setting(task: str, samples: Sequence[Sample]) -> str:
    """The setting by the name of the task, and by the prompts where a task without subtitles shows them."""
    shown = [str(sample.get("input", "")) for sample in samples]
    with_subtitles = task.endswith(("_w_subtitle", "_val_i")) or (
        any(shown) and all(SUBTITLES in text for text in shown)
    )
    return WITH_SUBTITLES if with_subtitles else WITHOUT_SUBTITLES


def _results(path: Path, task: str, kind: _LoggedTask) -> tuple[float | None, tuple[int, int] | None]:
    """What `results.json` beside the log says of the task, in percent, and (asked, all) if only a part was asked."""
    date = re.match(r"\d{8}_\d{6}", path.name)
    beside = path.with_name(f"{date[0]}_results.json") if date else path.with_name("results.json")
    if not beside.is_file():
        return None, None
    content = parsed_json(beside)
    results = content.get("results", {}).get(task, {}) if isinstance(content, dict) else {}
    numbers = [results.get(name) for key in kind.keys for name in (f"{key},none", key)]
    value = next((float(number) for number in numbers if isinstance(number, (int, float))), None)
    if value is not None and kind.benchmark == "longvideobench":
        value *= 100  # a fraction, unlike the other metrics
    counts = content.get("n-samples", {}).get(task, {}) if isinstance(content, dict) else {}
    asked, original = counts.get("effective"), counts.get("original")
    if isinstance(asked, int) and isinstance(original, int) and asked < original:
        return value, (asked, original)
    return value, None


# --------------------------------------------------------------------------------------------- parts of a sample
def _reply(sample: Sample, where: str) -> str:
    """The text that the harness read: `filtered_resps`, a text or a list of one."""
    reply = sample.get("filtered_resps", sample.get("resps"))
    while isinstance(reply, list) and len(reply) == 1:
        reply = reply[0]
    if not isinstance(reply, str):
        raise DataError(f"{where} has {reprlib.repr(reply)} as 'filtered_resps', expected a text or a list of one.")
    return reply


def _doc(sample: Sample) -> dict[str, Any]:
    """The row of the data set, which logs until July 2025 contain."""
    doc = sample.get("doc")
    return doc if isinstance(doc, dict) else {}


def _text(metric: Sample, key: str, where: str) -> str:
    value = metric.get(key)
    if not isinstance(value, str):
        raise DataError(f"{where} has {reprlib.repr(value)} as {key!r} of its metric, expected a text.")
    return value


def _doc_id(sample: Sample, where: str) -> int:
    number = sample["doc_id"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise DataError(f"{where} has {reprlib.repr(number)} as 'doc_id', expected a number of a row.")
    return number


def _options(text: Any) -> tuple[str, ...]:
    """The options in a prompt, lines `A. ..` or `(A) ..` in alphabetical order; empty if there are none."""
    found: list[str] = []
    for line in text.split("\n") if isinstance(text, str) else []:
        match = _OPTION.fullmatch(line)
        if match and match[1] == LETTERS[len(found)]:
            found.append(match[2])
        elif match and match[1] == "A":
            found = [match[2]]
    return labelled(found) if len(found) > 1 else ()


def _between(text: Any, start: str, end: str) -> str:
    """The part of a prompt between two marks; "" if it has not both."""
    if not isinstance(text, str) or start not in text or end not in text:
        return ""
    return text.split(start, 1)[1].split(end, 1)[0]
