"""Finds out what kind of file of answers there is, by looking into it, and reads it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sg.artefacts.answer_files import lmms_eval, official, vlmevalkit
from sg.artefacts.answer_files.record import UNKNOWN_OPTIONS, AnswerFile, FileAnswer, without_repeats
from sg.artefacts.answer_files.tables import Row, column, parsed_json, read_rows, text_of, texts_in
from sg.artefacts.answer_rules.question import Question, labelled
from sg.artefacts.answers import LETTERS
from sg.artefacts.predictions import SETTINGS, WITHOUT_SUBTITLES, Prediction, read_predictions
from sg.core.errors import DataError, MissingInputError

KINDS = (
    "our predictions.jsonl, an official result file, a sample log of lmms-eval, a result table of VLMEvalKit, or a CSV "
    "table with question_id and response"
)
IDS, RESPONSES = ("question_id", "id", "uid"), ("response", "prediction", "pred", "output", "letter")
PICKLE = b"\x80"
MOST_OPTIONS = 10


def read_answer_file(path: Path) -> AnswerFile | list[Prediction]:
    """The answers in a file of any kind but ours, or the rows of our `predictions.jsonl`.

    Raises:
        MissingInputError: there is no such file.
        DataError: the file is none of `KINDS`, damaged, or has no answers.
    """
    found = _looked_into(path)
    if not (found if isinstance(found, list) else found.answers):
        raise DataError(f"{path} has no answers: give {KINDS}.")
    return found


def _looked_into(path: Path) -> AnswerFile | list[Prediction]:
    if not path.is_file():
        raise MissingInputError(f"There is no file of answers {path}: give {KINDS}.")
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    if head.startswith(PICKLE) or path.suffix == ".pkl":
        raise DataError(
            f"{path} is a pickle, which runs code when it is loaded: convert it to TSV in the program that wrote it "
            "(pandas: read_pickle, then to_csv with sep='\\t')."
        )
    if head.startswith(b"PAR1"):
        raise DataError(f"{path} is a Parquet file, which is not a file of answers: give {KINDS}.")
    start = head.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")[:1]
    if start not in (b"[", b"{") and path.suffix not in (".json", ".jsonl"):
        return _of_table(path, read_rows(path))
    first = _first_line(path, head)
    if lmms_eval.is_log(first):
        return lmms_eval.read_log(path)
    return read_predictions(path) if path.suffix == ".jsonl" else _of_json(path, parsed_json(path))


def _first_line(path: Path, head: bytes) -> Any:
    """The JSON value of the first line, or of the whole file; None if it has no such form."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = text_of(path).encode()
    line = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    for text in (line, path.read_bytes() if path.suffix == ".json" or not line.rstrip().endswith(b"}") else b""):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    return None


def _of_json(path: Path, data: Any) -> AnswerFile | list[Prediction]:
    if isinstance(data, list) and data and all(isinstance(item, dict) for item in data):
        columns = list(data[0])
        if vlmevalkit.is_table(columns) or "index" in columns:
            return vlmevalkit.read_table(path, _placed(path, data))
        if "questions" not in columns and set(IDS) & set(columns) and set(RESPONSES) & set(columns):
            return _of_table(path, _placed(path, data))
    if isinstance(data, dict):
        if {"acc_dict", "res_list"} <= data.keys():
            return official.read_choice_results(path, data)
        if {"results", "config"} <= data.keys() or path.stem.endswith("_rating"):
            raise DataError(f"{path} holds scores and no answers: give {KINDS}.")
        if official.is_tempcompass(data):
            return official.read_tempcompass(path, data)
        if data and all(isinstance(answer, (str, type(None))) for answer in data.values()):
            return official.read_answer_map(path, data)
    return official.read_video_mme(path, data)


def _placed(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [{**row, "": f"{path}, row {number},"} for number, row in enumerate(rows)]


def _of_table(path: Path, rows: Sequence[Row]) -> AnswerFile:
    if not rows:
        raise DataError(f"{path} has a header, but no rows.")
    columns = [name for name in rows[0] if name]
    if vlmevalkit.is_table(columns):
        return vlmevalkit.read_table(path, rows)
    if set(official.V2_COLUMNS) <= set(columns):
        return official.read_groups(path, rows)
    if not set(IDS) & set(columns) or not set(RESPONSES) & set(columns):
        raise DataError(f"{path} has the columns {', '.join(columns)}: give {KINDS}.")
    for name in ("model", "setting"):
        values = list(dict.fromkeys(str(row[name]) for row in rows)) if name in columns else []
        if len(values) > 1:
            raise DataError(f"{path} mixes the {name}s {', '.join(values[:3])}: give each as a file of its own.")
    setting = str(rows[0].get("setting") or WITHOUT_SUBTITLES)
    if setting not in SETTINGS:
        raise DataError(f"{path} has the setting {setting!r}, expected one of {', '.join(SETTINGS)}.")
    unknown = _unknown_options(rows)
    answers = without_repeats(path, [_plain_answer(row, unknown) for row in rows])
    return AnswerFile(path, "", "", "", answers, setting=setting)


def _unknown_options(rows: Sequence[Row]) -> tuple[str, ...]:
    """The options of a question whose row does not list them: as many as the right answers of the table need."""
    answers = {str(row.get("answer") or "").strip() for row in rows}
    needed = [number for number, letter in enumerate(LETTERS[:MOST_OPTIONS], start=1) if letter in answers]
    return tuple(f"{letter}." for letter in LETTERS[: max([len(UNKNOWN_OPTIONS), *needed])])


def _plain_answer(row: Row, options: tuple[str, ...]) -> FileAnswer:
    where = str(row[""])
    name, response = column(row, IDS), column(row, RESPONSES)
    if not name or not name.strip():
        raise DataError(f"{where} has no question id.")
    if row.get("options"):
        stored = texts_in(row["options"], where, "options")
        is_labelled = all(text.startswith(f"{letter}.") for letter, text in zip(LETTERS, stored, strict=False))
        options = stored if is_labelled else labelled(stored)
    answer = str(row.get("answer") or "").strip()
    if answer and answer not in tuple(LETTERS[: len(options)]):
        raise DataError(f"{where} has the answer {answer!r}, expected one of {', '.join(LETTERS[: len(options)])}.")
    question = Question(
        name.strip(), str(row.get("task_type") or ""), str(row.get("question") or ""), options, answer,
        str(row.get("domain") or ""), str(row.get("sub_category") or ""),
    )  # fmt: skip
    video, duration = str(row.get("video_id") or row.get("video") or ""), str(row.get("duration") or "all")
    return FileAnswer(where, question, response or "", video, duration, (question.question_id,))


def read_answer_folder(folder: Path) -> list[AnswerFile]:
    """The answer files of other programs in a folder, those of the same benchmark and setting as one.

    Raises:
        DataError: there are none, or two of them answer a question differently.
    """
    paths = sorted(folder.glob("*samples_*.jsonl")) + [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in (".xlsx", ".tsv") and not path.stem.endswith(("_score", "_rating"))
    ]
    merged: dict[tuple[str, str, str], AnswerFile] = {}
    for path in paths:
        found = read_answer_file(path)
        if isinstance(found, list):
            continue
        key = (found.writer, found.benchmark, found.setting)
        before = merged.get(key)
        if before is None:
            merged[key] = found
        else:
            answers = without_repeats(folder, [*before.answers, *found.answers])
            merged[key] = replace(before, path=folder, answers=answers, task=before.benchmark, harness=None)
    if not merged:
        raise DataError(f"{folder} holds no sample logs (*_samples_*.jsonl) and no result tables (*.xlsx, *.tsv).")
    return list(merged.values())
