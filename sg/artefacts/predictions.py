"""The answers of a model: `predictions.jsonl`, one JSON object per question and setting, appended as answers arrive.

The file is append-only. The next run tries failed rows again, and the last row of a key counts, so a repeated command
completes an interrupted one. Every line keeps a checksum. No row holds the text of a question, because benchmarks may
not be redistributed.
"""

import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from sg.artefacts.answer_rules.question import UNANSWERED_SCORE
from sg.artefacts.prediction_values import checked_values
from sg.core.checksums import CHECKSUM_KEY, CHECKSUM_UNSET, is_intact, with_checksum
from sg.core.errors import DataError, MissingInputError
from sg.core.files import atomic_path
from sg.core.fingerprints import fingerprint

log = logging.getLogger(__name__)

WITHOUT_SUBTITLES = "without_subtitles"
WITH_SUBTITLES = "with_subtitles"
ZEROED_VIDEO = "zeroed_video"
SWAPPED_VIDEO = "swapped_video"
NO_VIDEO = "no_video"
SHUFFLED_OPTIONS = "shuffled_options"
SETTINGS = (WITHOUT_SUBTITLES, WITH_SUBTITLES)
LEAK_PROBES = (ZEROED_VIDEO, SWAPPED_VIDEO, NO_VIDEO)
"""Settings without the right video. Accuracy above chance here means that answers leak from elsewhere."""
PROBES = (*LEAK_PROBES, SHUFFLED_OPTIONS)

OVERALL = "overall"
DURATIONS = ("short", "medium", "long")
BUCKETS = (OVERALL, *DURATIONS)
"""All questions of a benchmark, and the questions about videos of each duration."""

OK = "ok"
MISSING_VIDEO = "missing_video"
UNDECODABLE = "undecodable"
TOO_LONG = "too_long"
ERROR = "error"
STATUSES = (OK, MISSING_VIDEO, UNDECODABLE, TOO_LONG, ERROR)

Key = tuple[str, str]
"""(question_id, setting): the name of a row."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One question asked in one setting.

    Attributes:
        status: "ok", or why there is no answer; `reason` explains it. Only a row with status "ok" has a letter, so an
            error text is never read as an answer.
        response: the text that the model wrote.
        letter: the letter that the answer reader found in `response`; "" for an unanswered question.
        score: the official score of the answer where the benchmark's rule does not follow from `letter` alone: 1 right,
            0 wrong, -1 unanswered. None: -1 without a letter, else whether the letter is the right one.
        tokens_of: the video whose visual tokens the model saw.
        frames: indices of the frames that it saw; `fps`: frame rate of the video.
        subtitles: state of the subtitles: "ok", "missing" or "unreadable"; "" in a setting without them.
        subtitle_lines: number of lines in the prompt; `subtitle_lines_cut`: number that did not fit.
        letter_logits: logits of the letters A, B, ... of the `num_options` options at the first generated position.
        option_logprobs: mean log-probability per token, in nats, of the text of each option after the prompt; empty
            where it was not asked for.
        option_order: the option behind each letter of the prompt when the options are shuffled: "CADB" means that A
            was option C. `letter`, `answer`, `letter_logits` and `option_logprobs` are in the order of the benchmark.
        batch: number of the batch; the files of shards are merged in this order.
        made_by: name of the identity of everything that the answer depends on.
        code: version of `sg`, and in a clone the commit, that asked.
    """

    question_id: str
    setting: str
    video_id: str
    duration: str
    answer: str
    domain: str = ""
    sub_category: str = ""
    task_type: str = ""
    status: str = OK
    reason: str = ""
    response: str = ""
    letter: str = ""
    tokens_of: str = ""
    frames: tuple[int, ...] = ()
    fps: float = 0.0
    subtitles: str = ""
    subtitle_lines: int = 0
    subtitle_lines_cut: int = 0
    subtitle_hash: str = ""
    prompt_hash: str = ""
    num_prompt_tokens: int = 0
    num_new_tokens: int = 0
    letter_logits: tuple[float, ...] = ()
    num_options: int = 4
    option_order: str = ""
    batch: int = -1
    made_by: str = ""
    code: str = ""
    score: int | None = None
    option_logprobs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that a row without an answer cannot count as one."""
        if self.status not in STATUSES:
            raise DataError(
                f"question {self.question_id}: status is {self.status!r}, expected one of {', '.join(STATUSES)}."
            )
        if self.status != OK and (self.letter or self.response or self.score is not None):
            raise DataError(
                f"question {self.question_id}: status is {self.status} but there is a response, a letter or a score."
            )

    @property
    def key(self) -> Key:
        """(question_id, setting)."""
        return self.question_id, self.setting

    @property
    def official_score(self) -> int:
        """1 right, 0 wrong, -1 unanswered, by the benchmark's own rule."""
        if self.score is not None:
            return self.score
        return int(self.letter == self.answer) if self.letter else UNANSWERED_SCORE

    @property
    def is_answered(self) -> bool:
        """True when the official accuracy counts the question: it divides by the number of such rows."""
        return self.official_score != UNANSWERED_SCORE

    @property
    def is_correct(self) -> bool:
        """True when the official accuracy counts the answer as right."""
        return self.official_score == 1

    @property
    def is_strictly_correct(self) -> bool:
        """True when the response chooses the right option. MVBench's rule counts an empty response as right too."""
        return self.is_correct and self.letter != ""

    def to_json(self) -> str:
        """The row as one line of JSON without a newline."""
        row = {name: getattr(self, name) for name in _FIELDS} | {"correct": self.is_correct}
        for name in _LATER_FIELDS:  # Rows without them keep the form, and the hash, of earlier versions.
            if row[name] in (None, ()):
                del row[name]
        return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


_FIELDS = {field.name: None for field in fields(Prediction)}
_LATER_FIELDS = ("score", "option_logprobs")
_REQUIRED = [field.name for field in fields(Prediction) if field.default is MISSING]


def prediction_from_dict(data: Any, origin: str) -> Prediction:
    """A Prediction from JSON data. Unknown keys are ignored; errors name `origin`."""
    if not isinstance(data, dict):
        raise DataError(f"{origin} holds a {type(data).__name__}, expected an object with the fields of a prediction.")
    lacking = [name for name in _REQUIRED if name not in data]
    if lacking:
        raise DataError(f"{origin} is not a prediction: it lacks {', '.join(lacking)}.")
    values = checked_values({name: item for name, item in data.items() if name in _FIELDS}, origin)
    try:
        return Prediction(**values)
    except DataError as error:
        raise DataError(f"{origin} is not a prediction: {error}") from error


def _rows(path: Path, damaged: list[DataError] | None = None) -> tuple[list[Prediction], int]:
    """All rows of a file, and the length of its complete lines in bytes.

    A last line without a newline is complete if it is JSON. Otherwise a killed process left it, and it is left out.
    The errors of damaged lines are appended to `damaged`, or raised where it is None.
    """
    rows, complete = [], 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n") and not is_json(line):
                break
            complete += len(line)
            try:
                if line.strip():
                    rows.append(_row(line, f"{path}, line {number},"))
            except DataError as error:
                if damaged is None:
                    raise
                damaged.append(error)
    return rows, complete


def is_json(text: str | bytes) -> bool:
    """Whether a text is one JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _latest(rows: Sequence[Prediction], path: Path) -> dict[Key, Prediction]:
    """The last row of each key, in the order of the file."""
    makers = dict.fromkeys(row.made_by for row in rows)
    if len(makers) > 1:
        raise DataError(
            f"{path} mixes answers of {len(makers)} models or settings (made_by is {', '.join(map(repr, makers))}): "
            "give each its own file."
        )
    latest: dict[Key, Prediction] = {}
    for row in rows:
        if row.key in latest and latest[row.key].status == OK:
            raise DataError(
                f"{path} answers question {row.question_id} ({row.setting}) twice: question ids must be unique."
            )
        latest[row.key] = row
    return latest


def _row(line: bytes, origin: str) -> Prediction:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{origin} is not JSON ({error}): correct or remove the line.") from error
    if not is_intact(line.rstrip()):
        raise DataError(f"{origin} is damaged or was edited (its checksum differs): remove the line and run again.")
    return prediction_from_dict(data, origin)


def _line(row: Prediction) -> str:
    return with_checksum(f'{row.to_json()[:-1]},"{CHECKSUM_KEY}":"{CHECKSUM_UNSET}"}}') + "\n"


@dataclass(frozen=True, slots=True)
class AnswersRecord:
    """The answers that scores were computed from: their number, and a hash over all fields of all of them."""

    rows: int
    content: str


def record_of(rows: Iterable[Prediction]) -> AnswersRecord:
    """The record of `rows`, independent of their order."""
    lines = sorted(row.to_json() for row in rows)
    return AnswersRecord(len(lines), fingerprint(lines))


def read_predictions(path: Path, setting: str | None = None, may_be_cut: bool = False) -> list[Prediction]:
    """The predictions in `path`, of one setting or of all; an answer replaces an earlier failure.

    With `may_be_cut` a last line that is cut off is left out, as in the file of an evaluation that runs or was killed.

    Raises:
        MissingInputError: there is no such file.
        DataError: a line is not a prediction or is cut off, a question is answered twice, or the rows are of several
            models.
    """
    if not path.is_file():
        raise MissingInputError(f"There are no predictions at {path}: make them with `python evaluate.py`.")
    rows, complete = _rows(path)
    if complete < path.stat().st_size and not may_be_cut:
        raise DataError(
            f"The last line of {path} is cut off, so only {len(rows)} answers are whole: repeat the command that wrote "
            "the file, or remove the line."
        )
    latest = _latest(rows, path)
    return [row for row in latest.values() if setting is None or row.setting == setting]


def paired_outcomes(new: Sequence[Prediction], base: Sequence[Prediction]) -> tuple[list[bool], list[bool], list[str]]:
    """Outcomes on the questions of both lists: (new is correct, base is correct, video id), in the order of `new`.

    Each list is of one setting. A question without an answer counts as wrong.

    Raises:
        DataError: the lists share no question, or disagree about the video or the answer of one.
    """
    base_rows = {row.question_id: row for row in base}
    pairs = [(row, base_rows[row.question_id]) for row in new if row.question_id in base_rows]
    if not pairs:
        raise DataError("The two sets of predictions share no question: they are of different benchmarks.")
    for row, other in pairs:
        if (row.video_id, row.answer) != (other.video_id, other.answer):
            raise DataError(
                f"question {row.question_id} has video {row.video_id} and answer {row.answer} in one file but "
                f"{other.video_id} and {other.answer} in the other: compare predictions of the same benchmark."
            )
    return (
        [row.is_strictly_correct for row, _ in pairs],
        [other.is_strictly_correct for _, other in pairs],
        [row.video_id for row, _ in pairs],
    )


class PredictionWriter:
    """Appends rows to `path`; rows that are there already stay, and `done` maps their keys to them.

    Rows of another `made_by` (another checkpoint, prompt or table) are not mixed with these: their file is renamed to
    `<stem>.<their made_by>.jsonl`. Damaged rows are removed, so that their questions are asked again.
    """

    def __init__(self, path: Path, made_by: str) -> None:
        self.path, self.made_by = path, made_by
        self.done: dict[Key, Prediction] = {}
        self.set_aside: Path | None = None
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        damaged: list[DataError] = []
        rows, complete = _rows(self.path, damaged) if self.path.is_file() else ([], 0)
        if damaged:
            log.warning("%s (%d damaged rows are removed; their questions are asked again.)", damaged[0], len(damaged))
            complete = self._replace_all(rows)
        others = {row.made_by for row in rows} - {self.made_by}
        if others:
            self.set_aside = self.path.with_name(f"{self.path.stem}.{min(others) or 'unknown'}{self.path.suffix}")
            self.path.replace(self.set_aside)
            rows, complete = [], 0
        self.done = {row.key: row for row in rows}
        self._stream = self.path.open("ab")
        self._stream.truncate(complete)  # removes a last line that a killed process left incomplete
        if complete and not self.path.read_bytes().endswith(b"\n"):
            self._stream.write(b"\n")
        return self

    def _replace_all(self, rows: Sequence[Prediction]) -> int:
        """Write a new file with `rows`; returns its size in bytes."""
        with atomic_path(self.path) as temporary:
            temporary.write_text("".join(map(_line, rows)), encoding="utf-8")
        return self.path.stat().st_size

    def is_done(self, key: Key) -> bool:
        """True when the key has a row with status "ok"; failed questions are tried again."""
        return key in self.done and self.done[key].status == OK

    def write(self, rows: Iterable[Prediction]) -> None:
        """Append the rows that are new or differ from those in the file, and flush."""
        if self._stream is None:
            raise ValueError("write() outside the `with` block of the writer")
        fresh = [row for row in rows if not self.is_done(row.key) and self.done.get(row.key) != row]
        self._stream.write("".join(map(_line, fresh)).encode())
        self._stream.flush()
        self.done.update({row.key: row for row in fresh})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._stream = None
