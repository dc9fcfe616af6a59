"""Reads the result files of the benchmarks' own scripts, which leaderboards take too.

Any such file can be scored, so models that this project does not run can be compared too.
"""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sg.artefacts.answer_files.record import UNKNOWN_OPTIONS, AnswerFile, FileAnswer, HarnessScore, percent
from sg.artefacts.answer_files.tables import Row
from sg.artefacts.answer_rules.groups import GROUPS, RELEVANCE
from sg.artefacts.answer_rules.mvbench import PREFILL, task_file
from sg.artefacts.answer_rules.question import Question, labelled
from sg.artefacts.answer_rules.tempcompass import TASKS, parts_of
from sg.artefacts.answers import LETTERS, OFFICIAL_LETTERS
from sg.artefacts.predictions import SETTINGS, WITHOUT_SUBTITLES
from sg.core.errors import DataError

WRITER = "official script"
V2_COLUMNS = ("group_type", "group_structure", "question_id", "answer", "prediction")

# Names of the keys in files from before 2024-06-18.
_OLD_NAMES = {
    "duration_category": "duration",
    "video_category": "domain",
    "video_subcategory": "sub_category",
    "choices": "options",
}


def setting_of(path: Path) -> str:
    """The setting in the name of a result file that this project wrote; otherwise without subtitles."""
    return next((setting for setting in SETTINGS if setting in path.stem), WITHOUT_SUBTITLES)


# ------------------------------------------------------------------------------------------------------ Video-MME
def read_video_mme(path: Path, data: Any) -> AnswerFile:
    """The answers of Video-MME in a list with one object per video, also in the layout before 2024-06-18.

    Raises:
        DataError: a video has no questions, a response is missing, or a question occurs twice.
    """
    if not isinstance(data, list):
        raise DataError(f"{path} holds a {type(data).__name__}, expected a list with one object per video.")
    answers: dict[str, FileAnswer] = {}
    for number, item in enumerate(data, start=1):
        where = f"{path}, video {number},"
        video = _current_names(item, where)
        facts = {key: _text(video, key, where) for key in ("video_id", "duration", "domain", "sub_category")}
        questions = video.get("questions")
        if not isinstance(questions, list) or not questions:
            raise DataError(
                f"{where} {facts['video_id']}, has {reprlib.repr(questions)} as 'questions', expected a list of "
                f"questions: without them the score would leave this video out (its keys are {', '.join(video)})."
            )
        for index, question in enumerate(questions, start=1):
            here = f"{path}, video {facts['video_id']}, question {index},"
            answer = _video_mme_answer(_current_names(question, here), facts, here)
            if answer.question.question_id in answers:
                name = answer.question.question_id
                raise DataError(f"{path} holds question {name} twice: question ids must be unique.")
            answers[answer.question.question_id] = answer
    return AnswerFile(
        path, WRITER, "", "a benchmark in the form of Video-MME", tuple(answers.values()), setting=setting_of(path)
    )


def _video_mme_answer(question: dict[str, Any], video: Mapping[str, str], where: str) -> FileAnswer:
    response, answer = _text(question, "response", where), _text(question, "answer", where)
    options = question.get("options") or list(OFFICIAL_LETTERS)
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        raise DataError(
            f"{where} has {reprlib.repr(options)} as 'options', expected a list of 2 to {len(LETTERS)} texts."
        )
    letters = LETTERS[: len(options)]
    if answer not in tuple(letters):
        raise DataError(f"{where} has the answer {answer!r}, expected one of {', '.join(letters)}.")
    name = _text(question, "question_id", where)
    asked = Question(
        name, _text(question, "task_type", where), str(question.get("question", "")), tuple(map(str, options)), answer,
        video["domain"], video["sub_category"],
    )  # fmt: skip
    return FileAnswer(where, asked, response, video["video_id"], video["duration"], (name,))


def _text(item: Mapping[str, Any], key: str, where: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise DataError(f"{where} has {value!r} as {key!r}, expected text.")
    return value


def _current_names(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise DataError(f"{where} is a {type(item).__name__}, expected an object.")
    return {_OLD_NAMES.get(str(key), str(key)): value for key, value in item.items()}


# ------------------------------------------------------------------------------------------------ other benchmarks
def read_choice_results(path: Path, data: Mapping[str, Any]) -> AnswerFile:
    """The answers in the file of MVBench or MLVU: `acc_dict` and `res_list`, whose items have `pred` and `gt`.

    MVBench's items say no question: their place among those of their task identifies them.
    """
    counts, items = data["acc_dict"], data["res_list"]
    if not isinstance(counts, dict) or not isinstance(items, list):
        raise DataError(f"{path} should hold 'acc_dict', an object, and 'res_list', a list.")
    totals = {str(task): _total(path, task, count) for task, count in counts.items()}
    if sum(totals.values()) != len(items):
        raise DataError(f"{path} has {len(items)} results, but its 'acc_dict' counts {sum(totals.values())}.")
    tasks = [(task, number) for task, total in totals.items() for number in range(total)]
    is_mlvu = any(isinstance(item, dict) and "question_type" in item for item in items)
    answers = tuple(
        _choice_answer(item, task, number, f"{path}, result {at},", is_mlvu)
        for at, (item, (task, number)) in enumerate(zip(items, tasks, strict=True))
    )
    right = sum(float(count[0]) for count in counts.values())
    harness = HarnessScore(None, percent(right, len(items)), "the official rule, average over questions")
    name = "mlvu" if is_mlvu else "mvbench"
    return AnswerFile(path, WRITER, name, name, answers, name, harness=harness, setting=setting_of(path))


def _total(path: Path, task: Any, count: Any) -> int:
    is_pair = isinstance(count, list) and len(count) == 2 and all(type(one) is int for one in count)
    if not is_pair or not 0 <= count[0] <= count[1]:
        raise DataError(f"{path} has {reprlib.repr(count)} as count of task {task}, expected [right, total].")
    return int(count[1])


def _choice_answer(item: Any, task: str, number: int, where: str, is_mlvu: bool) -> FileAnswer:
    if not isinstance(item, dict):
        raise DataError(f"{where} is a {type(item).__name__}, expected an object with pred and gt.")
    reply, right = _text(item, "pred", where), _text(item, "gt", where)
    letter = right[1:2]
    if right[:1] != "(" or right[2:3] != ")" or letter not in (*LETTERS,):
        raise DataError(f"{where} has {reprlib.repr(right)} as 'gt', expected (A) and the text of an option.")
    text = str(item.get("question", "")).removeprefix("Question: ").split("\nOptions:")[0]
    options = labelled([right[4:] if one == letter else "?" for one in LETTERS[: max(LETTERS.index(letter) + 1, 5)]])
    name = f"{task_file(task)}-{number}"
    question = Question(name, task, text, options, letter, task if is_mlvu else "")
    # The rule of MVBench puts the bracket before the reply again.
    reply = reply if is_mlvu else reply.removeprefix(PREFILL)
    ids = () if is_mlvu else (name,)
    return FileAnswer(where, question, reply, str(item.get("video", "")), ids=ids)


def is_tempcompass(data: Any) -> bool:
    """Whether a JSON value is `{video: {dimension: [{question, answer, ...}]}}`."""
    if not isinstance(data, dict) or not data:
        return False
    return all(
        isinstance(dims, dict) and dims and all(isinstance(items, list) for items in dims.values())
        for dims in data.values()
    )


def read_tempcompass(path: Path, data: Mapping[str, Any]) -> AnswerFile:
    """The answers of one task of TempCompass; the form of its answers says which task it is."""
    answers: list[FileAnswer] = []
    tasks = set()
    for video, dims in data.items():
        for dim, items in dims.items():
            for number, item in enumerate(items):
                answer = _tempcompass_answer(
                    item, video, dim, number, f"{path}, video {video}, {dim}, answer {number},"
                )
                tasks.add(answer.question.domain)
                answers.append(answer)
    if len(tasks) != 1:
        raise DataError(f"{path} mixes the tasks {', '.join(sorted(tasks))} of TempCompass, or has no answers.")
    (task,) = tasks
    return AnswerFile(path, WRITER, "tempcompass", task, tuple(answers), "tempcompass", setting=setting_of(path))


def _tempcompass_answer(item: Any, video: str, dim: str, number: int, where: str) -> FileAnswer:
    if not isinstance(item, dict):
        raise DataError(f"{where} is a {type(item).__name__}, expected an object with question, answer and prediction.")
    text, answer = _text(item, "question", where), _text(item, "answer", where)
    key = "prediction" if "prediction" in item else "response"
    if key not in item or not isinstance(item[key], (str, type(None))):
        raise DataError(f"{where} has {reprlib.repr(item.get(key))} as {key!r}, expected a text or null.")
    parts = ((task, parts_of(task, text, answer)) for task in TASKS)
    found = next(((task, part) for task, part in parts if part[2] and len(part[1]) > 1), None)
    if found is None:
        raise DataError(f"{where} has the answer {reprlib.repr(answer)}, which is none of its options.")
    task, (stem, options, letter) = found
    name = f"{task}-{video}-{dim}-{number}"
    question = Question(name, dim, stem, options, letter, domain=task)
    return FileAnswer(where, question, item[key] or "", video, ids=(name,))


def read_answer_map(path: Path, data: Mapping[str, Any]) -> AnswerFile:
    """The answers in `{question id: answer}`, the file of LVBench and of LongVideoBench's test set.

    It says neither the benchmark nor the right answers. The scorer of LVBench reads nothing from an answer.
    """
    answers = []
    for name, answer in data.items():
        where = f"{path}, answer {name},"
        question = Question(str(name), "", "", UNKNOWN_OPTIONS, "")
        answers.append(FileAnswer(where, question, "" if answer is None else str(answer), ids=(str(name),)))
    return AnswerFile(path, WRITER, "", "", tuple(answers), "lvbench_exact", setting=setting_of(path))


def read_groups(path: Path, rows: Sequence[Row]) -> AnswerFile:
    """The answers in the scored table of Video-MME-v2 (`<out>_scored.tsv`), or in any table with its columns."""
    answers = tuple(_group_answers(rows))
    return AnswerFile(path, WRITER, "video_mme_v2", "Video-MME-v2", answers, "video_mme_v2", setting=setting_of(path))


def _group_answers(rows: Sequence[Row]) -> Iterator[FileAnswer]:
    for row in rows:
        where = str(row[""])
        kind, structure = str(row["group_type"]), str(row["group_structure"]).replace(" ", "").replace(",", ", ")
        task = RELEVANCE if kind == RELEVANCE else f"{kind} {structure}"
        if task not in GROUPS:
            raise DataError(f"{where} is of a group {task!r}, expected one of {', '.join(GROUPS)}.")
        options = tuple(str(row.get("options", "")).split("\n"))
        name, answer = str(row["question_id"]), str(row["answer"])
        if len(options) < 2:
            options = labelled("????????")
        question = Question(
            name, task, str(row.get("question", "")), options, answer, str(row.get("second_head", "")),
            str(row.get("third_head", "")),
        )  # fmt: skip
        level = str(row.get("level", "")).removesuffix(".0") or "None"
        reply = "" if row["prediction"] is None else str(row["prediction"])
        yield FileAnswer(where, question, reply, name.rsplit("-", 1)[0], f"level_{level}", (name,))
