"""The result of one run of a study: `result.json`, read by the report and by a repeated command."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sg.artefacts.arms import ARM_KINDS
from sg.artefacts.held_out import HeldOutLoss
from sg.artefacts.predictions import AnswersRecord, Prediction, read_predictions, record_of
from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_json, write_record

RESULT_FILE = "result.json"
PREDICTIONS_FILE = "predictions.jsonl"
STUDY_FILE = "study.json"
"""In the folder of a study: the settings that its runs share, and the content of their data."""

BENCHMARKS_FOLDER = "benchmarks"

FINISHED = "finished"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StageResult:
    """One training stage of a run: its checkpoint, whether that was reused, and the wall time of training."""

    fingerprint: str
    reused: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RunResult:
    """One row of a study: a model trained on `scale` captions with one seed, and its scores.

    Attributes:
        scale: the requested scale; 0 is the baseline without the caption stage.
        num_captions: number of captions that were trained on. Those of videos that were left out, or without a
            supervised token, do not count. The demo world has ten videos per "k", so 50k means 500 captions.
        control: None in the headline sweep.
        scores: percentages, {setting: {"overall" | "short" | "medium" | "long": accuracy}}.
        answers: the answers in the settings of `scores`, which `predictions.jsonl` holds; None in older results.
        held_out: the loss on the captions that no run trains on; None if there are none.
        forgetting: the loss on dialogs of the model's own kind, `forgetting.dialogs`; None without them.
        weights: number of weights of the connector and the language model; None in older results.
        registration: content of the study's registration when the run began; "" without one, or in older results.
        inputs: paths of the files that the run read ("manifest", "captions", "forest", "videos"), for the report.
        inputs_content: content hashes of the first three, so that the report reads no others.
        made_by, identity, code: what decided the result, and the version that made it; see `sg.core.identity`.
    """

    run: str
    study: str
    scale: int
    scale_label: str
    seed: int
    control: str | None = None
    num_captions: int = 0
    status: str = FINISHED
    reason: str = ""
    benchmark: str = ""
    command: str = ""
    steps: dict[str, int] = field(default_factory=dict)
    stages: dict[str, StageResult] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    answers: AnswersRecord | None = None
    held_out: HeldOutLoss | None = None
    forgetting: HeldOutLoss | None = None
    weights: int | None = None
    registration: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    inputs_content: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    made_by: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the values that the report relies on."""
        if self.scale < 0:
            raise DataError(f"run {self.run}: scale is {self.scale}, expected 0 (baseline) or a number of captions")
        if self.control is not None and self.control not in ARM_KINDS:
            raise DataError(f"run {self.run}: control is {self.control!r}, expected null, {' or '.join(ARM_KINDS)}")
        if self.status not in (FINISHED, FAILED):
            raise DataError(f"run {self.run}: status is {self.status!r}, expected {FINISHED} or {FAILED}")

    @property
    def model(self) -> str:
        """Name of the model under study; "" in results without settings."""
        return str((self.config.get("model") or {}).get("name", ""))

    @property
    def is_finished(self) -> bool:
        """True when the run has scores."""
        return self.status == FINISHED

    @property
    def is_baseline(self) -> bool:
        """True for the run without the caption stage; all differences are relative to it."""
        return self.scale == 0 and self.control is None


def further_study(study: Path, benchmark: str) -> Path:
    """The study of the same runs with a further benchmark, inside the folder of a study."""
    return study / BENCHMARKS_FOLDER / benchmark


def studies_of_all_benchmarks(study: Path) -> list[Path]:
    """The folder of a study with its first benchmark, then those with the further ones, if it has some.

    `study` is any of them.
    """
    first = study.parent.parent if study.parent.name == BENCHMARKS_FOLDER else study
    found = (first / BENCHMARKS_FOLDER).glob(f"*/*/{RESULT_FILE}")
    return [first, *sorted({path.parent.parent for path in found})]


def write_result(path: Path, result: RunResult) -> None:
    """Write `result` as JSON, atomically; `path` is the file or the run's folder."""
    write_record(_result_file(path), asdict(result))


def read_result(path: Path) -> RunResult:
    """Read `result.json`; `path` is the file or the run's folder.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is not a result that this version can read.
    """
    file = _result_file(path)
    if not file.is_file():
        raise MissingInputError(f"no result at {file}: the run ended before it wrote one; run it again")
    return result_from_dict(read_json(file), file)


def answers_record(rows: Iterable[Prediction], scores: Mapping[str, Any]) -> AnswersRecord:
    """The record of those `rows` whose setting `scores` names."""
    return record_of(row for row in rows if row.setting in scores)


def read_answers_of(folder: Path, result: RunResult) -> list[Prediction]:
    """The answers in the run's folder, which are those that the scores of `result` were computed from.

    Raises:
        MissingInputError: there is no file of answers.
        DataError: it is damaged, or holds other answers.
    """
    path = folder / PREDICTIONS_FILE
    rows = read_predictions(path)
    found = answers_record(rows, result.scores)
    if result.answers not in (None, found):
        expected = result.answers.rows
        what = "other answers than those" if found.rows == expected else f"{found.rows} of the {expected} answers"
        raise DataError(
            f"{path} holds {what} that the scores in {RESULT_FILE} were computed from: run the same command again, "
            "which asks these questions again."
        )
    return rows


def result_from_dict(data: Any, origin: Path | str) -> RunResult:
    """A RunResult from JSON data. Keys of newer versions are ignored; errors name `origin`."""
    if not isinstance(data, Mapping):
        raise DataError(f"{origin} holds {type(data).__name__}, expected an object with the fields of a result")
    known = {item.name for item in fields(RunResult)}
    values = {key: value for key, value in data.items() if key in known}
    try:
        values["stages"] = {name: StageResult(**stage) for name, stage in values.get("stages", {}).items()}
        if values.get("answers") is not None:
            values["answers"] = AnswersRecord(**values["answers"])
        for name in ("held_out", "forgetting"):
            if values.get(name) is not None:
                values[name] = HeldOutLoss(**values[name])
        return RunResult(**values)
    except (TypeError, AttributeError) as error:
        raise DataError(f"{origin} is not a result of this program ({error})") from error


def _result_file(path: Path) -> Path:
    return path if path.suffix == ".json" else path / RESULT_FILE
