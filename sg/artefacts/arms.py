"""The arms of a study: what each control holds fixed, how the report names it, and what a study registered.

The difference between a headline run and a control answers one question, which depends on what both have in common.
`sg.study.arms` holds the functions that draw the samples of an arm.

`registration.json` of a study says what it set out to show. It is written before the first run and never changed. A
contrast that was chosen before the first run is tested at 5 % by itself. Everything else that a report shows is
corrected for the number of comparisons, or exploratory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sg.core.errors import ConfigError, DataError
from sg.core.files import read_json, write_record
from sg.core.fingerprints import fingerprint
from sg.core.mistakes import check_choice, nearest

HEADLINE = "none"
"""`data.control` of the headline sweep."""
EQUAL_STEPS = "equal_steps"
RANDOM = "random"
SHUFFLED_CAPTIONS = "shuffled_captions"
INSTRUCT_STEPS = "instruct_steps"

EQUAL_STEPS_SERIES = "equal_steps_series"
"""In `controls`: the equal-step control at every scale below the largest, as a curve beside the headline."""

STEPS, CAPTIONS, VIDEOS, LENGTH = "steps", "captions", "videos", "length"

SMALLEST, LARGEST = "smallest", "largest"


@dataclass(frozen=True, slots=True)
class ArmKind:
    """One kind of control.

    Attributes:
        fixed: what the control shares with the headline run that it is compared with: `STEPS` (of the caption stage, at
            a larger scale), `CAPTIONS` (their number), `VIDEOS` (and the steps), `LENGTH` (steps of all stages).
        at: the scale of a sweep that gets the control: its `SMALLEST` above 0 or its `LARGEST`.
        label: follows the scale in tables (`50k equal-step`); `legend` is the name in figures.
        meaning: explains the label.
        asks: what the headline has and the control lacks; a positive difference is its effect.
    """

    fixed: str
    at: str
    label: str
    legend: str
    meaning: str
    asks: str


ARM_KINDS = {
    EQUAL_STEPS: ArmKind(
        fixed=STEPS,
        at=SMALLEST,
        label="equal-step",
        legend="equal-step control",
        meaning="captions repeated to the same number of optimiser steps as a larger scale (equal-step control)",
        asks="more distinct captions",
    ),
    RANDOM: ArmKind(
        fixed=CAPTIONS,
        at=SMALLEST,
        label="random",
        legend="random subset",
        meaning="a random subset with as many captions as the core",
        asks="the choice of captions",
    ),
    SHUFFLED_CAPTIONS: ArmKind(
        fixed=VIDEOS,
        at=LARGEST,
        label="shuffled",
        legend="shuffled captions",
        meaning="the same videos and captions for as many steps, but every video has the caption of another one",
        asks="captions that describe their video",
    ),
    INSTRUCT_STEPS: ArmKind(
        fixed=LENGTH,
        at=LARGEST,
        label="instruct steps",
        legend="instruct steps instead",
        meaning="no captions, and the instruct stage takes the steps of the caption stage in addition to its own",
        asks="captions instead of further instruct steps",
    ),
}
"""Keyed by `data.control`, which a run records. A plug-in adds its own with `sg.study.arms.register_arm`."""


def check_control(control: str) -> None:
    """Raise ConfigError if `data.control` names no arm."""
    check_choice("data.control", control, (HEADLINE, *ARM_KINDS))


def check_controls(controls: Sequence[str]) -> None:
    """Raise ConfigError if an entry of `controls`, the arms that a sweep adds, names none."""
    known = (*ARM_KINDS, EQUAL_STEPS_SERIES)
    for control in controls:
        if control not in known:
            hint = nearest(control, known)
            raise ConfigError(f"controls={list(controls)}{hint} should be a list of {', '.join(known)}.")


def arm_label(scale_label: str, control: str) -> str:
    """Name of an arm in tables: `50k equal-step`, `100k random`."""
    return f"{scale_label} {ARM_KINDS[control].label}"


REGISTRATION_FILE = "registration.json"

CAPTION_EFFECT, SCALE_EFFECT, CONTROL = "caption effect", "scale effect", "control"
CONTRASTS = {
    CAPTION_EFFECT: "largest scale minus no captions",
    SCALE_EFFECT: "largest minus smallest scale",
    CONTROL: "largest scale minus its equal-step control",
}
"""The planned contrasts of a scaling study, and the arms that each one subtracts."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What a study registered.

    Attributes:
        contrast: the primary contrast, one of `CONTRASTS`.
        metric, benchmark, setting: what it is measured on.
        arms: names of all registered arms, such as `0`, `50k`, `50k/equal_steps`.
        seeds: the training seeds of every arm.
        equivalence_points: "no difference" means a true difference within ± this.
        rule: when the contrast counts as found, in words.
        date: day of registration, in UTC.
        code: version of `sg`, and in a clone the commit.
    """

    contrast: str
    metric: str
    benchmark: str
    setting: str
    arms: list[str]
    seeds: list[int]
    equivalence_points: float
    rule: str
    date: str = ""
    code: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        """What must not change: everything but date and code."""
        return {key: value for key, value in asdict(self).items() if key not in ("date", "code")}

    @property
    def fingerprint(self) -> str:
        """Hash over all of it, which every run records when it begins."""
        return fingerprint(asdict(self))


def write_registration(folder: Path, registration: Registration) -> Path:
    """Write the registration to the study's folder, and return its file."""
    path = folder / REGISTRATION_FILE
    write_record(path, asdict(registration))
    return path


def read_registration(folder: Path) -> Registration | None:
    """Read the registration in the study's folder; None if there is none; DataError if the file is damaged."""
    path = folder / REGISTRATION_FILE
    if not path.is_file():
        return None
    data = read_json(path)
    known = {item.name for item in fields(Registration)}
    try:
        if not isinstance(data, Mapping):
            raise TypeError(f"it holds a {type(data).__name__}")
        return Registration(**{key: value for key, value in data.items() if key in known})
    except TypeError as error:
        raise DataError(
            f"{path} is not a registration ({error}): restore it, or register a study of another name."
        ) from error
