"""Cost of a run: device hours from its result, US dollars from the captions that it used."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.captions import read_captions

EVALUATE = "evaluate_s"
"""Key of the evaluation among the timings of a result."""
SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class DeviceHours:
    """Device hours (hours times number of devices) of all stages, reused ones included, and of the evaluation."""

    device: str
    stages: dict[str, float]
    evaluate: float

    @property
    def total(self) -> float:
        """Device hours of the whole run, reused stages included."""
        return sum(self.stages.values()) + self.evaluate


def device_hours(stage_seconds: Mapping[str, float], evaluate_s: float, trainer: Mapping[str, Any]) -> DeviceHours:
    """Device hours of a run whose stages took `stage_seconds`; `trainer` is its trainer config as plain data."""
    devices = int(trainer.get("devices", 1)) * int(trainer.get("nodes", 1))
    hours = {name: devices * seconds / SECONDS_AN_HOUR for name, seconds in stage_seconds.items()}
    return DeviceHours(str(trainer.get("accelerator", "cpu")), hours, devices * evaluate_s / SECONDS_AN_HOUR)


def usd_a_caption(captions: Path) -> float | None:
    """Mean price of a caption in the file, in US dollars; None when there is no such file.

    Raises:
        DataError: the file holds no captions.
    """
    import pyarrow.compute as pc

    if not captions.is_file():
        return None
    mean = pc.mean(read_captions(captions).table["cost_usd"]).as_py()
    return 0.0 if mean is None else float(mean)
