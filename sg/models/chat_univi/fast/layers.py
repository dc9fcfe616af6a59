"""Fused operations between the matrix products of a language model: norm, rotary embedding, gated activation.

On a CPU in float32 these operations take a quarter of a training step, because automatic differentiation stores a
tensor for each elementary operation. Here each is one function with a hand-written gradient, with half the memory
passes and half the stored memory. For other types, autocast and other devices the original code runs.

Shapes: N rows of width D, B samples, H heads, S positions, E channels of a head, M width of the MLP.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.activations import SiLUActivation
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sg.models.chat_univi.fast.attention import LONGEST_ROW, causal_attention, rotary

_NORMS = {"LlamaRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}
_MLPS = {"LlamaMLP", "Qwen2MLP", "Qwen3MLP"}
_ATTENTIONS = {"LlamaAttention", "Qwen2Attention", "Qwen3Attention"}
_FUSED: set[type] = set()
NEED_A_MASK = frozenset({"eager", "flex_attention"})
"""Attention implementations that are not causal without a mask."""


def fuse_layers(language_model: nn.Module) -> None:
    """Replace the forward of the known modules of `language_model`; names and weights do not change."""
    for module in language_model.modules():
        kind: Any = type(module)
        name = kind.__name__
        if kind in _FUSED:
            continue
        if name in _NORMS:
            module.__class__ = _fused_norm(kind)
        elif name in _MLPS and isinstance(module.act_fn, nn.SiLU | SiLUActivation):
            module.__class__ = _fused_mlp(kind)
        elif name in _ATTENTIONS:
            module.__class__ = _fused_attention(kind)


def _is_plain_float32(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


class _RmsNorm(torch.autograd.Function):
    """x / rms(x) * weight over the last dimension of `x` [N, D]; stores x and one number per row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        inverse = mean_square.add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        normed: Tensor = x * inverse
        return normed.mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        # With n = x * inverse and g the gradient: d weight = sum over rows of g * n, and
        # d x = inverse * (g * weight - n * mean(g * weight * n)).
        x, weight, inverse = ctx.saved_tensors
        normed = x * inverse
        product = gradient * normed
        to_weight = torch.ones(len(x)) @ product
        along = (product @ weight).div_(x.shape[-1])
        to_x = (gradient * weight).addcmul_(normed, along[:, None], value=-1).mul_(inverse)
        return to_x, to_weight, None


class _GatedActivation(torch.autograd.Function):
    """silu(gate) * up for `gate` and `up` [N, M]; silu(gate) is computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        to_up = functional.silu(gate).mul_(gradient)
        to_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return to_gate, to_up


_rms_norm: Any = _RmsNorm.apply
_gated_activation: Any = _GatedActivation.apply


@cache
def _fused_norm(kind: Any) -> Any:
    def forward(self: Any, hidden_states: Tensor) -> Tensor:
        if not _is_plain_float32(hidden_states) or self.weight.dtype != torch.float32:
            plain: Tensor = kind.forward(self, hidden_states)
            return plain
        rows = hidden_states.reshape(-1, hidden_states.shape[-1])
        normed: Tensor = _rms_norm(rows, self.weight, self.variance_epsilon)
        return normed.view(hidden_states.shape)

    return _with_forward(kind, forward)


@cache
def _fused_mlp(kind: Any) -> Any:
    def forward(self: Any, x: Tensor) -> Tensor:
        gate, up = self.gate_proj(x), self.up_proj(x)
        inner = _gated_activation(gate, up) if _is_plain_float32(gate) else self.act_fn(gate) * up
        hidden: Tensor = self.down_proj(inner)
        return hidden

    return _with_forward(kind, forward)


@cache
def _fused_attention(kind: Any) -> Any:
    def forward(self: Any, hidden_states: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        if kwargs.get("cache") is not None or not supports_first_query(self, hidden_states):
            plain: tuple[Tensor, Tensor | None] = kind.forward(self, hidden_states, **kwargs)
            return plain
        return _attend(self, hidden_states, **kwargs)

    return _with_forward(kind, forward)


def supports_first_query(attention: Any, hidden: Tensor) -> bool:
    """True when `attention` runs `hidden` in the fused code, which accepts `first_query`."""
    if type(attention) not in _FUSED or attention.config._attn_implementation in NEED_A_MASK:
        return False
    return _is_plain_float32(hidden)


def _attend(
    attention: Any,
    hidden: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    first_query: int = 0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Self-attention without a cache: [B, S - first_query, D], for the last positions of `hidden` [B, S, D]."""
    late = hidden[:, first_query:]
    if attention_mask is None and not first_query and _suits_short_rows(attention, hidden, position_embeddings[0]):
        joint = _joint_projection(hidden, _projections(attention))
        parts = joint.view(*hidden.shape[:2], 3, -1, attention.head_dim)
        return attention.o_proj(causal_attention(parts, *position_embeddings, attention.scaling)), None
    cosine, sine = (part[:, :, None] for part in position_embeddings)
    heads = (-1, attention.head_dim)
    query, key, value = (part.view(*part.shape[:2], *heads) for part in _project(attention, hidden, late))
    if hasattr(attention, "q_norm"):
        query, key = attention.q_norm(query), attention.k_norm(key)
    query = rotary(query, cosine[:, first_query:], sine[:, first_query:])
    key = rotary(key, cosine, sine)
    if first_query:
        # Without a mask the kernel aligns the first query with the first key.
        attention_mask = torch.ones(late.shape[1], hidden.shape[1], dtype=torch.bool).tril(first_query)[None, None]
    attend = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation]
    if getattr(attention, "sliding_window", None) is not None:
        kwargs["sliding_window"] = attention.sliding_window
    mixed, weights = attend(
        attention,
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attention_mask,
        dropout=attention.attention_dropout if attention.training else 0.0,
        scaling=attention.scaling,
        **kwargs,
    )
    return attention.o_proj(mixed.flatten(2)), weights


def _project(attention: Any, hidden: Tensor, late: Tensor) -> tuple[Tensor, ...]:
    """Queries of `late` [B, S - first_query, D], keys and values of `hidden` [B, S, D]."""
    layers = _projections(attention)
    if late.shape != hidden.shape or not _can_join(layers):
        return attention.q_proj(late), attention.k_proj(hidden), attention.v_proj(hidden)
    return torch.split(_joint_projection(hidden, layers), [layer.out_features for layer in layers], dim=-1)


def _projections(attention: Any) -> tuple[Any, Any, Any]:
    return attention.q_proj, attention.k_proj, attention.v_proj


def _can_join(layers: tuple[Any, ...]) -> bool:
    plain = all(type(layer) is nn.Linear for layer in layers)
    return plain and len({layer.bias is None for layer in layers}) == 1


def _joint_projection(hidden: Tensor, layers: tuple[Any, ...]) -> Tensor:
    """The concatenated outputs of `layers`, as one product that reads `hidden` once instead of three times."""
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return functional.linear(hidden, torch.cat([layer.weight for layer in layers]), bias)


def _suits_short_rows(attention: Any, hidden: Tensor, cosine: Tensor) -> bool:
    """True when `causal_attention` computes the same as PyTorch's attention: no dropout, grouped heads or window."""
    plain = attention.config._attn_implementation == "sdpa" and getattr(attention, "sliding_window", None) is None
    dropout = attention.attention_dropout if attention.training else 0.0
    short = hidden.shape[1] <= LONGEST_ROW and len(cosine) == 1
    layers = _projections(attention)
    if not (plain and short and not dropout and _can_join(layers)) or hasattr(attention, "q_norm"):
        return False
    return len({layer.out_features for layer in layers}) == 1


def _with_forward(kind: Any, forward: Any) -> Any:
    fused = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    _FUSED.add(fused)
    return fused
