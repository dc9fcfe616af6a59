"""A linear layer whose weight is held in 4 bits, for rehearsals: sizes and temporary tensors, without values.

bitsandbytes cannot pack weights that have no values, and a rehearsal does not need the library. This layer has the
storage of its `Linear4bit` in NF4 with scales of scales, and it allocates what that layer allocates in both passes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

BLOCK, SCALE_BLOCK = 64, 256
"""Weights per scale of one byte, and scales per scale of scales in float32."""


class PackedLinear(nn.Linear):
    """Stands for `bitsandbytes.nn.Linear4bit` over the weight of `module`, which is on the meta device."""

    def __init__(self, module: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = module.in_features, module.out_features
        self.dtype, count = module.weight.dtype, module.weight.numel()
        scales = -(-count // BLOCK)
        self.weight = nn.Parameter(_bytes((count + 1) // 2), requires_grad=False)
        self.bias = module.bias
        self.register_buffer("scales", _bytes(scales))
        self.register_buffer("scales_of_scales", torch.empty(-(-scales // SCALE_BLOCK), device="meta"))

    def forward(self, inputs: Tensor) -> Tensor:
        """The product in the original type of the weight. peft copies the result of the real layer."""
        product: Tensor = _Product.apply(  # type: ignore[no-untyped-call]  # PyTorch's
            inputs.to(self.dtype), self.weight, self.out_features
        )
        return (product if self.bias is None else product + self.bias).to(inputs.dtype).clone()


class _Product(torch.autograd.Function):
    """Both passes unpack the whole weight, and keep only the packed one."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, packed: Tensor, out_features: int) -> Tensor:
        ctx.shape = out_features, inputs.shape[-1]
        ctx.save_for_backward(packed)
        return functional.linear(inputs, _unpacked(packed, ctx.shape, inputs.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (packed,) = ctx.saved_tensors
        return gradient @ _unpacked(packed, ctx.shape, gradient.dtype), None, None


def _unpacked(packed: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=packed.device)


def _bytes(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8, device="meta")
