"""Reads the result tables of VLMEvalKit (xlsx, tsv, json) and scores them as it does with its judge switched off.

See `docs/reference/benchmarks.md`, section 7.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sg.artefacts.answer_files.record import AnswerFile, FileAnswer, HarnessScore, percent, without_repeats
from sg.artefacts.answer_files.tables import parsed_json, texts_in
from sg.artefacts.answer_rules.question import Question, labelled
from sg.artefacts.answers import LETTERS, MISSING_CELLS, read_letter
from sg.artefacts.predictions import WITH_SUBTITLES, WITHOUT_SUBTITLES
from sg.core.errors import DataError

WRITER = "VLMEvalKit"
API_FAILURE = "Failed to obtain answer via API"
REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
NEEDED = ("index", "video", "question", "answer", "candidates", "prediction")
RULES = {
    "video_mme": "the official rule of Video-MME; a missing reply or one without a letter counts as wrong",
    "mvbench": "the official rule on the bare reply, else the option that its words choose; a missing reply and a "
    "failed call count as right",
}
Row = Mapping[str, Any]


def is_table(columns: Sequence[str]) -> bool:
    """Whether a table with these columns is one of VLMEvalKit."""
    return {"index", "prediction"} <= set(columns) and bool({"video_path", "candidates", "prefix"} & set(columns))


def read_table(path: Path, rows: Sequence[Row]) -> AnswerFile:
    """The answers in the rows of a table, each with its place under the key "".

    Raises:
        DataError: a column is missing, a cell has another content, or two rows of one index differ.
    """
    lacking = [name for name in NEEDED if name not in rows[0]]
    if lacking:
        names = ", ".join(name for name in rows[0] if name)
        raise DataError(
            f"{path} has no column {lacking[0]!r}, so it is not a result table of VLMEvalKit for Video-MME or MVBench "
            f"(its columns are {names})."
        )
    benchmark = "video_mme" if "sub_category" in rows[0] else "mvbench"
    # VLMEvalKit stops at its own JSON tables, so they have no score of it.
    is_json = path.suffix.lower() == ".json"
    answers = without_repeats(path, [_answer(benchmark, row, is_json) for row in rows])
    value = None if is_json else _rating([answer.score for answer in answers], benchmark)
    harness = HarnessScore(value, _recorded(path), RULES[benchmark])
    setting = WITH_SUBTITLES if re.search(r"_subs?(_|$)", path.stem) else WITHOUT_SUBTITLES
    return AnswerFile(path, WRITER, benchmark, path.stem, answers, benchmark, setting, harness)


def _answer(benchmark: str, row: Row, is_json: bool) -> FileAnswer:
    where = str(row[""])
    index = str(row["index"]).removesuffix(".0")
    if not index.isdecimal():
        raise DataError(f"{where} has {row['index']!r} as 'index', expected a number of a row.")
    candidates = texts_in(row["candidates"], where, "candidates")
    reply = "" if row["prediction"] is None else str(row["prediction"])
    if benchmark == "video_mme":
        options, answer = candidates, str(row["answer"])
    else:
        options = labelled(candidates)
        places = [letter for letter, text in zip(LETTERS, candidates, strict=False) if text == str(row["answer"])]
        answer = places[-1] if places else ""
    if answer not in tuple(LETTERS[: len(options)]):
        raise DataError(f"{where} has {row['answer']!r} as 'answer', which is none of its candidates.")
    question = Question(
        index, str(row.get("task_type") or ""), str(row["question"]), options, answer, str(row.get("domain") or ""),
        str(row.get("sub_category") or ""),
    )  # fmt: skip
    # Cells of JSON tables are never read as missing.
    is_missing = row["prediction"] is None or (not is_json and reply in MISSING_CELLS)
    scored = _score_video_mme if benchmark == "video_mme" else _score_mvbench
    letter, score = scored(question, reply, is_missing)
    return FileAnswer(
        where, question, reply, str(row["video"]), str(row.get("duration") or "all"), row=int(index), read=letter,
        score=score,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------- its rules
def _score_video_mme(question: Question, reply: str, is_missing: bool) -> tuple[str | None, float | None]:
    letter = "" if is_missing else read_letter(reply)
    return letter, float(letter == question.answer)


def _score_mvbench(question: Question, reply: str, is_missing: bool) -> tuple[str | None, float | None]:
    """(letter, score): the letter is None where the rule reads none; the score is None for a missing reply."""
    if is_missing:
        return None, None
    if API_FAILURE in reply:
        return None, -1.0
    word = reply.lower().strip().split(" ")[0]
    right = f"({question.answer.lower()})"
    if word.replace(".", "") in right or right in word:
        return None, 1.0
    texts = question.option_texts
    letter = chosen_option(reply, texts)
    # Of equal candidates the official rule takes the last as the right one, but its reader of free text the first.
    first = question.letters[texts.index(texts[question.letters.index(question.answer)])]
    return letter, float(letter == first)


def chosen_option(reply: str, options: Sequence[str]) -> str:
    """The letter that its reader of free text finds in a reply, "" if none."""
    letters = LETTERS[: len(options)]
    if API_FAILURE not in reply:
        if any(phrase in reply for phrase in REFUSALS):
            return ""
        words = re.sub(r"[.()\[\],:;!*#{}]", " ", reply).split()
        named = [letter for letter in letters if letter in words]
        if len(named) == 1 and words.index(named[0]) > len(words) - 5:
            return named[0]
        if not named and "Z" in words:
            return ""
        stated = re.search(r"answer is\s*\**\s*([A-D])", reply, re.IGNORECASE)
        if stated:
            return stated[1].upper()
    text = reply.lower()
    found = [letter for letter, option in zip(letters, options, strict=True) if option.lower() in text]
    is_short = len(text) <= 2 * sum(map(len, options))
    return found[0] if is_short and len(found) == 1 else ""


def _rating(scores: Sequence[float | None], benchmark: str) -> float | None:
    """Its overall rating in percent. For MVBench every score that is not 0 counts as right, also a missing one."""
    if benchmark == "mvbench":
        return percent(sum(score != 0 for score in scores), len(scores))
    return percent(sum(score or 0 for score in scores), len(scores))


def _recorded(path: Path) -> float | None:
    """The overall rating in `<name>_rating.json` beside the table, in percent."""
    beside = path.with_name(f"{path.stem.removesuffix('_score')}_rating.json")
    content = parsed_json(beside) if beside.is_file() else {}
    overall = content.get("overall") if isinstance(content, dict) else None
    try:
        if isinstance(overall, list):
            return 100 * float(overall[0]) / float(overall[1])
        return 100 * float(overall["overall"]) if isinstance(overall, dict) else None
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        return None
