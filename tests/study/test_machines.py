"""The cheapest machine of a plan: what does not fit, what cannot be divided, and what it costs."""

from dataclasses import replace
from typing import Any

import pytest

from sg.models.sizes import ModelSize
from sg.study.planning.machines import GPUS, cheapest_machine, fitting_machines, machine_text
from sg.study.planning.memory import stage_memory
from sg.train.config import StageConfig, TrainerConfig, TypicalSample
from sg.train.flops import PEAK_TFLOPS

SIZE = ModelSize(
    hidden=4096, intermediate=11008, layers=32, heads=32, key_value_heads=32, head_dim=128, vocabulary=32000,
    tied=False, connector_weights=4_198_400, connector_flops=8e6, tower_weights=303_000_000, frame_flops=3.5e11,
    visual_tokens=lambda frames, facts=None: 224, max_frames=64, weight_bytes=2, token_bytes=2048,
)  # fmt: skip
SMALL = replace(SIZE, hidden=1024, intermediate=2816, layers=12, heads=8)
GPU = TrainerConfig(accelerator="gpu", precision="bf16-mixed", packed=True, gradient_checkpointing=True)


def stage(**settings: Any) -> StageConfig:
    return StageConfig(**{"name": "caption", "trains": ["connector", "language_model"]} | settings)


def test_all_weights_of_a_7b_model_are_sharded_over_linked_gpus() -> None:
    found = fitting_machines(GPU, [(SIZE, stage())])
    assert {machine.gpu.name for machine in found} == {"B200", "H200", "H100", "A100"}
    for machine in found:
        strategy = "auto" if machine.count == 1 else "fsdp"
        assert machine.count > 1 or machine.gpu.memory_gb > 16 * SIZE.language_model_weights / 1e9
        tried = replace(GPU, devices=machine.count, strategy=strategy)
        assert machine.needed == stage_memory(tried, SIZE, stage()) < machine.gpu.memory_gb * 1e9


def test_the_configured_number_of_gpus_is_kept_where_it_fits() -> None:
    found = fitting_machines(replace(GPU, devices=8, strategy="fsdp"), [(SIZE, stage())])
    assert {machine.count for machine in found} == {8}


def test_the_largest_stage_decides() -> None:
    adapters = stage(peft="lora", typical=TypicalSample(text_tokens=400, answer_tokens=200, frames=8))
    alone = {machine.gpu.name for machine in fitting_machines(GPU, [(SMALL, adapters)])}
    both = {machine.gpu.name for machine in fitting_machines(GPU, [(SMALL, adapters), (SIZE, adapters)])}
    assert "4090" in alone and "4090" not in both and both < alone


def test_the_cost_is_hours_at_the_gpus_own_peak_times_its_price() -> None:
    found = cheapest_machine(GPU, [(SIZE, stage(peft="lora"))], 1e21)
    assert found is not None
    gpu = next(gpu for gpu in GPUS if gpu.name == found["gpu"])
    hours = 1e21 / (PEAK_TFLOPS[gpu.name] * 1e12 * GPU.expected_mfu) / 3600
    assert (found["gpus"], found["usd"]) == (1, pytest.approx(hours * gpu.usd_per_hour))
    assert f"${found['usd']:,.0f}" in machine_text(found) and gpu.date in machine_text(found)


def test_a_model_that_fits_nothing_has_no_machine() -> None:
    huge = replace(SIZE, hidden=16384, intermediate=53248, layers=126, heads=128)
    found = cheapest_machine(GPU, [(huge, stage())], 1e21)
    assert found is None and "none with up to 8 GPUs of 180 GB" in machine_text(found)
