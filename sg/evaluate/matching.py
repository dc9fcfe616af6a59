"""Matches the answers of a file to the questions of a benchmark: by id, then by text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from sg.artefacts.answer_files.record import AnswerFile, FileAnswer, plain_text, predictions_of
from sg.artefacts.answer_rules.question import Question
from sg.artefacts.answer_rules.rules import OFFICIAL
from sg.artefacts.predictions import ERROR, OK, Prediction
from sg.core.errors import DataError
from sg.evaluate.benchmark import Benchmark, BenchmarkVideo
from sg.evaluate.config import BenchmarkConfig

LISTED = 10
NO_ANSWER = "the file has no answer to it"


@dataclass(frozen=True, slots=True)
class Matching:
    """The answers of a file as rows of a benchmark.

    Attributes:
        rows: read by the official rule, in the order of the benchmark.
        answers: the answer of the file behind each row, by question id.
        by_id, by_text: number of answers that were matched so.
        unmatched: (place in the file, reason) of the others.
        missing: the questions that the file does not answer.
    """

    rows: list[Prediction]
    answers: dict[str, FileAnswer] = field(default_factory=dict)
    by_id: int = 0
    by_text: int = 0
    unmatched: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """How many answers were matched, and which were not."""
        lines = [f"matched: {self.by_id:,} answers by id, {self.by_text:,} by text"]
        if self.unmatched:
            examples = "; ".join(f"{where} {reason}" for where, reason in self.unmatched[:LISTED])
            lines.append(f"not matched: {len(self.unmatched):,} answers ({examples}{_more(self.unmatched)})")
        if self.missing:
            shown = ", ".join(self.missing[:LISTED]) + _more(self.missing)
            lines.append(f"without an answer in the file: {len(self.missing):,} questions ({shown})")
        return lines


def _more(items: Sequence[object]) -> str:
    return ", ..." if len(items) > LISTED else ""


Place = tuple[BenchmarkVideo, Question]


class _Index:
    """The questions of a benchmark by id, and by text."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.places = [(video, question) for video in benchmark.videos for question in video.questions]
        self.by_id = {question.question_id: (video, question) for video, question in self.places}
        self.by_text: dict[str, list[Place]] = {}
        for video, question in self.places:
            self.by_text.setdefault(plain_text(question.text), []).append((video, question))

    def named(self, answer: FileAnswer) -> Place | None:
        """The question with one of the names of the answer, or in its row, if its text does not contradict."""
        rows = [self.places[answer.row]] if answer.row is not None and answer.row < len(self.places) else []
        # A row alone is a weak name: it needs the same text.
        candidates = [self.by_id[name] for name in answer.ids if name in self.by_id]
        candidates += [place for place in rows if answer.question.text]
        return next((place for place in candidates if _agrees(answer, place)), None)

    def worded(self, answer: FileAnswer) -> Place | str:
        """The one question with the text, the options and the video of the answer, or the reason why there is none."""
        text = plain_text(answer.question.text)
        worded = self.by_text.get(text, []) if text else []
        found = [place for place in worded if _same_options(answer, place)]
        if len(found) > 1:
            found = [place for place in found if _same_video(answer, place)] or found
        if len(found) == 1:
            return found[0]
        name = answer.question.question_id
        if len(found) > 1:
            return f"(question {name}) has the text of {len(found)} questions"
        if worded or any(one in self.by_id for one in answer.ids):
            return f"(question {name}) has another text or other options than in the benchmark"
        return f"(question {name}) is not a question of the benchmark"


def _agrees(answer: FileAnswer, place: Place) -> bool:
    own, other = plain_text(answer.question.text), plain_text(place[1].text)
    return (not own or own == other) and _same_options(answer, place)


def _same_options(answer: FileAnswer, place: Place) -> bool:
    """Whether the options are the same texts; an unknown one (`?`, or none at all) is any text."""
    own = [plain_text(text) for text in answer.question.option_texts]
    other = [plain_text(text) for text in place[1].option_texts]
    if "?" in own:  # then their number is unknown too
        return all(text == "?" or other[at : at + 1] == [text] for at, text in enumerate(own))
    return not any(own) or own == other


def _same_video(answer: FileAnswer, place: Place) -> bool:
    stem = PurePosixPath(answer.video).stem
    return bool(stem) and (stem in (place[0].media_id, place[0].video_id) or f"-{stem}" in place[0].media_id)


def match(file: AnswerFile, benchmark: Benchmark, config: BenchmarkConfig) -> Matching:
    """The answers of `file` as rows of `benchmark`, read by the official rule.

    Raises:
        DataError: the file is of another benchmark, no answer is matched, or two answers are of one question.
    """
    index = _Index(benchmark)
    found: dict[str, tuple[Place, FileAnswer]] = {}
    unmatched: list[tuple[str, str]] = []
    by_id = 0
    for answer in file.answers:
        where = answer.where.removeprefix(f"{file.path}, ")
        named = index.named(answer)
        place = named or index.worded(answer)
        if isinstance(place, str):
            unmatched.append((where, place))
            continue
        if problem := _other_answer(answer, place[1]):
            unmatched.append((where, problem))
            continue
        name = place[1].question_id
        if name in found:
            raise DataError(
                f"{file.path} answers question {name} of {benchmark.name} twice ({found[name][1].where} and "
                f"{answer.where}): give the answers of one run only."
            )
        found[name] = (place, answer)
        by_id += named is not None
    if not found:
        first, (where, reason) = index.places[0][1].question_id, unmatched[0]
        raise DataError(
            f"None of the {len(file.answers):,} answers of {file.path} matches one of the {len(index.places):,} "
            f"questions of benchmark {benchmark.name}, such as {first} ({where} {reason}): the file is of another "
            "benchmark or revision."
        )
    rows = _rows(file, index, found, config)
    missing = [question.question_id for _, question in index.places if question.question_id not in found]
    answers = {name: answer for name, (_, answer) in found.items()}
    return Matching(rows, answers, by_id, len(found) - by_id, unmatched, missing)


def _other_answer(answer: FileAnswer, question: Question) -> str:
    """Why the right answers of file and benchmark differ; "" if they agree, or the file does not say it."""
    own = answer.question
    if not own.answer or own.answer == question.answer:
        return ""
    texts = [one.option_texts[one.letters.index(one.answer)] for one in (own, question) if one.answer in one.letters]
    if len(texts) == 2 and texts[0] == texts[1] != "":
        return ""  # of two equal options, programs call different ones the right one
    return f"(question {question.question_id}) has the right answer {own.answer}, in the benchmark {question.answer}"


def rule_of(file: AnswerFile, config: BenchmarkConfig) -> str:
    """The name of the rule that reads the answers: that of the file's form, or the one that `config` names."""
    if not file.benchmark and config.answer_reader == OFFICIAL and file.writer and config.official.file_rule:
        return config.official.file_rule
    return file.rule if file.benchmark and config.answer_reader == OFFICIAL else config.rule_name


def _rows(
    file: AnswerFile, index: _Index, found: dict[str, tuple[Place, FileAnswer]], config: BenchmarkConfig
) -> list[Prediction]:
    """The rows in the order of the benchmark; in a benchmark of groups with the missing questions of their videos."""
    answers = []
    for video, question in index.places:
        if question.question_id in found:
            domain, category = question.domain or video.domain, question.sub_category or video.sub_category
            asked = replace(question, domain=domain, sub_category=category)
            answer = found[question.question_id][1]
            answers.append(replace(answer, question=asked, video=video.video_id, duration=video.duration))
    rows = predictions_of(replace(file, rule=rule_of(file, config), answers=tuple(answers)))
    return with_whole_groups(rows, index.places) if config.official.has_groups else rows


def with_whole_groups(rows: Sequence[Prediction], places: Iterable[Place]) -> list[Prediction]:
    """The rows, and one without an answer for each missing question of a video that has rows."""
    by_id, videos = {row.question_id: row for row in rows}, {row.video_id for row in rows}
    first = rows[0]
    return [
        by_id.get(question.question_id)
        or replace(
            first, question_id=question.question_id, video_id=video.video_id, duration=video.duration,
            answer=question.answer, domain=question.domain, sub_category=question.sub_category,
            task_type=question.task_type, num_options=len(question.options), response="", letter="", score=None,
            status=ERROR, reason=NO_ANSWER,
        )
        for video, question in places
        if video.video_id in videos
    ]  # fmt: skip


def match_rows(rows: Sequence[Prediction], benchmark: Benchmark, origin: object) -> Matching:
    """Our own rows, checked against the benchmark: their ids and right answers, in its order, per setting.

    Raises:
        DataError: a row is not a question of the benchmark, or has another right answer.
    """
    index = _Index(benchmark)
    for row in rows:
        place = index.by_id.get(row.question_id)
        if place is None or place[1].answer != row.answer:
            what = "is not a question of" if place is None else f"has the right answer {row.answer}, but not in"
            raise DataError(
                f"{origin}: question {row.question_id} {what} benchmark {benchmark.name}: the file is of another "
                "benchmark or revision."
            )
    order = {question.question_id: at for at, (_, question) in enumerate(index.places)}
    ordered = sorted(rows, key=lambda row: order[row.question_id])
    answered = {row.question_id for row in rows if row.status == OK}
    missing = [name for name in order if name not in answered]
    return Matching(ordered, by_id=len(rows), missing=missing)
