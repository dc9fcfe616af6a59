"""Published models as embedders: tiny random ones of every family, saved as their publishers save them."""

from dataclasses import field, make_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sg.core.errors import ConfigError, MissingInputError, ModelError
from sg.core.identity import NOT_IDENTITY, identity
from sg.embed.embedders.demo import DemoEmbedderConfig
from sg.embed.embedders.internvideo2 import InternVideo2Config
from sg.embed.embedders.transformers import TransformersEmbedderConfig
from sg.embed.registry import embedding_identity
from sg.embed.settings import EmbedderConfig
from tests.embed.builders import loaded
from tests.models.internvideo2 import goldens

SIDES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
IMAGENET = {"pixel_mean": [0.485, 0.456, 0.406], "pixel_std": [0.229, 0.224, 0.225]}


def tiny_clip() -> Any:
    from transformers import CLIPConfig, CLIPModel

    text = SIDES | {"vocab_size": 50, "projection_dim": 12}
    return CLIPModel(
        CLIPConfig(text_config=text, vision_config=SIDES | {"image_size": 32, "patch_size": 16}, projection_dim=12)
    )


def tiny_siglip() -> Any:
    from transformers import SiglipConfig, SiglipModel

    text = SIDES | {"vocab_size": 50, "projection_size": 16}
    return SiglipModel(SiglipConfig(text_config=text, vision_config=SIDES | {"image_size": 32, "patch_size": 16}))


def tiny_siglip2() -> Any:
    from transformers import Siglip2Config, Siglip2Model

    text = SIDES | {"vocab_size": 50, "projection_size": 16}
    return Siglip2Model(Siglip2Config(text_config=text, vision_config=SIDES | {"patch_size": 16, "num_patches": 16}))


def tiny_videoprism() -> Any:
    from transformers import VideoPrismClipModel, VideoPrismConfig

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    vision = {"num_spatial_layers": 1, "num_temporal_layers": 1, "num_auxiliary_layers": 1, "num_frames": 4}
    vision |= {"image_size": 36, "tubelet_size": [1, 18, 18]}
    text = {"vocab_size": 50, "num_hidden_layers": 1}
    return VideoPrismClipModel(VideoPrismConfig(vision_config=sizes | vision, text_config=sizes | text))


def tiny_vjepa2() -> Any:
    from transformers import VJEPA2Config, VJEPA2Model

    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_ratio": 2.0}
    predictor = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    return VJEPA2Model(VJEPA2Config(**sizes, **predictor, crop_size=32, patch_size=16, frames_per_clip=4))


MODELS = {
    "clip": (tiny_clip, "clip", 32, 12),
    "siglip 2 of one size": (tiny_siglip, "siglip2", 32, 16),
    "siglip 2 of any size": (tiny_siglip2, "siglip2", 48, 16),
    "videoprism": (tiny_videoprism, "videoprism", 36, 16),
    "vjepa2": (tiny_vjepa2, "vjepa2", 32, 24),
}


def saved(build: Any, folder: Path) -> Path:
    torch.manual_seed(0)
    build().save_pretrained(folder)
    return folder


def settings(family: str, folder: Path, size: int, **values: Any) -> TransformersEmbedderConfig:
    sizes = {"num_frames": 4, "image_size": size, "device": "cpu"}
    return TransformersEmbedderConfig(
        **({"name": family, "family": family, "checkpoint": str(folder)} | sizes | values)
    )


def videos(size: int, count: int = 3, frames: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, frames, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(("build", "family", "size", "dim"), MODELS.values(), ids=MODELS.keys())
def test_every_family_gives_unit_vectors_that_depend_on_the_video_alone(
    build: Any, family: str, size: int, dim: int, tmp_path: Path
) -> None:
    config = settings(family, saved(build, tmp_path), size)
    embedder = loaded(config)
    vectors = embedder.embed(videos(size))
    assert (embedder.dim, vectors.shape, vectors.dtype) == (dim, (3, dim), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(videos(size)[1:2])[0], vectors[1], atol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4
    work = embedding_identity(config)
    assert work.inputs["model"].items() >= {"model": family, "dtype": "float32"}.items()
    assert work.settings["num_frames"] == 4


@pytest.mark.parametrize(("build", "family", "size"), [(tiny_clip, "clip", 32), (tiny_siglip2, "siglip2", 48)])
def test_vectors_of_frames_are_the_models_own_averaged(build: Any, family: str, size: int, tmp_path: Path) -> None:
    config = settings(family, saved(build, tmp_path), size, **IMAGENET)
    frames = videos(size, 1)
    pixels = torch.from_numpy(frames[0]).movedim(-1, 1) / 255
    mean, std = (torch.tensor(IMAGENET[key]).view(3, 1, 1) for key in ("pixel_mean", "pixel_std"))
    pixels = (pixels - mean) / std
    with torch.inference_mode():
        if family == "clip":
            from transformers import CLIPModel

            output = CLIPModel.from_pretrained(tmp_path).get_image_features(pixel_values=pixels)
        else:
            from transformers import Siglip2Model

            cells = [(row, column) for row in (0, 16, 32) for column in (0, 16, 32)]
            patches = torch.stack([pixels[:, :, r : r + 16, c : c + 16].movedim(1, -1).flatten(1) for r, c in cells], 1)
            whole = {"pixel_attention_mask": torch.ones(4, 9), "spatial_shapes": torch.tensor([[3, 3]] * 4)}
            output = Siglip2Model.from_pretrained(tmp_path).get_image_features(pixel_values=patches, **whole)
        features = torch.nn.functional.normalize(getattr(output, "pooler_output", output), dim=-1)
        wanted = torch.nn.functional.normalize(features.mean(0), dim=-1).numpy()
    np.testing.assert_allclose(loaded(config).embed(frames)[0], wanted, atol=1e-5)


def test_what_does_not_fit_the_model_is_told(tmp_path: Path) -> None:
    clip, jepa = saved(tiny_clip, tmp_path / "clip"), saved(tiny_vjepa2, tmp_path / "jepa")
    prism = saved(tiny_videoprism, tmp_path / "prism")
    for config, sentence in (
        (settings("clip", clip, 48), "takes 32 pixels a side"),
        (settings("siglip2", clip, 32), r"type 'clip', but embedder\.family=siglip2"),
        (settings("videoprism", prism, 36, num_frames=8), "takes 4 frames"),
    ):
        with pytest.raises(ModelError, match=sentence):
            loaded(config)
    with pytest.raises(ConfigError, match="not a multiple of the model's 2 frames"):
        loaded(settings("vjepa2", jepa, 32, num_frames=3))
    with pytest.raises(MissingInputError, match=r"embedder\.checkpoint=.*not a folder on this machine"):
        loaded(settings("clip", tmp_path / "none", 32))
    state = load_file(clip / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, clip / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights, first visual_projection\.weight"):
        loaded(settings("clip", clip, 32))


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    tower = InternVideo2Config(name="x", weights="OpenGVLab/InternVideo2-Stage2_1B-224p-f4/none.pt")
    with pytest.raises(
        MissingInputError, match=r"embedder\.weights=OpenGVLab/.* could not be obtained: .*give its path"
    ):
        embedding_identity(tower)
    with pytest.raises(MissingInputError, match=r"embedder\.checkpoint=openai/none could not be obtained"):
        embedding_identity(settings("clip", Path("openai/none"), 32))
    with pytest.raises(MissingInputError, match=r"embedder\.head=none\.bin is not a file"):
        embedding_identity(internvideo2(head="none.bin"))


def internvideo2(**values: Any) -> InternVideo2Config:
    sizes = {"num_frames": 4, "image_size": 56, "num_heads": 4, "pool_heads": 4, "device": "cpu"}
    return InternVideo2Config(**({"name": "tiny", "weights": str(goldens.STAGE2)} | sizes | values))


def test_internvideo2_gives_the_golden_vectors_from_uint8_frames() -> None:
    io = goldens.load("stage2_tiny_io.safetensors")
    frames = io["video.input_uint8"].movedim(2, -1).contiguous().numpy()
    for gelu in ("erf", "tanh"):
        embedder = loaded(internvideo2(gelu=gelu))
        np.testing.assert_allclose(embedder.embed(frames), io[f"video.{gelu}.embedding"].numpy(), atol=3e-6)
    clip = internvideo2(
        weights=str(goldens.CLIP_TOWER),
        head=str(goldens.CLIP_HEAD),
        projection="vision_align",
        num_heads=2,
        num_frames=8,
    )
    io = goldens.load("clip_small_tiny_io.safetensors")
    frames = io["video.input_uint8"].movedim(2, -1).contiguous().numpy()
    np.testing.assert_allclose(loaded(clip).embed(frames), io["video.tanh.embedding"].numpy(), atol=3e-6)


def test_every_setting_that_decides_the_vectors_is_in_the_identity(tmp_path: Path) -> None:
    other, copy = tmp_path / "other.safetensors", tmp_path / "copy.safetensors"
    save_file(load_file(goldens.STAGE2) | {"temp": torch.tensor(0.5)}, other)
    copy.write_bytes(goldens.STAGE2.read_bytes())
    first = internvideo2()
    unchanged = {
        "batch_size": 5, "workers": 3, "timeout_s": 9.0, "rows_per_part": 7, "name": "x", "replace": True,
        "weights": str(copy), "reader": "pyav", "dtype": "float32",
    }  # fmt: skip
    assert all(named(replace(first, **{key: value})) == named(first) for key, value in unchanged.items())
    changed = {
        "weights": str(other), "projection": "none", "output": "pooled", "gelu": "erf", "dtype": "bfloat16",
        "num_frames": 8, "image_size": 28, "antialias": False, "reader": "decord", "pool_heads": 8, "depth": 2,
    }  # fmt: skip
    names = [named(first), *(named(replace(first, **{key: value})) for key, value in changed.items())]
    assert len(set(names)) == len(names)


def named(config: EmbedderConfig) -> str:
    return embedding_identity(config).name


@pytest.mark.parametrize("kind", [DemoEmbedderConfig, InternVideo2Config, TransformersEmbedderConfig])
def test_a_new_setting_changes_the_identity_unless_it_is_marked(kind: type) -> None:
    needed = {"name": "x", "family": "clip"} if kind is TransformersEmbedderConfig else {"name": "x"}
    for metadata, num_names in ({}, 2), (NOT_IDENTITY, 1):
        extended = make_dataclass("Extended", [("new", int, field(default=0, metadata=metadata))], bases=(kind,))
        names = {identity("embedding", settings=extended(**needed, new=new), version=1).name for new in (0, 1)}
        assert len(names) == num_names


def test_impossible_settings_are_refused() -> None:
    for wrong in ({"projection": "x"}, {"output": "x"}, {"gelu": "relu"}, {"dtype": "int8"}, {"num_heads": 0}):
        with pytest.raises(ConfigError, match=rf"embedder\.{next(iter(wrong))}"):
            internvideo2(**wrong)
    with pytest.raises(ConfigError, match=r"embedder\.family"):
        settings("dino", Path(), 32)
    with pytest.raises(ConfigError, match="pixel_std"):
        settings("clip", Path(), 32, pixel_std=[1.0, 0.0, 1.0])
    with pytest.raises(ConfigError, match=r"image_size=60 .*patches of 14"):
        loaded(internvideo2(image_size=60))
    with pytest.raises(ConfigError, match="device"):
        loaded(internvideo2(device="warp"))
