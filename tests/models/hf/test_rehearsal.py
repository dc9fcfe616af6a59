"""A published family is rehearsed without its weights and without its processor."""

from typing import Any

import pytest

from sg.models.hf.checkpoint import skeleton
from sg.models.hf.student import HfStudent
from sg.train.config import StageConfig
from sg.train.rehearsal.stage import rehearse_stage
from tests.models.hf.samples import student_of
from tests.train.builders import trainer_config


@pytest.mark.parametrize("trains", [["language_model"], ["connector", "language_model"]])
def test_a_model_without_weights_and_processor_is_rehearsed(trains: list[str]) -> None:
    known = student_of("qwen3_vl")

    def blank() -> HfStudent:
        nothing: Any = None
        return HfStudent(skeleton(known.module.config, "tiny", "float32"), nothing, "tiny", known.size)

    stage = StageConfig(name="caption", batch_size=4, micro_batch_size=2, trains=trains)
    found = rehearse_stage(stage, trainer_config(), blank)
    assert found.memory["optimiser"] == pytest.approx(8 * found.trained, rel=0.01)
    assert found.memory["weights"] >= 4 * found.trained > 0
