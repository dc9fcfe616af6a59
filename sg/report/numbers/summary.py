"""Every number of the report as plain records: tables, controls, probes, costs and runs; saved as `summary.json`.

Tables, figures, page, notebooks and W&B use nothing else, so they can be made again from a committed summary. Scores
are in percent of the answered questions, differences in percentage points, and intervals are 95 % intervals over
videos.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from sg.artefacts.answer_rules.calibration import OptionCalibration
from sg.artefacts.predictions import OVERALL
from sg.core.errors import MissingInputError
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.records import load_record, save_record
from sg.report.numbers.registered import RegisteredResult

SUMMARY_FILE = "summary.json"
EQUIVALENCE = 1.0
"""Bound of "equivalent" in points, unless the study registered another one."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm in one bucket of questions.

    `score` is the mean over seeds, `seed_spread` its standard deviation; `delta` and `seed_deltas` are differences from
    the baseline. `accuracy` and `delta` are None without the answers per question. `p_holm` is p of `delta` after
    Holm's correction, for the planned comparisons only. `answered` is the mean number of answered questions.
    """

    score: float | None = None
    accuracy: Estimate | None = None
    seed_scores: list[float] = field(default_factory=list)
    seed_spread: float | None = None
    delta: Estimate | None = None
    seed_deltas: list[float] = field(default_factory=list)
    p_holm: float | None = None
    questions: int = 0
    answered: float = 0.0
    published: float | None = None
    published_delta: float | None = None
    published_slip: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One arm of the study in one setting. `reasons` are the reasons why seeds failed."""

    arm: str
    label: str
    scale: int
    scale_label: str
    control: str | None
    num_captions: int
    caption_steps: int | None
    seeds: list[int]
    failed_seeds: list[int]
    reasons: list[str]
    cells: dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Shape:
    """A curve fitted to the means over scales.

    `p` is that of `chi2` on `degrees` degrees of freedom: a small one rejects the curve; None if it has as many
    parameters as there are points. A lower `aic` is better. All are None in summaries of older versions.
    """

    name: str
    parameters: dict[str, float]
    aic: float | None = None
    chi2: float | None = None
    degrees: int = 0
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The study in one setting: headline rows by rising scale, then the controls.

    `growth` is the accuracy of the largest caption scale minus that of the smallest. `joint_p` is p of "all caption
    scales are equally accurate". `shapes` are the fitted curves, the best first.
    """

    setting: str
    questions: int
    videos: int
    rows: list[TableRow]
    growth: Estimate | None
    joint_p: float | None
    shapes: list[Shape] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PairRow:
    """One run compared with the baseline of its seed: McNemar's counts and tests.

    `only_new` and `only_base` are numbers of questions that only one of them answered correctly, `discordance` is their
    share of all questions. An unanswered question counts as wrong. The seeds answer the same questions, so their
    p-values must not be pooled.
    """

    setting: str
    label: str
    seed: int
    only_new: int
    only_base: int
    discordance: float
    exact_p: float
    clustered_p: float


@dataclass(frozen=True, slots=True)
class ControlRow:
    """A control and the headline arm it is compared with, on all questions of one setting.

    `difference` is headline minus control; the gains are differences from no captions. `p_holm` is p of `difference`
    after Holm's correction over all planned comparisons.
    """

    kind: str
    setting: str
    control: str
    headline: str
    control_label: str
    headline_label: str
    control_steps: int | None
    headline_steps: int | None
    control_gain: Estimate | None
    headline_gain: Estimate | None
    difference: Estimate
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class LossRow:
    """The loss of an arm on held-out captions, in nats; lower is better.

    `loss` is per token and `delta` its difference from no captions; `per_caption` is the mean sum over a caption.
    `p_holm` is p of `delta` after Holm's correction, for the scales on all captions only.
    """

    arm: str
    label: str
    scale: int
    control: str | None
    seeds: list[int]
    loss: Estimate
    per_caption: float
    delta: Estimate | None
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class LossGroup:
    """The losses on a part of the held-out captions: one "source", or a third of them by "length"."""

    kind: str
    name: str
    captions: int
    rows: list[LossRow]


@dataclass(frozen=True, slots=True)
class LossTable:
    """The losses of all arms on the same held-out captions. Groups are exploratory, p is not corrected.

    The `difference` of a control row is headline minus control: below 0 if the headline predicts better.
    """

    captions: int
    tokens: int
    rows: list[LossRow]
    controls: list[ControlRow]
    shapes: list[Shape]
    groups: list[LossGroup]


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """An arm asked without the right video, compared with guessing (`chance`) and with the text alone.

    `drop` is its accuracy with the right video minus `accuracy`, `over_text` is `accuracy` minus that without a video.
    `p_holm` is p of "the accuracy is `chance`" after Holm's correction over all probes. `against_chance` is "above",
    "below" or "not resolved".
    """

    probe: str
    arm: str
    label: str
    seeds: int
    accuracy: Estimate
    chance: float
    drop: Estimate | None
    over_text: Estimate | None = None
    p_holm: float | None = None
    against_chance: str = "not resolved"


@dataclass(frozen=True, slots=True)
class LetterRow:
    """How often an arm answered each letter, in percent of its questions; "none" means that no letter could be read."""

    setting: str
    arm: str
    label: str
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """How sure an arm is in a setting, over all its seeds; its probabilities are `of` "letter" or "text"."""

    setting: str
    of: str
    arm: str
    label: str
    control: str | None
    calibration: OptionCalibration


@dataclass(frozen=True, slots=True)
class TopicRow:
    """An arm on the questions of one task type or domain in one setting; exploratory, p is not corrected."""

    kind: str
    name: str
    setting: str
    arm: str
    label: str
    scale: int
    control: str | None
    questions: int
    score: float
    delta: Estimate | None


@dataclass(frozen=True, slots=True)
class CostRow:
    """The cost of one run of an arm, as the mean over its seeds.

    Hours are device hours (hours times number of devices; `device` is "cpu" or "gpu"). `align_hours` is the time of the
    stage that all arms share. `caption_usd` is the price of the captions it used in US dollars, None if not recorded.
    """

    arm: str
    label: str
    scale: int
    control: str | None
    device: str
    captions: int
    caption_usd: float | None
    align_hours: float
    caption_hours: float
    instruct_hours: float
    evaluate_hours: float

    @property
    def hours(self) -> float:
        """Device hours of the whole run, including shared stages."""
        return self.align_hours + self.caption_hours + self.instruct_hours + self.evaluate_hours

    def usd(self, usd_per_hour: float) -> float:
        """Price of the captions and of the device hours in US dollars."""
        return (self.caption_usd or 0.0) + self.hours * usd_per_hour


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: its settings, how it ended, and the fingerprints of its config (`settings`) and stages.

    `forgetting` is the loss on dialogs of the model's own kind, in nats per token.
    """

    run: str
    scale_label: str
    control: str | None
    seed: int
    status: str
    reason: str
    num_captions: int
    steps: dict[str, int]
    seconds: dict[str, float]
    reused: list[str]
    settings: str
    fingerprints: dict[str, str]
    scores: dict[str, float]
    forgetting: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """A study in numbers. All runs train `model`; `weights` counts its connector and its language model.

    `answers` is how often each letter is the right answer, in percent of the questions.

    Two arms are called equivalent only if their true difference is within ± `equivalence` points (two one-sided tests).
    """

    study: str
    benchmark: str
    commands: list[str]
    versions: dict[str, str]
    tables: list[Table]
    controls: list[ControlRow]
    probes: list[ProbeRow]
    pairs: list[PairRow]
    letters: list[LetterRow]
    answers: dict[str, float]
    runs: list[RunRow]
    notes: list[str]
    topics: list[TopicRow] = field(default_factory=list)
    costs: list[CostRow] = field(default_factory=list)
    held_out: LossTable | None = None
    calibrations: list[CalibrationRow] = field(default_factory=list)
    equivalence: float = EQUIVALENCE
    registered: RegisteredResult | None = None
    model: str = ""
    weights: int | None = None

    def table(self, setting: str) -> Table | None:
        """Return the table of a setting; None if no run was asked in it."""
        return next((table for table in self.tables if table.setting == setting), None)


def headline_rows(table: Table) -> list[TableRow]:
    """Return the rows of the sweep that have a score, without controls."""
    return [row for row in table.rows if row.control is None and row.cells[OVERALL].score is not None]


def write_summary(path: Path, summary: Summary) -> None:
    """Write `summary` as JSON."""
    save_record(path, summary)


def read_summary(path: Path) -> Summary:
    """Read a `summary.json` from its path or folder; MissingInputError if there is none, DataError if it is damaged."""
    file = path if path.suffix == ".json" else path / SUMMARY_FILE
    if not file.is_file():
        raise MissingInputError(
            f"There is no {SUMMARY_FILE} at {file}: write it with `python -m sg.report study=FOLDER`."
        )
    return cast(Summary, load_record(Summary, file))
