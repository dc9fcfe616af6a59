"""The vision tower, its attention pool, and the projection into the space that video and text share.

Parameter names are those of the published files. Shapes: B videos, T frames, N tokens (a class token, then the patches
of all frames in order), D width of the tower.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, normalize, scaled_dot_product_attention

from sg.models.internvideo2.positions import mean_over_time, resize_table


@dataclass(frozen=True, slots=True)
class TowerSizes:
    """The sizes of a tower, from its weights."""

    width: int
    depth: int
    num_heads: int
    mlp_hidden: int
    patch_size: int
    tubelet: int
    """Frames that one token covers."""
    num_frames: int
    """Frames of the trained position table, counted in tokens."""
    grid: int
    """Patches per side of the trained position table."""
    pool_heads: int
    pooled_dim: int
    has_image_table: bool
    """True when single images have their own position table (Stage 2)."""


class InternVideo2(nn.Module):
    """Computes vectors of videos: tower, attention pool, projection.

    Stage 2 (`vision_proj`) multiplies its layer scales in float32 and may have its own positions for single images. The
    CLIP models have neither. The results differ in 16-bit types and for single images.
    """

    def __init__(self, sizes: TowerSizes, projection: str, joint_dim: int, gelu: str) -> None:
        super().__init__()
        self.vision_encoder = VisionTower(sizes, gelu, scale_in_float32=projection == "vision_proj")
        self.projection = projection
        if projection == "vision_proj":
            self.vision_proj = nn.Linear(sizes.pooled_dim, joint_dim)
        elif projection == "vision_align":
            self.vision_align = nn.Sequential(nn.LayerNorm(sizes.pooled_dim), nn.Linear(sizes.pooled_dim, joint_dim))
        self.joint_dim = joint_dim if projection != "none" else sizes.pooled_dim

    def dim(self, output: str) -> int:
        """Length of the vectors of that `output`."""
        sizes = self.vision_encoder.sizes
        return {"embedding": self.joint_dim, "pooled": sizes.pooled_dim, "patches": sizes.width}[output]

    def forward(self, pixels: Tensor, output: str = "embedding") -> Tensor:
        """Vectors float32 [B, dim] of unit length for normalised frames [B, T, 3, H, W].

        `output` is `embedding` (the shared space), `pooled` (before the projection) or `patches` (mean of the patch
        tokens).
        """
        tokens = self.vision_encoder(pixels)
        if output == "patches":
            return normalize(tokens[:, 1:].float().mean(1), dim=-1)
        pooled = self.vision_encoder.clip_projector(tokens)
        return normalize((pooled if output == "pooled" else self.project(pooled)).float(), dim=-1)

    def project(self, pooled: Tensor) -> Tensor:
        """The pooled vectors [B, pooled_dim] projected to the shared space [B, joint_dim], not normalised."""
        if self.projection == "none":
            return pooled
        return cast(Tensor, (self.vision_proj if self.projection == "vision_proj" else self.vision_align)(pooled))


class VisionTower(nn.Module):
    """Computes tokens of frames: patches, positions, pre-norm transformer blocks, no final norm."""

    def __init__(self, sizes: TowerSizes, gelu: str, scale_in_float32: bool) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.patch_embed = PatchEmbedding(width, sizes.patch_size, sizes.tubelet)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + sizes.num_frames * sizes.grid**2, width))
        if sizes.has_image_table:
            self.img_pos_embed = nn.Parameter(torch.empty(1, 1 + sizes.grid**2, width))
        self.blocks = nn.ModuleList([Block(sizes, gelu, scale_in_float32) for _ in range(sizes.depth)])
        self.clip_projector = AttentionPool(width, sizes.pool_heads, sizes.pooled_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Tokens [B, 1 + T * h * w, D] for frames [B, T, 3, H, W]."""
        x = self.embed_patches(pixels)
        for block in self.blocks:
            x = block(x)
        return x

    def embed_patches(self, pixels: Tensor) -> Tensor:
        """The input tokens of the first block, [B, 1 + T * h * w, D]."""
        patches = self.patch_embed(pixels)  # [B, T, h, w, D]
        frames, rows, columns = patches.shape[1:4]
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches.flatten(1, 3)], dim=1)
        return x + self.positions(frames, rows, columns).to(x)

    def positions(self, frames: int, rows: int, columns: int) -> Tensor:
        """The position table [1, 1 + frames * rows * columns, D], resized if the frames have another number or size."""
        trained = self.sizes.num_frames
        if frames > 1 or trained == 1:
            return resize_table(self.pos_embed, trained, frames, rows, columns)
        table = self.img_pos_embed if self.sizes.has_image_table else mean_over_time(self.pos_embed, trained)
        return resize_table(table, 1, 1, rows, columns)


class PatchEmbedding(nn.Module):
    """Computes one token per cube of `tubelet` frames and patch x patch pixels."""

    def __init__(self, width: int, patch_size: int, tubelet: int) -> None:
        super().__init__()
        cube = (tubelet, patch_size, patch_size)
        self.proj = nn.Conv3d(3, width, kernel_size=cube, stride=cube)

    def forward(self, pixels: Tensor) -> Tensor:
        """Frames [B, T, 3, H, W] to [B, T', h, w, D]."""
        patches: Tensor = self.proj(pixels.transpose(1, 2))
        return patches.permute(0, 2, 3, 4, 1)


class RMSNorm(nn.Module):
    """Division by the root mean square, in float32, then a weight."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and type as `x` [..., D]."""
        exact = x.float()
        exact = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + self.eps)
        return exact.to(x.dtype) * self.weight


class Attention(nn.Module):
    """Self-attention without a bias in q, k and v; q and k are normalised over all heads together."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm = RMSNorm(width)
        self.k_norm = RMSNorm(width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (_split_heads(part, self.num_heads) for part in (self.q_norm(q), self.k_norm(k), v))
        mixed = scaled_dot_product_attention(q, k, v)
        return cast(Tensor, self.proj(mixed.transpose(1, 2).flatten(2)))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them; the weights were trained with the approximation `tanh`."""

    def __init__(self, width: int, hidden: int, approximate: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.approximate = "tanh" if approximate == "tanh" else "none"

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        return cast(Tensor, self.fc2(gelu(self.fc1(x), approximate=self.approximate)))


class LayerScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, width: int, in_float32: bool) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))
        self.in_float32 = in_float32

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and type as `x` [..., D]."""
        if self.in_float32:
            return (x.float() * self.gamma.float()).to(x.dtype)
        return x * self.gamma


class Block(nn.Module):
    """Attention and MLP, each with a norm before it and a residual connection."""

    def __init__(self, sizes: TowerSizes, gelu: str, scale_in_float32: bool) -> None:
        super().__init__()
        self.norm1 = RMSNorm(sizes.width)
        self.attn = Attention(sizes.width, sizes.num_heads)
        self.ls1 = LayerScale(sizes.width, scale_in_float32)
        self.norm2 = RMSNorm(sizes.width)
        self.mlp = Mlp(sizes.width, sizes.mlp_hidden, gelu)
        self.ls2 = LayerScale(sizes.width, scale_in_float32)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + cast(Tensor, self.ls2(self.mlp(self.norm2(x))))


class CrossAttention(nn.Module):
    """Attention of one query over all tokens; the biases of q, k and v are separate parameters."""

    def __init__(self, width: int, num_heads: int, dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.q_bias, self.k_bias, self.v_bias = (nn.Parameter(torch.empty(width)) for _ in range(3))
        self.proj = nn.Linear(width, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[B, 1, D] over [B, N, D]: [B, 1, dim]."""
        q = _split_heads(linear(query, self.q.weight, self.q_bias), self.num_heads)
        k = _split_heads(linear(key, self.k.weight, self.k_bias), self.num_heads)
        v = _split_heads(linear(value, self.v.weight, self.v_bias), self.num_heads)
        mixed = scaled_dot_product_attention(q, k, v)
        return cast(Tensor, self.proj(mixed.transpose(1, 2).flatten(2)))


class AttentionPool(nn.Module):
    """One vector per video: attention over all tokens, with the mean token as the query."""

    def __init__(self, width: int, num_heads: int, dim: int) -> None:
        super().__init__()
        self.norm1_q, self.norm1_k, self.norm1_v = (nn.LayerNorm(width, eps=1e-5) for _ in range(3))
        self.cross_attn = CrossAttention(width, num_heads, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] to [B, dim]."""
        query = self.norm1_q(tokens.mean(1, keepdim=True))
        pooled: Tensor = self.cross_attn(query, self.norm1_k(tokens), self.norm1_v(tokens))
        return pooled.squeeze(1)


def _split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[B, N, D] to [B, heads, N, D / heads]."""
    return x.reshape(*x.shape[:2], num_heads, -1).transpose(1, 2)
