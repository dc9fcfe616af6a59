"""Operations compared with counts by hand, and the speeds in the log."""

from pathlib import Path

import pytest
import torch

from sg.models.chat_univi.abstractor import MergeSettings
from sg.models.chat_univi.collate import Sample, collate
from sg.models.chat_univi.sizes import composite_size
from sg.models.chat_univi.student import ChatUniViStudent
from sg.train.callbacks import LossCurve, Work
from sg.train.config import LoraConfig, StageConfig
from sg.train.flops import device_peak_tflops, training_flops
from sg.train.stage import train_stage
from sg.train.workload import workload
from tests.train.builders import RandomClips, encoder, inputs, stage_job, tiny_model, tiny_student, trainer_config

TEXT = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 50}  # fmt: skip
TOWER = {"hidden_size": 6, "intermediate_size": 10, "num_hidden_layers": 4, "image_size": 8, "patch_size": 4}
SIZE = composite_size(TEXT, TOWER, MergeSettings())
PER_LAYER = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 12  # queries, keys and values of two heads of width 2, output, MLP


def stage(**settings: object) -> StageConfig:
    values = {"name": "caption", "trains": ["connector", "language_model"]} | settings
    return StageConfig(**values)  # type: ignore[arg-type]


def test_weights_are_counted() -> None:
    assert SIZE.linear_weights == 3 * PER_LAYER
    assert SIZE.language_model_weights == 3 * PER_LAYER + 7 * 8 + 2 * 50 * 8
    assert SIZE.connector_weights == 6 * 8 + 8
    assert SIZE.adapter_weights(2) == 3 * 2 * (16 + 12 + 12 + 16 + 20 + 20 + 20)


def test_the_7b_model_has_its_published_sizes() -> None:
    from sg.models.chat_univi.config import CLIP_VIT_L_14_336, VICUNA_7B_V15

    size = composite_size(VICUNA_7B_V15, CLIP_VIT_L_14_336, MergeSettings())
    assert size.language_model_weights == 6_738_415_616
    assert size.connector_weights == 4_198_400
    assert size.tower_flops(1) == pytest.approx(0.38e12, rel=0.05)  # docs/reference/chat_univi.md, section 15
    assert 2 * (size.linear_weights + size.hidden * size.vocabulary) == pytest.approx(13e9, rel=0.03)


def test_the_number_of_weights_is_that_of_the_model() -> None:
    model = tiny_model()
    size = composite_size(model.config.text_config.to_dict(), model.config.vision_config.to_dict(), model.merging)
    language_model = [*model.model.parameters(), *model.lm_head.parameters()]
    assert size.language_model_weights == sum(value.numel() for value in language_model)
    assert size.connector_weights == sum(value.numel() for value in model.mm_projector.parameters())


def test_operations_of_a_step_are_those_counted_by_hand() -> None:
    positions, supervised, visual = [5, 7], 4, 3
    linear = 2 * 3 * PER_LAYER * 12 + 2 * 8 * 50 * 4
    attention = 2 * 3 * 8 * (25 + 49)
    connector = 2 * 6 * 8 * 3
    whole = training_flops(SIZE, stage(), positions, supervised, visual)
    assert whole == 3 * linear + 3 * attention + 2 * connector
    align = training_flops(SIZE, stage(trains=["connector"]), positions, supervised, visual)
    assert align == 2 * linear + 3 * attention + 2 * connector
    lora = training_flops(SIZE, stage(peft="lora", lora=LoraConfig(rank=2)), positions, supervised, visual)
    assert lora == 2 * linear + 3 * attention + 2 * connector + 6 * SIZE.adapter_weights(2) * 12


def test_the_tower_is_counted_up_to_the_layer_that_is_read() -> None:
    per_layer = 2 * 5 * (4 * 36 + 2 * 60) + 4 * 6 * 25  # four patches and the class token
    assert SIZE.tower_flops(2) == 2 * 3 * per_layer


def test_a_batch_s_work_is_its_samples_text_ids_and_visual_tokens() -> None:
    model = tiny_model()
    turns = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "red"}]
    dialog = encoder().encode_dialog(turns, 20)
    text = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "a red ball"}]
    plain = encoder().encode_dialog(text)
    cached = collate([Sample(dialog, [torch.zeros(42, 32)], True), Sample(plain)])
    decoded = collate([Sample(dialog, [torch.zeros(20, 3, 64, 64)]), Sample(plain)])
    measure = workload(ChatUniViStudent(model), stage())
    with_text = len(dialog.input_ids) - 20 + len(plain.input_ids)
    assert (measure(cached).samples, measure(cached).tokens) == (2, with_text + 42)
    size = composite_size(model.config.text_config.to_dict(), model.config.vision_config.to_dict(), model.merging)
    assert measure(decoded).flops - measure(cached).flops == pytest.approx(size.tower_flops(20))


def test_the_log_has_speed_tokens_and_mfu(tmp_path: Path) -> None:
    logged: list[dict[str, float]] = []
    job = stage_job(tmp_path / "stage", count=52)
    train_stage(
        job,
        tiny_student,
        inputs(),
        RandomClips(),
        trainer_config(peak_tflops=1.0),
        lambda new: logged.append(dict(new)),
    )
    assert len(logged) == 2
    for values in logged:
        assert {"speed/samples_per_s", "speed/tokens_per_s", "speed/mfu", "train/caption/tokens"} <= values.keys()
        assert values["speed/mfu"] == pytest.approx(values["speed/tflops_per_s"])  # a peak of 1 TFLOP/s
        assert 0 < values["speed/mfu"] < 1
    assert logged[-1]["train/caption/samples"] == 52


def test_without_a_known_peak_there_is_no_mfu() -> None:
    assert device_peak_tflops("cpu", None) is None
    assert device_peak_tflops("cpu", 2.5) == 2.5
    curve = LossCurve(Path("x"), "caption", lambda new: reported.update(new), lambda batch: Work())
    reported: dict[str, float] = {}
    curve.done = Work(8, 100, 1e12, 2.0)
    curve._report(1.0, 1e-3)
    assert reported["speed/tokens_per_s"] == 50
    assert "speed/mfu" not in reported
