"""The control arms of a study: what each one holds fixed, and how the report names it.

The report treats a control by what it has in common with the headline arm beside it. With the same number of optimiser
steps, a difference is due to the captions. With the same number of captions, a difference is due to which captions were
chosen.
"""

from dataclasses import dataclass

from sg.artefacts.result import EQUAL_STEPS, RANDOM

STEPS, CAPTIONS = "steps", "captions"


@dataclass(frozen=True, slots=True)
class ControlKind:
    """One kind of control. `fixed` is `STEPS` or `CAPTIONS`: what the control shares with its headline arm.

    In tables `label` follows the scale (`50k equal-step`) and `meaning` explains it; `legend` is the name in figures.
    """

    fixed: str
    label: str
    legend: str
    meaning: str


CONTROL_KINDS = {
    EQUAL_STEPS: ControlKind(
        fixed=STEPS,
        label="equal-step",
        legend="equal-step control",
        meaning="captions repeated to the same number of optimiser steps as a larger scale (equal-step control)",
    ),
    RANDOM: ControlKind(
        fixed=CAPTIONS,
        label="random",
        legend="random subset",
        meaning="a random subset with as many captions as the core",
    ),
}
"""Keyed by the `control` that a run records; one entry per name in `sg.artefacts.result.CONTROLS`."""


def control_label(scale_label: str, control: str) -> str:
    """Name of a control arm in tables: `50k equal-step`, `100k random`."""
    return f"{scale_label} {CONTROL_KINDS[control].label}"
