"""Floating-point operations of training, and their share of a device's peak (MFU).

Only the operations of the formulas count; a multiplication and an addition are two operations. Recomputation under
gradient checkpointing, padding and element-wise operations are not counted. Per sample of n positions (text ids and
visual tokens), with P weights in the linear layers of the language model, L layers of width D, K supervised tokens,
vocabulary V, v visual tokens of the tower's width C:

    linear layers   2 P n             attention   2 L D n^2  (causal: half of both products)
    head            2 D V K           connector   2 C D v

The backward pass computes two gradients. The gradient of the activations costs as much as the forward pass (attention:
twice as much). The gradient of the weights costs as much as the forward pass of the parts that are trained. Adapters
with p weights add 6 p n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sg.train.config import StageConfig

# Dense peak in bfloat16 with float32 sums, in TFLOP/s, from the data sheets; the first name that fits is taken.
PEAK_TFLOPS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "B200": 2250.0,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "A6000": 155.0,
    "4090": 165.0,
    "3090": 71.0,
}


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Sizes of a composite model that decide its cost."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    tower_hidden: int
    tower_intermediate: int
    tower_layers: int
    tower_patches: int
    tower_class_token: bool

    @classmethod
    def of(cls, text: Mapping[str, Any], tower: Mapping[str, Any]) -> ModelSize:
        """From the plain configs of a Llama or Qwen language model and of a CLIP or SigLIP tower."""
        heads = text["num_attention_heads"]
        return cls(
            hidden=text["hidden_size"],
            intermediate=text["intermediate_size"],
            layers=text["num_hidden_layers"],
            heads=heads,
            key_value_heads=text.get("num_key_value_heads") or heads,
            head_dim=text.get("head_dim") or text["hidden_size"] // heads,
            vocabulary=text["vocab_size"],
            tied=bool(text.get("tie_word_embeddings")),
            tower_hidden=tower["hidden_size"],
            tower_intermediate=tower["intermediate_size"],
            tower_layers=tower["num_hidden_layers"],
            tower_patches=(tower["image_size"] // tower["patch_size"]) ** 2,
            tower_class_token="siglip" not in str(tower.get("model_type", "clip")),
        )

    @property
    def _linear_shapes(self) -> list[tuple[int, int]]:
        queries, keys = self.heads * self.head_dim, self.key_value_heads * self.head_dim
        attention = [(self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden)]
        return [*attention, *[(self.hidden, self.intermediate)] * 2, (self.intermediate, self.hidden)]

    @property
    def linear_weights(self) -> int:
        """Weights in the linear layers of the language model, without its head."""
        return self.layers * sum(rows * columns for rows, columns in self._linear_shapes)

    @property
    def language_model_weights(self) -> int:
        """All weights of the language model: linear layers, norms, embeddings, head."""
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.linear_weights + (2 * self.layers + 1) * self.hidden + tables

    @property
    def projector_weights(self) -> int:
        """Weights of the connector."""
        return (self.tower_hidden + 1) * self.hidden

    @property
    def tower_weights(self) -> int:
        """Approximate weights of the tower: linear layers with biases, and norms."""
        width, inner = self.tower_hidden, self.tower_intermediate
        return self.tower_layers * (4 * width * (width + 1) + 2 * width * inner + inner + width + 4 * width)

    def adapter_weights(self, rank: int) -> int:
        """Weights of adapters of that rank on all linear layers of the language model except its head."""
        return self.layers * rank * sum(rows + columns for rows, columns in self._linear_shapes)

    def tower_flops(self, frames: float, select_layer: int = -2) -> float:
        """Operations to encode `frames` frames with the layers up to the selected one; merging adds less than 1 %."""
        layers = select_layer if select_layer >= 0 else self.tower_layers + 1 + select_layer
        positions = self.tower_patches + self.tower_class_token
        width = self.tower_hidden
        linear = 2 * positions * (4 * width**2 + 2 * width * self.tower_intermediate)
        return frames * layers * (linear + 4 * width * positions**2)


def training_flops(
    size: ModelSize, stage: StageConfig, positions: Sequence[float], supervised: float, visual_tokens: float
) -> float:
    """Operations of training on samples with `positions` each, and their supervised and visual tokens in total."""
    total = sum(positions)
    attention = 2 * size.layers * size.heads * size.head_dim * sum(length**2 for length in positions)
    trains_weights = "language_model" in stage.trains_whole
    linear = 2 * size.linear_weights * total + 2 * size.hidden * size.vocabulary * supervised
    connector = 2 * size.tower_hidden * size.hidden * visual_tokens
    adapters = 6 * size.adapter_weights(stage.lora.rank) * total if stage.has_adapters else 0
    connector_passes = 2 if "projector" in stage.trains else 1  # no gradient for its input: the tower is frozen
    return (3 if trains_weights else 2) * linear + 3 * attention + connector_passes * connector + adapters


def device_peak_tflops(accelerator: str, configured: float | None) -> float | None:
    """Peak of one device for the MFU: the configured one, else that of this machine's GPU; None if unknown."""
    if configured is not None or accelerator != "gpu":
        return configured
    import torch

    name = torch.cuda.get_device_name()
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)
