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

from collections.abc import Sequence

from sg.models.sizes import ModelSize
from sg.models.student import CONNECTOR, LANGUAGE_MODEL, VISION
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


def training_flops(
    size: ModelSize,
    stage: StageConfig,
    positions: Sequence[float],
    supervised: float,
    visual_tokens: float,
    frames: float = 0.0,
) -> float:
    """Operations of training on samples with `positions` each.

    Args:
        supervised, visual_tokens, frames: of all samples; `frames` are those that pass the tower.
    """
    total = sum(positions)
    attention = 2 * size.layers * size.heads * size.head_dim * sum(length**2 for length in positions)
    trains_weights = LANGUAGE_MODEL in stage.trains_whole
    linear = 2 * size.linear_weights * total + 2 * size.hidden * size.vocabulary * supervised
    connector = size.connector_flops * visual_tokens
    adapters = 6 * size.adapter_weights(stage.lora.rank) * total if stage.has_adapters else 0
    # Without a trained tower, the connector's input needs no gradient.
    connector_passes = 1 + (CONNECTOR in stage.trains) + (VISION in stage.trains)
    tower_passes = 1 + (VISION in stage.trains) + (VISION in stage.trains_whole)
    tower = tower_passes * frames * size.frame_flops
    return (3 if trains_weights else 2) * linear + 3 * attention + connector_passes * connector + adapters + tower


def device_peak_tflops(accelerator: str, configured: float | None) -> float | None:
    """Peak of one device for the MFU: the configured one, else that of this machine's GPU; None if unknown."""
    if configured is not None or accelerator != "gpu":
        return configured
    import torch

    name = torch.cuda.get_device_name()
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)
