"""A rehearsal runs the real stage without values; what it counts is what real training has."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sg.models.chat_univi.student import ChatUniViStudent
from sg.study.planning.memory import BYTES_IN_4_BITS
from sg.train.config import LoraConfig, StageConfig
from sg.train.module import StageModule
from sg.train.rehearsal.fakes import without_values
from sg.train.rehearsal.packed import PackedLinear
from sg.train.rehearsal.stage import Rehearsal, rehearse_stage
from tests.train.builders import tiny_model, tiny_student, trainer_config

ALL_WEIGHTS = {"trains": ["connector", "language_model"]}


def stage_config(**settings: Any) -> StageConfig:
    return StageConfig(**{"name": "caption", "batch_size": 8, "micro_batch_size": 2} | settings)


def blank() -> ChatUniViStudent:
    with torch.device("meta"):
        return ChatUniViStudent(tiny_model())


def rehearsed(stage: dict[str, Any] | None = None, **trainer: Any) -> Rehearsal:
    return rehearse_stage(stage_config(**(stage or ALL_WEIGHTS)), trainer_config(**trainer), blank)


def test_whole_numbers_keep_their_values_and_others_have_none() -> None:
    with without_values():
        ids = torch.arange(6).view(2, 3)
        hidden = torch.randn(2, 3, 4)
        assert ids[ids > 2].tolist() == [3, 4, 5]
        assert hidden[ids > 2].shape == (3, 4)
        assert torch.full((2,), 7).sum().item() == 14
        assert hidden.sum().item() == 1.0


def test_a_rehearsal_counts_the_operations_of_real_training() -> None:
    stage, trainer = stage_config(**ALL_WEIGHTS), trainer_config()
    student = tiny_student()
    module = StageModule(student, stage, 2, machine=trainer)
    samples = stage.micro_batch_size
    batch = student.blank_batch(samples, stage.typical.text_tokens, stage.typical.answer_tokens, stage.largest_clip)
    with FlopCounterMode(display=False) as counter:
        module.network(batch).backward()
    assert rehearsed().flops == counter.get_total_flops() > 0


def test_sharded_weights_and_moments_are_divided_by_the_devices_of_a_node() -> None:
    two = rehearsed(strategy="fsdp", devices=2)
    eight = rehearsed({**ALL_WEIGHTS, "micro_batch_size": 1}, strategy="fsdp", nodes=2, devices=4)
    assert two.memory["optimiser"] == pytest.approx(8 * two.trained / 2, rel=0.02)
    assert eight.memory["optimiser"] == pytest.approx(8 * two.trained / 4, rel=0.05)
    assert two.memory["weights"] > eight.memory["weights"]


def test_one_device_holds_weights_gradients_and_moments() -> None:
    alone = rehearsed()
    frozen = sum(value.numel() for value in blank().module.parameters()) - alone.trained
    assert alone.memory["optimiser"] == pytest.approx(8 * alone.trained, rel=0.01)
    assert alone.memory["weights"] == pytest.approx(4 * (alone.trained + frozen), rel=0.05)
    assert alone.traffic == {"gather": 0.0, "reduce": 0.0}


def test_with_ddp_every_device_receives_the_sum_of_all_gradients() -> None:
    found = rehearsed(devices=4)
    assert found.traffic["reduce"] == found.traffic["gather"] == pytest.approx(0.75 * 4 * found.trained)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("strategy", ["auto", "fsdp"])
@pytest.mark.parametrize("trains", [["connector"], ["connector", "language_model"]])
def test_every_stage_can_be_rehearsed(precision: str, strategy: str, trains: list[str]) -> None:
    found = rehearsed({"trains": trains}, precision=precision, strategy=strategy, devices=2, packed=True,
                      gradient_checkpointing=True)  # fmt: skip
    assert found.peak > 0 and found.trained > 0


def test_adapters_are_rehearsed() -> None:
    whole, adapted = rehearsed(), rehearsed({**ALL_WEIGHTS, "peft": "lora", "lora": LoraConfig(rank=2)})
    assert 0 < adapted.trained < whole.trained
    assert adapted.memory["optimiser"] < whole.memory["optimiser"]


def test_weights_in_4_bits_are_rehearsed_with_a_quarter_of_their_bytes() -> None:
    settings = {**ALL_WEIGHTS, "lora": LoraConfig(rank=2)}
    whole, packed = (rehearsed(settings | {"peft": peft}) for peft in ("lora", "qlora"))
    model = blank().module.model
    linear = sum(part.weight.numel() for part in model.layers.modules() if isinstance(part, nn.Linear))
    saved = whole.memory["weights"] - packed.memory["weights"]
    assert saved == pytest.approx((4 - BYTES_IN_4_BITS) * linear, rel=0.02)
    assert packed.trained == whole.trained and packed.flops == whole.flops


def test_a_layer_in_4_bits_has_the_bytes_of_the_real_one() -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    plain = nn.Linear(192, 256)
    real = bitsandbytes.nn.Params4bit(plain.weight.data, requires_grad=False, quant_type="nf4").to("cpu")
    state = real.quant_state
    model = PackedLinear(plain.to("meta"))
    for mine, theirs in (
        (model.weight, real),
        (model.scales, state.absmax),
        (model.scales_of_scales, state.state2.absmax),
    ):
        assert mine.nbytes == theirs.nbytes
