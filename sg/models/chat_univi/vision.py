"""The frozen vision tower: patch features of an inner layer, nothing above it computed.

See `docs/reference/chat_univi.md`, section 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.activations import QuickGELUActivation

from sg.core.errors import ModelError

PATCHES_PER_CPU_CHUNK = 2400


def layers_to_run(num_layers: int, select_layer: int) -> int:
    """How many encoder layers give entry `select_layer` of the list of `num_layers + 1` hidden states."""
    count = select_layer if select_layer >= 0 else num_layers + 1 + select_layer
    if not 0 <= count <= num_layers:
        raise ModelError(
            f"model.vision.select_layer is {select_layer} but the vision tower has {num_layers} layers; "
            f"expected a value between {-num_layers - 1} and {num_layers}"
        )
    return count


class PatchEncoder(nn.Module):
    """A CLIP or SigLIP tower: features `[F, patches, hidden]` of one layer, without class token and without gradient.

    The layers above the selected one are kept, so that published weights survive a round trip, but never run.
    """

    def __init__(self, config: PreTrainedConfig, select_layer: int) -> None:
        super().__init__()
        self.vision_tower: PreTrainedModel = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        self.num_layers = layers_to_run(config.num_hidden_layers, select_layer)
        self.requires_grad_(False)

    @property
    def has_class_token(self) -> bool:
        """Whether the first position is a class token rather than a patch (CLIP has one, SigLIP has none)."""
        return hasattr(self.vision_tower.embeddings, "class_embedding")

    def train(self, mode: bool = True) -> PatchEncoder:
        """The tower never leaves evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, frames: Tensor, frame_counts: Sequence[int] | None = None) -> Tensor:
        """`frames` [F, 3, H, W], normalised pixels -> patch features [F, patches, hidden] in the tower's type.

        Given the `frame_counts` of the clips, a CPU takes no frames of two clips at once: a clip's features then are
        the same to the last bit in every batch.
        """
        patches = (frames.shape[-1] // self.vision_tower.config.patch_size) ** 2
        sizes = _chunk_sizes(frame_counts or [len(frames)], patches, frames.device.type)
        chunks = [self._encode(chunk) for chunk in torch.split(frames, sizes)]
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks)

    def _encode(self, frames: Tensor) -> Tensor:
        tower: Any = self.vision_tower  # CLIP's and SigLIP's towers have these parts, but no common type
        hidden: Tensor = tower.embeddings(frames)
        if hasattr(tower, "pre_layrnorm"):
            hidden = tower.pre_layrnorm(hidden)
        for layer in tower.encoder.layers[: self.num_layers]:
            _add_attention(hidden, layer.layer_norm1(hidden), layer.self_attn)
            _add_mlp(hidden, layer.layer_norm2(hidden), layer.mlp)
        return hidden[:, 1:] if self.has_class_token else hidden


def _chunk_sizes(frame_counts: Sequence[int], patches: int, device: str) -> list[int]:
    """Frames to run at a time: on a CPU few enough for the widest tensor to stay in its cache (4 at 336 pixels)."""
    if device == "cpu":
        limit = max(1, PATCHES_PER_CPU_CHUNK // patches)
    else:
        frame_counts, limit = [sum(frame_counts)], 64
    return [min(limit, count - start) for count in frame_counts for start in range(0, count, limit)]


def _add_attention(hidden: Tensor, normed: Tensor, attention: Any) -> None:
    """Add `attention(normed)` [F, N, C] to `hidden` in place.

    On a CPU the three projections are one matrix product: a product of 256 columns reads its input as often as one of
    768. Putting their weights side by side costs next to nothing beside thousands of patches.
    """
    if (
        hidden.device.type != "cpu"
        or torch.is_autocast_enabled("cpu")
        or attention.config._attn_implementation != "sdpa"
    ):
        hidden += attention(normed, attention_mask=None)[0]
        return
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    weight = torch.cat([projection.weight for projection in projections])
    bias = torch.cat([projection.bias for projection in projections])
    parts = functional.linear(normed, weight, bias).view(*normed.shape[:2], 3, -1, attention.head_dim)
    query, key, value = parts.permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(query, key, value, scale=attention.scale).transpose(1, 2)
    hidden += attention.out_proj.bias
    hidden.flatten(0, 1).addmm_(mixed.reshape(-1, hidden.shape[-1]), attention.out_proj.weight.t())


def _add_mlp(hidden: Tensor, normed: Tensor, mlp: Any) -> None:
    """Add `mlp(normed)` [F, N, C] to `hidden` in place.

    CLIP's activation x * sigmoid(1.702 x) is silu(1.702 x) / 1.702. The two factors ride on the matrix products and the
    sum is made in place, so the widest tensor is passed over twice instead of five times: a fifth of the tower's time.
    The first bias is added afterwards (beta=0): a product that adds to what is there already takes a sixth longer.
    """
    if not isinstance(mlp.activation_fn, QuickGELUActivation) or torch.is_autocast_enabled(hidden.device.type):
        hidden += mlp(normed)
        return
    inner = torch.addmm(mlp.fc1.bias, normed.flatten(0, 1), mlp.fc1.weight.t(), beta=0, alpha=1.702)
    functional.silu(inner.add_(mlp.fc1.bias, alpha=1.702), inplace=True)
    hidden += mlp.fc2.bias
    hidden.flatten(0, 1).addmm_(inner, mlp.fc2.weight.t(), alpha=1 / 1.702)
