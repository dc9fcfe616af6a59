"""Loss and gradients of any family are those of plain transformers code; caching and packing do not change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.core.content import FileState
from sg.core.errors import ConfigError, ModelError
from sg.core.identity import identity
from sg.models.hf.features import flattened, restored
from sg.models.hf.sizes import TYPICAL_FRAME, model_size
from sg.models.hf.student import HfStudent
from sg.models.hf.wording import WordedDialog
from sg.models.student import (
    CONNECTOR,
    LANGUAGE_MODEL,
    PARTS,
    STUDENTS,
    TEXT,
    VISION,
    TrainingSample,
    part_of,
)
from sg.models.students.hf import HfConfig
from tests.models.hf.families import FAMILIES
from tests.models.hf.more_families import EVERY_FAMILY
from tests.models.hf.samples import LONG, dialog_of, plain_loss, samples_of, student_of, with_features

NOT_PACKED = ("qwen3_5", "gemma4", "gemma4_unified")
"""Families with recurrent layers, or with attention in windows."""
TOLERANCE = 1e-5
"""In float32. Measured on seven families: below 1e-6 for losses of about 6.5, below 5e-7 for gradients up to 1.1."""


def gradients(student: HfStudent) -> dict[str, Tensor]:
    return {name: value.grad for name, value in student.module.named_parameters() if value.grad is not None}


def loss_of(student: HfStudent, samples: Sequence[TrainingSample], packed: bool) -> float:
    student.module.zero_grad()
    loss, supervised = student.loss(student.processor.collate(samples, LONG), packed)
    loss.backward()
    assert int(supervised) == sum(label != -100 for sample in samples for label in sample.dialog.labels)
    return loss.item()


def assert_equal_gradients(student: HfStudent, expected: dict[str, Tensor]) -> None:
    found = gradients(student)
    for name, value in found.items():
        # The scores of Molmo 2's pooling are far apart in a random model: their gradients are noise of float32, up to
        # 2e-5 (1e-17 in float64).
        tolerance = 3e-5 if "image_pooling_2d" in name else TOLERANCE
        torch.testing.assert_close(value, expected.get(name, torch.zeros_like(value)), rtol=0, atol=tolerance)
    assert found.keys() >= expected.keys()


@pytest.mark.parametrize("name", EVERY_FAMILY)
def test_loss_and_gradients_are_those_of_transformers_alone(name: str) -> None:
    student = student_of(name)
    student.module.train()
    samples = samples_of(student)
    plain = plain_loss(student, samples)
    plain.backward()
    expected = {key: value.clone() for key, value in gradients(student).items()}

    assert loss_of(student, samples, packed=False) == pytest.approx(plain.item(), abs=TOLERANCE)
    assert_equal_gradients(student, expected)
    ways = [False, True]
    if name in NOT_PACKED:
        with pytest.raises(ConfigError, match=r"trainer\.packed=false"):
            student.prepare_training(packed=True)
        ways = [False]
    else:
        student.prepare_training(packed=True)
        assert loss_of(student, samples, packed=True) == pytest.approx(plain.item(), abs=TOLERANCE)
        assert_equal_gradients(student, expected)

    levels = [("tower", (CONNECTOR, LANGUAGE_MODEL)), ("connector", (LANGUAGE_MODEL,))]
    if not student.parts[VISION]:
        with pytest.raises(ModelError, match="no output that the connector reads"):
            with_features(student, samples, levels.pop(0)[0])
    for level, learnt in levels:
        for key, value in student.module.named_parameters():
            value.requires_grad_(part_of(student.parts, key) in learnt)
        expected = {key: value for key, value in expected.items() if part_of(student.parts, key) in learnt}
        cached = with_features(student, samples, level)
        for packed in ways:
            assert loss_of(student, cached, packed) == pytest.approx(plain.item(), abs=TOLERANCE)
            assert_equal_gradients(student, expected)


@pytest.mark.parametrize("name", ["qwen3_vl", "internvl"])
def test_a_tower_whose_output_is_cached_is_not_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of(name)
    samples = samples_of(student)
    expected = loss_of(student, samples, packed=False)
    cached = with_features(student, samples, "tower")
    layer = next(block for block in student.blocks if part_of(student.parts, block) == VISION)
    monkeypatch.setattr(type(student.module.get_submodule(layer)), "forward", None)
    with pytest.raises(TypeError):
        loss_of(student, samples, packed=False)
    assert loss_of(student, cached, packed=False) == pytest.approx(expected, abs=TOLERANCE)
    monkeypatch.undo()
    student.__dict__.pop("_towers")
    with torch.inference_mode():  # as questions are answered
        assert student._tower(is_image=True)


def test_a_tower_that_cannot_be_separated_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of("internvl")
    model, own = student.module.base_model, student.module.base_model.get_image_features

    def with_pixels(pixel_values: Tensor, **more: object) -> object:  # past the tower
        output = own(pixel_values, **more)
        output.pooler_output = output.pooler_output + pixel_values.mean()
        return output

    with_pixels.__signature__ = signature(own)  # type: ignore[attr-defined]
    monkeypatch.setattr(model, "get_image_features", with_pixels)
    with pytest.raises(ModelError, match=r"depend on the pixels beside the tower\)\."):
        with_features(student, samples_of(student)[3:], "tower")


def test_features_of_a_trained_connector_are_computed_with_it(tmp_path: Path) -> None:
    config = HfConfig(name="x", checkpoint=str(FAMILIES["internvl"].save(tmp_path)))
    kind = STUDENTS.of(config)
    kept = [kind.cache(config, trained) for trained in ((), (CONNECTOR, LANGUAGE_MODEL), (VISION,))]
    assert [one and one.level for one in kept] == ["connector", "tower", None]
    stage = kind.cache(config, (), str(tmp_path))
    assert stage is not None and stage.checkpoint == str(tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_weight_belongs_to_a_part_and_every_part_has_weights(name: str) -> None:
    student = student_of(name)
    found = {part_of(student.parts, key) for key, _ in student.module.named_parameters()}
    assert found == set(PARTS)
    assert part_of(student.parts, "lm_head.weight") == LANGUAGE_MODEL
    for block in student.blocks:
        assert list(student.module.get_submodule(block).parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_that_do_not_fit_change_nothing(name: str) -> None:
    student = student_of(name)
    whole = samples_of(student)[0]
    text = TrainingSample(student.processor.encode(dialog_of(("Hello?", "Hi.")), None, LONG), None)
    assert isinstance(whole.dialog, WordedDialog)
    cut = whole.dialog.clip_end - 1  # inside the clip
    alone = student.loss(student.processor.collate([text], LONG))[0]
    both, supervised = student.loss(student.processor.collate([whole, text], cut))
    torch.testing.assert_close(both, alone, rtol=0, atol=TOLERANCE)
    assert int(supervised) > 0
    nothing, none = student.loss(student.processor.collate([whole], cut))
    assert nothing.item() == 0 and int(none) == 0
    nothing.backward()


def test_trained_parts_have_gradients_in_a_batch_of_text() -> None:
    student = student_of("qwen3_vl")
    loss_of(student, samples_of(student)[1:2], packed=False)
    assert all(value.grad is not None for value in student.module.parameters())


def test_a_batch_is_measured() -> None:
    student = student_of("qwen3_vl")
    samples = samples_of(student)
    size = student.measure(student.processor.collate(samples, LONG))
    assert size.positions == [len(sample.dialog.input_ids) for sample in samples]
    assert size.frames == 6 + 4 + 1
    rows = [len(next(iter(sample.clip.tensors.values()))) for sample in with_features(student, samples) if sample.clip]
    assert size.visual_tokens == sum(rows)
    assert student.measure(student.processor.collate(with_features(student, samples), LONG)).frames == 0


def test_all_that_enters_the_language_model_is_cached() -> None:
    student = student_of("qwen3_vl")
    widths = student.feature_widths("connector")
    assert len(widths) == 3 and set(widths.values()) == {32}  # tokens and two levels of the deep stack
    features = with_features(student, samples_of(student))[0]
    assert features.clip is not None and {len(value) for value in features.clip.tensors.values()} == {12}


def test_parts_of_a_clip_are_one_feature_and_levels_several() -> None:
    parts = torch.arange(12.0).reshape(6, 2).split([2, 4])
    flat = flattened({"video": {"pooler_output": parts, "deepstack_features": [parts, parts]}}, "model")
    names = ["video.pooler_output.0", "video.deepstack_features.0.0", "video.deepstack_features.1.0"]
    assert list(flat) == names and all(torch.equal(value, torch.cat(parts)) for value in flat.values())
    again = restored(flat, torch.device("cpu"), torch.float32)["video"]
    assert torch.equal(torch.cat(again.pooler_output), torch.cat(parts))
    assert [torch.equal(torch.cat(level), torch.cat(parts)) for level in again.deepstack_features] == [True, True]


@pytest.mark.parametrize("name", EVERY_FAMILY)
def test_features_of_images_and_videos_are_in_one_store(name: str, tmp_path: Path) -> None:
    student = student_of(name)
    samples = samples_of(student)
    expected = student.loss(student.processor.collate(samples, LONG))[0]
    widths = student.feature_widths("connector")
    store = VisualTokenStore.create(tmp_path, identity("features", settings={}, version=1), widths, "float32")
    clips = [sample.clip for sample in samples if sample.clip]
    assert {clip.facts.is_image for clip in clips} == {True, False}
    with store.writer() as writer:
        for clip in student.features(clips, "connector"):
            writer.add(clip, FileState(clip.key, clip.key))
    cached = [TrainingSample(sample.dialog, store[sample.clip.key] if sample.clip else None) for sample in samples]
    again = student_of(name)  # the process that trains has computed no feature
    again.prepare_training(packed=False)
    assert again.loss(again.processor.collate(cached, LONG))[0].item() == pytest.approx(expected.item(), abs=TOLERANCE)


@pytest.mark.parametrize("name", EVERY_FAMILY)
def test_plans_count_the_tokens_of_samples(name: str) -> None:
    student = student_of(name)
    size = model_size(student.module.config, name, "float32", "float32", student.processor.clips)
    for count, fps, frame in [
        *((count, float(count > 1), TYPICAL_FRAME) for count in (1, 2, 3, 4)),
        (1, 1.0, (96, 32)),
    ]:
        facts = ClipFacts(tuple(range(count)), fps, count, *frame)
        frames = np.random.default_rng(0).integers(0, 256, (count, *frame[::-1], 3), dtype=np.uint8)
        tensors = student.processor.pixels(frames, facts)
        text = bytes(tensors.pop(TEXT, torch.tensor([])).tolist()).decode()
        clip = ClipTensors("clip", replace(facts, text=text), tensors, False)
        encoded = student.processor.encode(dialog_of(("<video>\nx", "y")), clip.facts, LONG)
        measured = student.measure(student.processor.collate([TrainingSample(encoded, clip)], LONG))
        assert measured.visual_tokens == size.visual_tokens(count, clip.facts)
        assert measured.visual_tokens == size.visual_tokens(count) or frame != TYPICAL_FRAME
        assert measured.visual_tokens == len(student.features([clip])[0].tensors["features.0"])
    assert size.visual_tokens(0) == 0


def test_a_model_whose_attention_does_more_than_the_packed_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of("internvl")
    config = student.language.decoder.config
    sdpa = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def with_sinks(module: nn.Module, query: Tensor, *more: object, **others: object) -> object:
        values, weights = sdpa(module, query, *more, **others)
        return 0.5 * values, weights  # as where a sink takes half of the attention

    AttentionInterface.register("with_sinks", with_sinks)
    AttentionMaskInterface.register("with_sinks", sdpa_mask)
    monkeypatch.setattr(config, "_attn_implementation_internal", "with_sinks")
    with pytest.raises(ConfigError, match=r"trainer\.packed=false"):
        student.prepare_training(packed=True)
    assert config._attn_implementation == "with_sinks"


def test_a_model_whose_layers_choose_positions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of("llava_onevision")  # the choice has no effect in short texts
    monkeypatch.setattr(student.language.decoder.config, "layer_types", ["full_attention", "indexed_attention"] * 2)
    with pytest.raises(ConfigError, match=r"trainer\.packed=false"):
        student.prepare_training(packed=True)


def test_a_model_that_mixes_packed_samples_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of("llava_onevision")
    own = student.language.decoder.forward

    def leaky(**arguments: Tensor) -> object:  # each position also sees the one before
        embeds = arguments["inputs_embeds"]
        return own(**{**arguments, "inputs_embeds": embeds + embeds.roll(1, dims=1)})

    monkeypatch.setattr(student.language.decoder, "forward", leaky)
    with pytest.raises(ConfigError, match=r"trainer\.packed=false"):
        student.prepare_training(packed=True)
    assert student.language.decoder.config._attn_implementation == "sdpa"
