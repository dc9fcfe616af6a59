"""Every number of the report as plain records: the tables, controls, probes and runs; saved as `summary.json`.

Tables, figures, page, notebook and W&B are drawn from this alone, so a committed summary rebuilds them all.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from sg.artefacts.predictions import OVERALL
from sg.core.errors import MissingInputError
from sg.core.files import write_json
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.records import load_record

SUMMARY_FILE = "summary.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm in one bucket. `score` (percent) is the mean over seeds; the estimates need the answers per question."""

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
    """One arm of the study in one setting. `reasons` says why seeds are missing."""

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
    """How well a curve describes the means over scales: `aicc` is smaller for better, None for too few points."""

    name: str
    parameters: dict[str, float]
    aicc: float | None


@dataclass(frozen=True, slots=True)
class Table:
    """The study in one setting: headline rows by scale, then the controls. `joint_p` tests "all caption arms alike".

    `growth` is the largest caption scale minus the smallest one; `shapes` are the fitted curves, the best first.
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
    """One run against the baseline of its seed: questions that only one of them got right, and McNemar's tests.

    `discordance` is their share. An unanswered question counts as wrong here. Seeds answer the same questions, so their
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
    """A control beside the headline arm it answers to, overall, in one setting; differences in points."""

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


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """A model asked about a zeroed or a wrong video. `drop` is its accuracy with the right video minus this one."""

    probe: str
    arm: str
    label: str
    seeds: int
    accuracy: Estimate
    chance: float
    at_chance: bool
    drop: Estimate | None


@dataclass(frozen=True, slots=True)
class LetterRow:
    """How an arm spread its answers over the letters, in percent of the questions; "none" is no readable letter."""

    setting: str
    arm: str
    label: str
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class TopicRow:
    """An arm on the questions of one task type or domain, in one setting; exploratory, nothing is corrected."""

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
    """What one run of an arm costs, mean over its seeds.

    Hours are those of one device (`device` is "cpu" or "gpu") times their number; `align_hours` is of the stage that
    all arms share. `caption_usd` is the price of the captions it used, None where that was not recorded.
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
        """Device hours of the whole run, shared stages included."""
        return self.align_hours + self.caption_hours + self.instruct_hours + self.evaluate_hours

    def usd(self, usd_per_hour: float) -> float:
        """Captions and device hours together in dollars."""
        return (self.caption_usd or 0.0) + self.hours * usd_per_hour


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: what it was, how it ended, what repeats it. `settings` names its whole config by fingerprint."""

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


@dataclass(frozen=True, slots=True)
class Summary:
    """A study in numbers. `answers` is how often each letter is right in the benchmark, in percent."""

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

    def table(self, setting: str) -> Table | None:
        """The table of a setting, None when no run was asked in it."""
        return next((table for table in self.tables if table.setting == setting), None)


def headline_rows(table: Table) -> list[TableRow]:
    """Rows of the sweep itself, without controls, that have a score."""
    return [row for row in table.rows if row.control is None and row.cells[OVERALL].score is not None]


def write_summary(path: Path, summary: Summary) -> None:
    """Save `summary` as JSON."""
    write_json(path, asdict(summary))


def read_summary(path: Path) -> Summary:
    """Read a summary from its file or folder; MissingInputError when there is none, DataError when it is none."""
    file = path if path.suffix == ".json" else path / SUMMARY_FILE
    if not file.is_file():
        raise MissingInputError(f"no {SUMMARY_FILE} at {file}: make it with `python -m sg.report study=FOLDER`")
    return cast(Summary, load_record(Summary, file))
