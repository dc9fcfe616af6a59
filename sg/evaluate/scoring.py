"""Scores by the official rule, and counts that the official rule hides.

See `docs/reference/video_mme.md`, section 4.

Official accuracy divides by the *answered* questions, so a model gains by not answering hard ones. Strict accuracy
divides by all questions. Buckets are the durations of the benchmark; "overall" pools their questions.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sg.artefacts.answer_rules.calibration import OptionCalibration, by_text, calibration
from sg.artefacts.answers import LETTERS
from sg.artefacts.predictions import DURATIONS, OVERALL, PROBES, SETTINGS, Prediction
from sg.core.errors import DataError


@dataclass(frozen=True, slots=True)
class Count:
    """Number of questions: answered correctly, answered, and asked, by the official rule of the benchmark.

    `silent` of the correct answers choose no option: the rule of MVBench counts an empty response as right.
    """

    correct: int = 0
    answered: int = 0
    total: int = 0
    silent: int = 0

    @property
    def accuracy(self) -> float:
        """Correct answers in percent of the answered questions, the official metric; 0 if there are no answers."""
        return 100 * self.correct / self.answered if self.answered else 0.0

    @property
    def strict_accuracy(self) -> float:
        """Correct answers that choose an option, in percent of all questions."""
        return 100 * (self.correct - self.silent) / self.total if self.total else 0.0


def count(rows: Iterable[Prediction]) -> Count:
    """The counts of `rows`; a row with a status other than "ok" counts as unanswered."""
    correct = answered = total = silent = 0
    for row in rows:
        correct += row.is_correct
        answered += row.is_answered
        silent += row.is_correct and not row.is_strictly_correct
        total += 1
    return Count(correct, answered, total, silent)


@dataclass(frozen=True, slots=True)
class BucketScores:
    """Counts of one bucket: of all questions, and by domain, sub-category and task type."""

    overall: Count
    domain: dict[str, Count]
    sub_category: dict[str, Count]
    task_type: dict[str, Count]


@dataclass(frozen=True, slots=True)
class SettingScores:
    """Scores of one setting.

    Attributes:
        setting: `without_subtitles`, `with_subtitles` or a probe.
        buckets: "short", "medium", "long" (those that the benchmark has) and "overall".
        letters: number of predictions by letter; "" for unanswered.
        answers: number of questions by right letter, which gives the score of a model that always answers that letter.
        statuses: number of rows by status.
        subtitles: number of rows by state of their subtitles: "ok", "missing", "unreadable".
        without_subtitle_lines: number of questions asked with subtitles but without a line on screen.
        chance: expected accuracy of guessing, in percent.
        logit: counts if the letter with the largest logit is the answer: another metric, without unanswered questions.
        calibration, text_calibration: probabilities of the letters, and of the texts of the options; None if the model
            gave none.
    """

    setting: str
    buckets: dict[str, BucketScores]
    letters: dict[str, int]
    answers: dict[str, int]
    statuses: dict[str, int]
    subtitles: dict[str, int]
    without_subtitle_lines: int = 0
    chance: float = 25.0
    logit: Count = Count()
    calibration: OptionCalibration | None = None
    text_calibration: OptionCalibration | None = None

    @property
    def task_mean(self) -> float:
        """Mean of the official accuracies over task types: M-Avg of MLVU. Video-MME does not report it."""
        tasks = self.buckets[OVERALL].task_type.values()
        return sum(task.accuracy for task in tasks) / len(tasks)

    def percentages(self) -> dict[str, float]:
        """Official accuracy of every bucket: {"overall": 42.9, "short": ...}."""
        return {name: bucket.overall.accuracy for name, bucket in self.buckets.items()}


Scores = dict[str, SettingScores]
"""{setting: scores}, the settings of the benchmark first, then the probes."""


def durations_of(rows: Iterable[Prediction]) -> list[str]:
    """The buckets that occur: short, medium and long first, then other names."""
    present = {row.duration for row in rows}
    return [name for name in DURATIONS if name in present] + sorted(present - set(DURATIONS))


def _by(rows: Sequence[Prediction], category: Callable[[Prediction], str]) -> dict[str, Count]:
    groups: dict[str, list[Prediction]] = {}
    for row in rows:
        groups.setdefault(category(row), []).append(row)
    return {name: count(groups[name]) for name in sorted(groups)}


def score_bucket(rows: Sequence[Prediction]) -> BucketScores:
    """The counts of `rows`, all of one setting."""
    return BucketScores(
        overall=count(rows),
        domain=_by(rows, lambda row: row.domain),
        sub_category=_by(rows, lambda row: row.sub_category),
        task_type=_by(rows, lambda row: row.task_type),
    )


def score_setting(rows: Sequence[Prediction], durations: Sequence[str] | None = None) -> SettingScores:
    """The scores of `rows`, all of one setting; `durations` limits them to some buckets.

    Raises:
        DataError: the rows are of several settings, or one of `durations` has no rows.
    """
    settings = {row.setting for row in rows}
    if len(settings) != 1:
        raise DataError(f"Rows of one setting are expected, but these are of {len(settings)}: {sorted(settings)}.")
    names = list(durations or durations_of(rows))
    grouped = {name: [row for row in rows if row.duration == name] for name in names}
    empty = [name for name, group in grouped.items() if not group]
    if empty:
        raise DataError(f"There are no questions of duration {empty[0]!r}, only of {', '.join(durations_of(rows))}.")
    chosen = [row for row in rows if row.duration in grouped]
    buckets = {OVERALL: score_bucket(chosen)} | {name: score_bucket(group) for name, group in grouped.items()}
    predicted, right = Counter(row.letter for row in chosen), Counter(row.answer for row in chosen)
    letters = LETTERS[: max(row.num_options for row in chosen)]
    return SettingScores(
        setting=settings.pop(),
        buckets=buckets,
        letters={letter: predicted[letter] for letter in (*letters, "")},
        answers={letter: right[letter] for letter in letters},
        statuses=dict(sorted(Counter(row.status for row in chosen).items())),
        subtitles=dict(sorted(Counter(row.subtitles for row in chosen if row.subtitles).items())),
        without_subtitle_lines=sum(row.subtitles != "" and row.subtitle_lines == 0 for row in chosen),
        chance=100 * sum(1 / row.num_options for row in chosen) / len(chosen),
        logit=_logit_count(chosen),
        calibration=calibration(chosen),
        text_calibration=calibration(chosen, by_text),
    )


def _logit_count(rows: Iterable[Prediction]) -> Count:
    scored = [row for row in rows if row.letter_logits]
    likeliest = [LETTERS[row.letter_logits.index(max(row.letter_logits))] for row in scored]
    correct = sum(letter == row.answer for letter, row in zip(likeliest, scored, strict=True))
    return Count(correct, len(scored), len(scored))


def score(predictions: Sequence[Prediction], durations: Sequence[str] | None = None) -> Scores:
    """The scores of every setting in `predictions`; DataError if there are no predictions."""
    if not predictions:
        raise DataError("There are no predictions to score: make them with `python evaluate.py`.")
    present = dict.fromkeys(row.setting for row in predictions)
    names = [
        *(name for name in (*SETTINGS, *PROBES) if name in present),
        *sorted(present.keys() - {*SETTINGS, *PROBES}),
    ]
    return {name: score_setting([row for row in predictions if row.setting == name], durations) for name in names}
