"""Both towers give the numbers of the published code in each layer."""

import pytest
import torch
from torch import nn

from sg.models.internvideo2.checkpoint import PUBLISHED
from sg.models.internvideo2.tower import InternVideo2, TowerSizes, VisionTower
from tests.models.internvideo2 import goldens
from tests.models.internvideo2.goldens import close, pixels

GELUS = pytest.mark.parametrize("gelu", ["erf", "tanh"])
KINDS = pytest.mark.parametrize("kind", ["video", "image"])


@GELUS
@KINDS
def test_a_stage_2_tower_gives_the_golden_vectors(gelu: str, kind: str) -> None:
    io, model = goldens.load("stage2_tiny_io.safetensors"), goldens.stage2_model(gelu)
    x = pixels(io, kind)
    close(model.vision_encoder.embed_patches(x), io[f"{kind}.tokens_in"])
    tokens = model.vision_encoder(x)
    if gelu == "erf":  # the goldens' layers are those of the erf model
        close(tokens, io[f"{kind}.last_hidden"])
    pooled = model.vision_encoder.clip_projector(tokens)
    close(pooled, io[f"{kind}.{gelu}.pooled"])
    close(model.project(pooled), io[f"{kind}.{gelu}.proj"])
    close(model(x), io[f"{kind}.{gelu}.embedding"])


@GELUS
@KINDS
def test_a_clip_tower_with_its_head_gives_the_golden_vectors(gelu: str, kind: str) -> None:
    io, model = goldens.load("clip_small_tiny_io.safetensors"), goldens.clip_model(gelu)
    x = pixels(io, kind)
    pooled = model.vision_encoder.clip_projector(model.vision_encoder(x))
    close(pooled, io[f"{kind}.{gelu}.pooled"])
    close(model.project(pooled), io[f"{kind}.{gelu}.aligned"])
    close(model(x), io[f"{kind}.{gelu}.embedding"])


def test_the_parts_of_a_block_give_the_golden_values() -> None:
    io, model = goldens.load("stage2_tiny_io.safetensors"), goldens.stage2_model("erf")
    tower = model.vision_encoder
    seen: dict[str, torch.Tensor] = {}
    block = tower.blocks[0]
    watched = {
        "patch_embed_out": tower.patch_embed,
        "block0_norm1_out": block.norm1,
        "block0_qnorm_out": block.attn.q_norm,
        "block0_knorm_out": block.attn.k_norm,
        "block0_attn_out": block.attn,
        "block0_mlp_out": block.mlp,
        **{f"block{number}_out": tower.blocks[number] for number in range(3)},
    }
    for name, module in watched.items():
        _watch(module, name, seen)

    model(pixels(io, "video"))

    for name in watched:
        close(seen[name].reshape(io[f"video.{name}"].shape), io[f"video.{name}"], atol=1e-5)


def _watch(module: nn.Module, name: str, seen: dict[str, torch.Tensor]) -> None:
    def keep(_: nn.Module, __: object, output: torch.Tensor) -> None:
        seen[name] = output

    module.register_forward_hook(keep)


@KINDS
def test_in_bfloat16_the_vectors_stay_within_a_hundredth(kind: str) -> None:
    io, model = goldens.load("stage2_tiny_io.safetensors"), goldens.stage2_model("erf").bfloat16()
    vectors = model(pixels(io, kind).bfloat16())
    assert vectors.dtype == torch.float32
    close(vectors, io[f"{kind}.erf_bf16.embedding"], atol=1e-2)


@pytest.mark.parametrize(("output", "dim"), [("embedding", 16), ("pooled", 32), ("patches", 48)])
def test_every_kind_of_output_is_of_unit_length(output: str, dim: int) -> None:
    model: InternVideo2 = goldens.stage2_model()
    vectors = model(pixels(goldens.load("stage2_tiny_io.safetensors"), "video"), output)
    assert vectors.shape == (2, dim) == (2, model.dim(output))
    close(vectors.norm(dim=-1), torch.ones(2))


@pytest.mark.parametrize(("frames", "height", "width"), [(8, 56, 56), (2, 84, 56), (6, 28, 70)])
def test_videos_with_other_numbers_of_frames_and_sizes_are_embedded(frames: int, height: int, width: int) -> None:
    vectors = goldens.stage2_model()(
        torch.randn(1, frames, 3, height, width, generator=torch.Generator().manual_seed(0))
    )
    assert vectors.shape == (1, 16)
    assert vectors.isfinite().all()


@pytest.mark.parametrize(
    ("width", "millions"), [(384, 23.0), (768, 89.4), (1024, 308.9), (1408, 1020.7), (3200, 5941.7)]
)
def test_towers_of_the_published_sizes_have_the_published_numbers_of_parameters(width: int, millions: float) -> None:
    depth, num_heads = PUBLISHED[width]
    hidden = int(width * 48 / 11) if width == 1408 else 4 * width
    sizes = TowerSizes(width, depth, num_heads, hidden, 14, 1, 8, 16, 16, 768, has_image_table=False)
    with torch.device("meta"):
        tower = VisionTower(sizes, "tanh", scale_in_float32=False)
    assert sum(parameter.numel() for parameter in tower.parameters()) / 1e6 == pytest.approx(millions, abs=0.051)
