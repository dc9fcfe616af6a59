"""Costs of the arms of a study: device hours per stage, and the price of their captions."""

from pathlib import Path

import numpy as np

from sg.artefacts.costs import EVALUATE, DeviceHours, device_hours, usd_a_caption
from sg.artefacts.result import RunResult
from sg.core.errors import DataError
from sg.report.numbers.study import Arm, Study
from sg.report.numbers.summary import CostRow


def cost_rows(study: Study) -> list[CostRow]:
    """Return one row per arm with a finished run that recorded its stages."""
    prices: dict[str, float | None] = {}
    arms = [arm for arm in (*study.finished, *study.controls) if any(run.stages for run in arm.runs)]
    return [_row(arm, prices) for arm in arms]


def _row(arm: Arm, prices: dict[str, float | None]) -> CostRow:
    hours = [_hours(run) for run in arm.runs if run.stages]

    def stage(name: str) -> float:
        return float(np.mean([item.stages.get(name, 0.0) for item in hours]))

    return CostRow(
        arm=arm.name,
        label=arm.label,
        scale=arm.scale,
        control=arm.control,
        device=hours[0].device,
        captions=arm.num_captions,
        caption_usd=_caption_usd(arm, prices),
        align_hours=stage("align"),
        caption_hours=stage("caption"),
        instruct_hours=stage("instruct"),
        evaluate_hours=float(np.mean([item.evaluate for item in hours])),
    )


def _hours(run: RunResult) -> DeviceHours:
    seconds = {name: stage.seconds for name, stage in run.stages.items()}
    return device_hours(seconds, run.timings.get(EVALUATE, 0.0), run.config.get("trainer") or {})


def _caption_usd(arm: Arm, prices: dict[str, float | None]) -> float | None:
    """Price in US dollars of the captions that the arm used, from the file that its first run read.

    A caption that is trained on several times is paid for once. None if the price is unknown.
    """
    if arm.scale == 0:
        return 0.0
    file = next((run.inputs["captions"] for run in arm.runs if "captions" in run.inputs), None)
    if file is None:
        return None
    if file not in prices:
        try:
            prices[file] = usd_a_caption(Path(file))
        except DataError:
            prices[file] = None
    price = prices[file]
    return None if price is None else price * arm.num_captions
