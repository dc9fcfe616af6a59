"""Rotary embedding and causal attention of short rows on a CPU in float32, with hand-written gradients.

For rows of a few hundred positions these matrix products are faster than PyTorch's attention on a CPU, mostly in the
backward pass. Longer rows use PyTorch's: the attention weights stored here grow with the square of the length.

Shapes: B samples, b of them per chunk, H heads, S positions, E channels of a head.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LONGEST_ROW = 512
QUERIES_PER_BLOCK = 64
WEIGHTS_PER_CHUNK = 2**17
"""Attention weights per chunk of samples: half a MiB, which fits into the cache of a core."""


def rotate(x: Tensor, cosine: Tensor, sine: Tensor, direction: int, out: Tensor | None = None) -> Tensor:
    """Rotary embedding of `x` [..., E]; `direction` is 1, or -1 for the inverse. The tables broadcast to `x`.

    Channel i of the first half and channel i of the second half are the coordinates of one rotated pair.
    """
    half = x.shape[-1] // 2
    rotated = torch.mul(x, cosine, out=out)
    rotated[..., :half].addcmul_(x[..., half:], sine[..., :half], value=-direction)
    rotated[..., half:].addcmul_(x[..., :half], sine[..., half:], value=direction)
    return rotated


class _Rotary(torch.autograd.Function):
    """Rotary embedding of heads `x` [B, S, H, E]; `cosine` and `sine` [B or 1, S, 1, E]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return rotate(x, cosine, sine, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        # The inverse of a rotation is its transpose, so the gradient is rotated back; `x` need not be stored.
        cosine, sine = ctx.saved_tensors
        return rotate(gradient, cosine, sine, -1), None, None


class _CausalAttention(torch.autograd.Function):
    """Attention [B, S, H E] over `joint` [B, S, 3, H, E]; the tables [2, 1, 1, S, E] rotate queries and keys.

    It runs a few samples and 64 queries at a time. Intermediate results then stay in the cache, and few products are
    computed for keys that come after their query.
    """

    @staticmethod
    def forward(ctx: Any, joint: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        length, heads, channels = joint.shape[1], *joint.shape[3:]
        mixed = joint.new_empty(len(joint), length, heads, channels)
        kept: list[Tensor] = []
        for rows in _chunks(joint):
            parts = joint[rows].permute(2, 0, 3, 1, 4)
            rotated = joint.new_empty(parts.shape)
            rotate(parts[:2], cosine, sine, 1, out=rotated[:2])
            rotated[2] = parts[2]
            query, key, value = rotated.flatten(1, 2)
            kept.append(rotated)
            for block in _blocks(length):
                weights = _weights(query, key, block)
                kept.append(weights)
                attended = torch.bmm(weights, value[:, : block.stop])
                mixed[rows, block] = attended.view(-1, heads, *attended.shape[1:]).transpose(1, 2)
        ctx.save_for_backward(cosine, sine, *kept)
        return mixed.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine, *kept = ctx.saved_tensors
        heads, length, channels = kept[0].shape[2:]
        remaining = iter(kept)
        to_joint = gradient.new_empty(len(gradient), length, 3, heads, channels)
        for rows in _chunks(to_joint):
            rotated = next(remaining)
            to_heads = gradient[rows].reshape(-1, length, heads, channels).transpose(1, 2)
            to_mixed = to_heads.reshape(-1, length, channels)
            to_rotated = _gradient_of_parts(rotated, to_mixed, remaining)
            to_parts = to_joint[rows].permute(2, 0, 3, 1, 4)
            rotate(to_rotated[:2], cosine, sine, -1, out=to_parts[:2])
            to_parts[2] = to_rotated[2]
        return to_joint, None, None


_causal_attention: Any = _CausalAttention.apply
rotary: Any = _Rotary.apply


def causal_attention(joint: Tensor, cosine: Tensor, sine: Tensor, scale: float) -> Tensor:
    """Attention [B, S, H E] over queries, keys and values `joint` [B, S, 3, H, E]; `cosine` and `sine` [1, S, E].

    Rotates queries and keys. The tables of the queries include `scale`, which saves a pass over them.
    """
    factors = cosine.new_tensor([scale, 1.0])[:, None, None, None, None]
    return _causal_attention(joint, cosine * factors, sine * factors)  # type: ignore[no-any-return]


def _chunks(joint: Tensor) -> Iterator[slice]:
    """Chunks of samples of `joint` [B, S, 3, H, E]."""
    size = max(1, WEIGHTS_PER_CHUNK // max(1, joint.shape[3] * min(QUERIES_PER_BLOCK, joint.shape[1]) * joint.shape[1]))
    return (slice(start, start + size) for start in range(0, len(joint), size))


def _blocks(length: int) -> Iterator[slice]:
    """Blocks of queries; they attend to the keys up to the end of their block."""
    starts = range(0, length, QUERIES_PER_BLOCK)
    return (slice(start, min(start + QUERIES_PER_BLOCK, length)) for start in starts)


def _weights(query: Tensor, key: Tensor, block: slice) -> Tensor:
    """Attention weights [b H, queries of the block, keys up to its end]."""
    scores = torch.bmm(query[:, block], key[:, : block.stop].transpose(1, 2))
    size = block.stop - block.start
    scores[:, :, block] += scores.new_full((size, size), -torch.inf).triu(1)
    return torch.softmax(scores, dim=-1, out=scores)


def _gradient_of_parts(rotated: Tensor, to_mixed: Tensor, kept: Iterator[Tensor]) -> Tensor:
    """Gradient of `rotated` [3, b, H, S, E] from `to_mixed` [b H, S, E], the gradient of the attention's output.

    `kept` yields the attention weights of the blocks, in the order of the forward pass.
    """
    query, key, value = rotated.flatten(1, 2)
    gradient = torch.zeros_like(rotated)
    to_query, to_key, to_value = gradient.flatten(1, 2)
    for block in _blocks(rotated.shape[3]):
        weights, seen, to_block = next(kept), slice(block.stop), to_mixed[:, block]
        to_weights = torch.bmm(to_block, value[:, seen].transpose(1, 2))
        to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
        to_query[:, block] = torch.bmm(to_scores, key[:, seen])
        to_key[:, seen] += torch.bmm(to_scores.transpose(1, 2), query[:, block])
        to_value[:, seen] += torch.bmm(weights.transpose(1, 2), to_block)
    return gradient
