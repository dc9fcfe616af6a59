from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM, SiglipVisionConfig

from sg.core.errors import ConfigError, MissingInputError, ModelError
from sg.core.identity import differences
from sg.models.chat_univi.build import build_inputs, build_model
from sg.models.chat_univi.identity import base_model_identity, checkpoint_identity, visual_token_identity
from sg.models.chat_univi.processor import ChatUniViProcessor
from sg.models.chat_univi.settings import ModelConfig
from tests.models.chat_univi.goldens import GOLDENS

TEXT = {"vocab_size": 700, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}


def parts(folder: Path, tied: bool = True) -> ModelConfig:
    """A language model with its tokenizer, and a tower, as folders."""
    text = LlamaConfig(**TEXT, tie_word_embeddings=tied, pad_token_id=0)
    LlamaForCausalLM(text).save_pretrained(folder / "lm")
    shutil.copy(GOLDENS / "text" / "tokenizer" / "tokenizer.model", folder / "lm")
    CLIPVisionModel(CLIPVisionConfig(**VISION, image_size=64, patch_size=16)).save_pretrained(folder / "tower")
    return ModelConfig(
        name="test", language_model=str(folder / "lm"), vision_tower=str(folder / "tower"), spatial_clusters=[8, 4, 2],
        temporal_cluster_rate=1 / 8, system_prompt="",
    )  # fmt: skip


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_is_assembled_from_its_parts(tmp_path: Path, tied: bool) -> None:
    config = parts(tmp_path, tied)
    model = build_model(config, seed=3)
    lm = LlamaForCausalLM.from_pretrained(tmp_path / "lm")
    tower = CLIPVisionModel.from_pretrained(tmp_path / "tower")
    assert torch.equal(model.model.layers[1].mlp.up_proj.weight, lm.model.layers[1].mlp.up_proj.weight)
    assert torch.equal(model.lm_head.weight, lm.lm_head.weight)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert all(
        torch.equal(a, b) for a, b in zip(tower.parameters(), model.vision_tower.vision_tower.parameters(), strict=True)
    )
    assert not any(p.is_meta for p in [*model.parameters(), *model.buffers()])
    frames = torch.randn(9, 3, 64, 64)
    tokens = model.encode_video(frames, noise_seed=5)
    assert tokens.shape == (28, 48)
    expected = tower(frames, output_hidden_states=True).hidden_states[-2][:, 1:]
    torch.testing.assert_close(model.vision_tower(frames), expected, atol=1e-5, rtol=1e-5)
    ids = model.generate(torch.tensor([[1, -200, 5]]), visual_tokens=tokens, visual_counts=[28], max_new_tokens=3)
    assert ids.shape[0] == 1 and ids.shape[1] <= 3


def test_the_projector_depends_on_the_seed_only(tmp_path: Path) -> None:
    config = parts(tmp_path)
    first = build_model(config, seed=3).mm_projector.weight
    torch.manual_seed(99)
    assert torch.equal(first, build_model(config, seed=3).mm_projector.weight)
    assert not torch.equal(first, build_model(config, seed=4).mm_projector.weight)


def test_a_saved_model_is_loaded_as_a_checkpoint(tmp_path: Path) -> None:
    config = parts(tmp_path)
    model = build_model(config)
    model.save_pretrained(tmp_path / "stage")
    whole = ModelConfig(
        name="again", checkpoint=str(tmp_path / "stage"), spatial_clusters=[8, 4, 2], temporal_cluster_rate=1 / 8
    )
    again = build_model(whole)
    assert again.merging == model.merging
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())


def test_encoder_and_processor_fit_the_model(tmp_path: Path) -> None:
    config = parts(tmp_path)
    inputs = build_inputs(config)
    encoder, processor = inputs.encoder, inputs.pictures
    assert encoder.decode(encoder.encode_prompt("Why?", 3)).endswith("ASSISTANT:")
    assert processor.size == 64 and processor.frames.max_frames == 64
    fewer = dataclasses.replace(config, max_frames=8, image_aspect_ratio="pad")
    processor = build_inputs(fewer).pictures
    assert (processor.frames.max_frames, processor.aspect) == (8, "pad")


def test_siglip_towers_get_their_own_pixel_scale() -> None:
    processor = ChatUniViProcessor.of_tower(SiglipVisionConfig(image_size=8))
    white = processor.pixel_values(np.full((8, 8, 3), 255, dtype=np.uint8))
    assert torch.equal(white, torch.ones(1, 3, 8, 8))


def test_a_checkpoint_with_other_merging_is_refused(tmp_path: Path) -> None:
    build_model(parts(tmp_path)).save_pretrained(tmp_path / "stage")
    with pytest.raises(ModelError, match=r"model.spatial_clusters=\[64, 32, 16\], but .* was made with \[8, 4, 2\]"):
        build_model(ModelConfig(name="again", checkpoint=str(tmp_path / "stage")))


def test_the_identity_of_a_model_depends_on_the_content_of_its_files_not_on_their_place(tmp_path: Path) -> None:
    config = parts(tmp_path / "a")
    before, tokens = base_model_identity(config), visual_token_identity(config)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    moved = dataclasses.replace(
        config, name="b", language_model=str(tmp_path / "b/lm"), vision_tower=str(tmp_path / "b/tower")
    )
    assert base_model_identity(moved) == before
    weights = tmp_path / "b" / "lm" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    changes = differences(before, base_model_identity(moved))
    assert [change.key for change in changes] == ["inputs.language_model"]
    assert visual_token_identity(moved) == tokens


def test_every_setting_of_a_model_counts_unless_its_field_is_marked() -> None:
    config = ModelConfig(name="x", language_model="owner/lm", vision_tower="owner/tower")
    values = {"chat_format": "chatml", "image_aspect_ratio": "pad", "dtype": "float16", "visual_token_dtype": "float32"}
    later = {"chat_format", "system_prompt", "language_model", "projector", "tokenizer"}
    for field in dataclasses.fields(ModelConfig):
        if field.name in ("name", "checkpoint"):
            continue
        old = getattr(config, field.name)
        new = [*old[:-1], 99] if isinstance(old, list) else old + 1 if isinstance(old, (int, float)) else "owner/other"
        changed = dataclasses.replace(config, **{field.name: values.get(field.name, new)})
        assert base_model_identity(changed) != base_model_identity(config), field.name
        assert (visual_token_identity(changed) == visual_token_identity(config)) == (field.name in later), field.name


def test_a_stage_checkpoint_is_named_by_its_weights_not_by_its_record(tmp_path: Path) -> None:
    config = parts(tmp_path)
    before = checkpoint_identity(config, config.language_model or "")
    (tmp_path / "lm" / "stage.json").write_text("{}")
    assert checkpoint_identity(config, config.language_model or "") == before
    fewer = dataclasses.replace(config, max_frames=8)
    assert checkpoint_identity(fewer, config.language_model or "") != before


def test_missing_parts_are_named(tmp_path: Path) -> None:
    config = parts(tmp_path)
    shutil.rmtree(tmp_path / "tower")
    with pytest.raises(MissingInputError, match=r"model\.vision_tower="):
        build_model(config)


def test_contradicting_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs language_model and vision_tower"):
        ModelConfig(name="x")
    with pytest.raises(ConfigError, match="is a whole model"):
        ModelConfig(name="x", checkpoint="a", vision_tower="b")
    with pytest.raises(ConfigError, match="three numbers"):
        ModelConfig(name="x", checkpoint="a", spatial_clusters=[64, 32])
    with pytest.raises(ConfigError, match="square, pad"):
        ModelConfig(name="x", checkpoint="a", image_aspect_ratio="wide")
