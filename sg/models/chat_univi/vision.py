"""The frozen vision tower: patch features of an inner layer; the layers above are not computed.

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
    """Number of encoder layers before entry `select_layer` of the list of `num_layers + 1` hidden states.

    Raises:
        ModelError: there is no such entry.
    """
    count = select_layer if select_layer >= 0 else num_layers + 1 + select_layer
    if not 0 <= count <= num_layers:
        raise ModelError(
            f"model.select_layer is {select_layer} but the vision tower has {num_layers} layers; "
            f"expected a value between {-num_layers - 1} and {num_layers}"
        )
    return count


class PatchEncoder(nn.Module):
    """A CLIP or SigLIP tower: features [F, patches, hidden] of one layer, without class token and gradient.

    The layers above the selected one never run. They are kept so that a saved model has all published weights.
    """

    def __init__(self, config: PreTrainedConfig, select_layer: int) -> None:
        super().__init__()
        self.vision_tower: PreTrainedModel = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        self.num_layers = layers_to_run(config.num_hidden_layers, select_layer)
        self.requires_grad_(False)

    @property
    def has_class_token(self) -> bool:
        """True when the first position is a class token and not a patch: in CLIP, not in SigLIP."""
        return hasattr(self.vision_tower.embeddings, "class_embedding")

    def train(self, mode: bool = True) -> PatchEncoder:
        """Does nothing: the tower stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, frames: Tensor, frame_counts: Sequence[int] | None = None) -> Tensor:
        """Patch features [F, patches, hidden] in the tower's type, of normalised `frames` [F, 3, H, W].

        With the `frame_counts` of the clips, a CPU never computes frames of two clips together. The features of a clip
        are then bitwise equal in every batch.
        """
        patches = (frames.shape[-1] // self.vision_tower.config.patch_size) ** 2
        sizes = _chunk_sizes(frame_counts or [len(frames)], patches, frames.device.type)
        chunks = [self._encode(chunk) for chunk in torch.split(frames, sizes)]
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks)

    def _encode(self, frames: Tensor) -> Tensor:
        tower: Any = self.vision_tower  # the towers of CLIP and SigLIP have these parts, but no common type
        hidden: Tensor = tower.embeddings(frames)
        if hasattr(tower, "pre_layrnorm"):
            hidden = tower.pre_layrnorm(hidden)
        for layer in tower.encoder.layers[: self.num_layers]:
            _add_attention(hidden, layer.layer_norm1(hidden), layer.self_attn)
            _add_mlp(hidden, layer.layer_norm2(hidden), layer.mlp)
        return hidden[:, 1:] if self.has_class_token else hidden


def _chunk_sizes(frame_counts: Sequence[int], patches: int, device: str) -> list[int]:
    """Frames per chunk: on a CPU as many as keep the widest tensor in its cache (4 at 336 pixels), else 64."""
    if device == "cpu":
        limit = max(1, PATCHES_PER_CPU_CHUNK // patches)
    else:
        frame_counts, limit = [sum(frame_counts)], 64
    return [min(limit, count - start) for count in frame_counts for start in range(0, count, limit)]


def _add_attention(hidden: Tensor, normed: Tensor, attention: Any) -> None:
    """Add `attention(normed)` [F, N, C] to `hidden` in place.

    On a CPU the three projections are one matrix product, which reads its input once instead of three times.
    Concatenating their weights costs little compared with thousands of patches.
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

    CLIP's activation x * sigmoid(1.702 x) equals silu(1.702 x) / 1.702. The two factors are applied by the matrix
    products and the sum is in place, so memory passes over the widest tensor fall from five to two. This saves a fifth
    of the tower's time. The first bias is added separately (beta=0), because a product that also adds takes a sixth
    longer.
    """
    if not isinstance(mlp.activation_fn, QuickGELUActivation) or torch.is_autocast_enabled(hidden.device.type):
        hidden += mlp(normed)
        return
    inner = torch.addmm(mlp.fc1.bias, normed.flatten(0, 1), mlp.fc1.weight.t(), beta=0, alpha=1.702)
    functional.silu(inner.add_(mlp.fc1.bias, alpha=1.702), inplace=True)
    hidden += mlp.fc2.bias
    hidden.flatten(0, 1).addmm_(inner, mlp.fc2.weight.t(), alpha=1 / 1.702)
