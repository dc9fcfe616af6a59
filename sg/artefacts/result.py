"""What one run of a study leaves behind: `result.json`, read by the report and by a repetition of the command."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_json, write_json

RESULT_FILE = "result.json"
PREDICTIONS_FILE = "predictions.jsonl"

FINISHED = "finished"
FAILED = "failed"
EQUAL_STEPS = "equal_steps"
RANDOM = "random"
CONTROLS = (EQUAL_STEPS, RANDOM)


@dataclass(frozen=True, slots=True)
class StageResult:
    """One training stage of a run: which checkpoint it used, whether that was there already, what it took."""

    fingerprint: str
    reused: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RunResult:
    """One row of a study: a model trained on `scale` captions with one seed, and its scores.

    `scale` is what was asked for (0 = the baseline without the caption stage), `num_captions` what training really
    used; the demo world has ten videos a "k", so there 50k means 500 captions. `control` is None in the headline sweep.
    `made_by`, `identity` and `code` record what decided the result; see `sg.core.identity`.
    `scores` are percentages: {setting: {"overall" | "short" | "medium" | "long": accuracy}}. `inputs` names the files
    the run read ("manifest", "captions", "forest", "videos"); the report draws its cluster gallery from them.
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
    timings: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    made_by: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a record that the report could only misread."""
        if self.scale < 0:
            raise DataError(f"run {self.run}: scale is {self.scale}, expected 0 (baseline) or a number of captions")
        if self.control is not None and self.control not in CONTROLS:
            raise DataError(f"run {self.run}: control is {self.control!r}, expected null, {' or '.join(CONTROLS)}")
        if self.status not in (FINISHED, FAILED):
            raise DataError(f"run {self.run}: status is {self.status!r}, expected {FINISHED} or {FAILED}")

    @property
    def is_finished(self) -> bool:
        """True when the run has scores to show."""
        return self.status == FINISHED

    @property
    def is_baseline(self) -> bool:
        """True for the run without the caption stage, which every delta is measured against."""
        return self.scale == 0 and self.control is None


def write_result(path: Path, result: RunResult) -> None:
    """Write `result` as JSON, whole or not at all; `path` is the file or the run's folder."""
    write_json(_result_file(path), asdict(result))


def read_result(path: Path) -> RunResult:
    """Read `result.json` from a file or a run's folder; DataError when it is not a result this version understands."""
    file = _result_file(path)
    if not file.is_file():
        raise MissingInputError(f"no result at {file}: the run did not get as far as writing one; run it again")
    return result_from_dict(read_json(file), file)


def result_from_dict(data: Any, origin: Path | str) -> RunResult:
    """A RunResult from plain JSON data; `origin` is named in errors. Keys of newer versions are ignored."""
    if not isinstance(data, Mapping):
        raise DataError(f"{origin} holds {type(data).__name__}, expected an object with the fields of a result")
    known = {item.name for item in fields(RunResult)}
    values = {key: value for key, value in data.items() if key in known}
    try:
        values["stages"] = {name: StageResult(**stage) for name, stage in values.get("stages", {}).items()}
        return RunResult(**values)
    except (TypeError, AttributeError) as error:
        raise DataError(f"{origin} is not a result of this program ({error})") from error


def _result_file(path: Path) -> Path:
    return path if path.suffix == ".json" else path / RESULT_FILE
