"""The fused layers give the results of transformers' layers, and do not run where they do not apply."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from sg.models.chat_univi.fast.attention import causal_attention
from sg.models.chat_univi.fast.last_layer import enable_position_skipping, hidden_at
from sg.models.chat_univi.fast.layers import fuse_layers
from tests.models.chat_univi.test_modeling import TEXT, batch, loss_and_gradients, tiny


def pair(kind: str) -> tuple[Any, Any]:
    """The language model of transformers, and one with fused layers and the same weights."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **TEXT)
    plain = AutoModel.from_config(config)
    for parameter in plain.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    fused = AutoModel.from_config(config)
    fused.load_state_dict(plain.state_dict())
    fuse_layers(fused)
    return plain.train(), fused.train()


def outcome(model: Any, hidden: torch.Tensor, embeds: torch.Tensor) -> dict[str, torch.Tensor]:
    """Hidden states and all gradients."""
    model.zero_grad()
    hidden.pow(2).mean().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert embeds.grad is not None
    return gradients | {"": hidden.detach(), "embeds": embeds.grad.clone()}


def inputs() -> torch.Tensor:
    return torch.randn(2, 9, TEXT["hidden_size"], generator=torch.Generator().manual_seed(1)).requires_grad_()


def assert_alike(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-6, rtol=2e-5, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_hidden_states_and_gradients_are_those_of_transformers(kind: str) -> None:
    plain, fused = pair(kind)
    found, wanted = inputs(), inputs()
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 6:] = False
    for keep in (None, mask):
        ours = fused(inputs_embeds=found, attention_mask=keep).last_hidden_state
        theirs = plain(inputs_embeds=wanted, attention_mask=keep).last_hidden_state
        assert_alike(outcome(fused, ours, found), outcome(plain, theirs, wanted))
        found.grad = wanted.grad = None


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("first", [0, 1, 5, 8])
def test_the_last_layer_starts_at_the_first_kept_position(kind: str, first: int) -> None:
    plain, fused = pair(kind)
    enable_position_skipping(fused)
    keep = torch.zeros(2, 9, dtype=torch.bool)
    keep[0, first], keep[1, first:] = True, True
    found, wanted = inputs(), inputs()
    ours = hidden_at(fused, found, torch.arange(9)[None], keep)
    theirs = plain(inputs_embeds=wanted).last_hidden_state[keep]
    assert_alike(outcome(fused, ours, found), outcome(plain, theirs, wanted))


def test_a_batch_that_keeps_nothing_has_no_hidden_states() -> None:
    _, fused = pair("llama")
    enable_position_skipping(fused)
    assert hidden_at(fused, inputs(), torch.arange(9)[None], torch.zeros(2, 9, dtype=torch.bool)).shape == (0, 32)


def test_half_precision_and_autocast_use_the_original_code() -> None:
    plain, fused = pair("llama")
    embeds = inputs().detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = (model(inputs_embeds=embeds).last_hidden_state for model in (fused, plain))
    assert torch.equal(ours, theirs)
    half = embeds.to(torch.bfloat16)
    ours, theirs = (model.to(torch.bfloat16)(inputs_embeds=half).last_hidden_state for model in (fused, plain))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("implementation", ["eager", "flex_attention"])
def test_attention_that_needs_a_mask_is_causal(implementation: str) -> None:
    model = tiny().train()
    wanted, gradients = loss_and_gradients(model, **batch())
    if implementation == "eager":
        model.set_attn_implementation("eager")
        loss, found = loss_and_gradients(model, **batch())
        assert loss == pytest.approx(wanted, abs=1e-5)
        assert_alike(found, gradients)
        return
    from sg.models.chat_univi.fast.last_layer import is_causal_without_mask

    model.model.config._attn_implementation = implementation
    assert not is_causal_without_mask(model.model)


def test_fusing_layers_twice_changes_nothing() -> None:
    _, fused = pair("llama")
    kinds = [type(module) for module in fused.modules()]
    fuse_layers(fused)
    assert [type(module) for module in fused.modules()] == kinds


def plain_attention(joint: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, scale: float) -> torch.Tensor:
    """Causal attention as in transformers' eager Llama."""
    query, key, value = joint.permute(2, 0, 3, 1, 4)
    query, key = (x * cosine + torch.cat((-x.chunk(2, -1)[1], x.chunk(2, -1)[0]), -1) * sine for x in (query, key))
    scores = query @ key.transpose(-1, -2) * scale
    weights = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf).softmax(dim=-1)
    return (weights @ value).transpose(1, 2).flatten(2)


def angles(length: int, channels: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    turns = torch.arange(length, dtype=dtype)[:, None] / torch.arange(1, channels // 2 + 1)
    both = torch.cat([turns, turns], dim=-1)[None]
    return both.cos(), both.sin()


@pytest.mark.parametrize(("samples", "length", "heads"), [(1, 1, 1), (3, 9, 2), (2, 64, 3), (5, 65, 8), (3, 200, 16)])
def test_attention_in_blocks_equals_eager_attention(samples: int, length: int, heads: int) -> None:
    joint = torch.randn(samples, length, 3, heads, 6, dtype=torch.float64, requires_grad=True)
    tables = angles(length, 6, torch.float64)
    outputs = [attend(joint, *tables, 0.3) for attend in (causal_attention, plain_attention)]
    gradient = torch.randn_like(outputs[0])
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*(torch.autograd.grad(output, joint, gradient)[0] for output in outputs))


def test_the_gradient_of_attention_in_blocks_equals_numerical_differences() -> None:
    joint = torch.randn(2, 5, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    cosine, sine = angles(5, 4, torch.float64)
    assert torch.autograd.gradcheck(lambda x: causal_attention(x, cosine, sine, 0.5), joint)


def test_rows_too_long_for_attention_in_blocks_use_the_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    _, fused = pair("llama")
    in_blocks = fused(inputs_embeds=inputs()).last_hidden_state
    monkeypatch.setattr("sg.models.chat_univi.fast.layers.LONGEST_ROW", 8)
    torch.testing.assert_close(fused(inputs_embeds=inputs()).last_hidden_state, in_blocks, atol=2e-6, rtol=2e-5)
