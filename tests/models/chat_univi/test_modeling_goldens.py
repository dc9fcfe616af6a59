"""Every golden case of the two small models.

Tolerances: logits, loss and relative gradients within 1e-5; the largest differences measured here on
CPU, float32, one thread are noted beside each.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sg.models.chat_univi.splice import IGNORED_LABEL
from tests.models.chat_univi.goldens import build_model, cases, golden_frames, model_inputs, shared_model, tensors

ALL = [(model, name) for model in ("model_a", "model_b") for name in cases(model)]
FORWARD = [
    (m, n) for m, n in ALL if n not in ("separated_images", "cut_inside_frames") and not n.startswith("generate")
]
WITH_GRADIENTS = [(m, n) for m, n in ALL if "grad_norms" in cases(m)[n]]


def load(model: str, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    case = tensors(f"{model}/{name}.safetensors")
    return case, model_inputs(case)


def compare_logits(logits: torch.Tensor, golden: dict[str, torch.Tensor], mask: torch.Tensor | None) -> None:
    wanted = golden["logits"] if "logits" in golden else golden["logits_tail16"]
    logits = logits[:, -wanted.shape[1] :]
    if mask is not None:
        mask = mask[:, -wanted.shape[1] :]
        logits, wanted = logits[mask], wanted[mask]
    torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("model", "name"), FORWARD)
def test_a_forward_pass_equals_the_reference(model: str, name: str) -> None:
    golden, inputs = load(model, name)
    network = shared_model(model)
    with torch.no_grad():
        spliced = network.prepare_inputs(**inputs)
        output = network(**inputs, return_logits=True)
    if "inputs_embeds" in golden:
        torch.testing.assert_close(spliced.embeds, golden["inputs_embeds"], atol=1e-5, rtol=0)
    mask = golden.get("spliced_attention_mask")
    if mask is not None:
        assert torch.equal(spliced.attention_mask, mask)
    if "spliced_labels" in golden:
        assert torch.equal(spliced.labels, golden["spliced_labels"])
    assert spliced.embeds.shape[1] == cases(model)[name]["spliced_length"]
    compare_logits(output.logits, golden, mask)
    if "loss" in golden:
        torch.testing.assert_close(output.loss, golden["loss"][0], atol=1e-5, rtol=0)
        with torch.no_grad():
            assert torch.equal(network(**inputs).loss, output.loss) or abs(network(**inputs).loss - output.loss) < 2e-6


@pytest.mark.parametrize(("model", "name"), WITH_GRADIENTS)
def test_gradients_equal_the_reference(model: str, name: str) -> None:
    golden, inputs = load(model, name)
    network = build_model(model)
    network(**inputs).loss.backward()
    ours = {key.replace("mm_projector", "model.mm_projector"): p.grad for key, p in network.named_parameters()}
    ours = {key: grad for key, grad in ours.items() if grad is not None}
    norms = cases(model)[name]["grad_norms"]
    assert set(ours) == set(norms)
    for key, norm in norms.items():
        assert float(ours[key].norm()) == pytest.approx(norm, rel=1e-5)
    for key in (k for k in golden if k.startswith("grad.")):
        wanted = golden[key]
        scale = float(wanted.abs().max())
        torch.testing.assert_close(ours[key.removeprefix("grad.")], wanted, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize(("model", "name"), [(m, n) for m, n in ALL if "vision_features_mean_abs" in cases(m)[n]])
def test_tower_features_equal_the_reference(model: str, name: str) -> None:
    golden = tensors(f"{model}/{name}.safetensors")
    if "lowres" not in golden:
        return
    features = shared_model(model).vision_tower(golden_frames(golden["lowres"][:2]))
    torch.testing.assert_close(features, golden["vision_features_first2"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["generate_video_8", "generate_image"])
def test_greedy_generation_equals_the_reference(name: str) -> None:
    golden, inputs = load("model_a", name)
    ids = shared_model("model_a").generate(**inputs, max_new_tokens=12)
    assert torch.equal(ids, golden["generated_ids"])


def test_separate_runs_are_spliced_in_order() -> None:
    golden, inputs = load("model_a", "separated_images")
    network = shared_model("model_a")
    with torch.no_grad():
        spliced = network.prepare_inputs(**inputs)
        logits = network(**inputs).logits
    torch.testing.assert_close(spliced.embeds, golden["in_order_inputs_embeds"], atol=1e-5, rtol=0)
    torch.testing.assert_close(logits, golden["in_order_logits"], atol=1e-5, rtol=0)


def test_a_cut_inside_the_frames_uses_the_first_frames_and_leaves_other_rows_alone() -> None:
    golden, _ = load("model_a", "cut_inside_frames")
    network = shared_model("model_a")
    counts = golden["frames_per_sample"].tolist()
    inputs = {key: golden[key] for key in ("input_ids", "attention_mask", "labels")}
    frames = golden_frames(golden["lowres_all"])
    noise = [torch.zeros(8), torch.zeros(1)]
    with torch.no_grad():
        output = network(**inputs, frames=frames, frame_counts=counts, temporal_noise=noise, return_logits=True)
    compare_logits(output.logits, golden, golden["spliced_attention_mask"])
    torch.testing.assert_close(output.loss, golden["loss"][0], atol=1e-5, rtol=0)


def test_a_batch_with_nothing_supervised_gives_zero_loss_and_zero_gradient() -> None:
    _, inputs = load("model_a", "image_one")
    inputs["labels"] = torch.full_like(inputs["labels"], IGNORED_LABEL)
    network = build_model("model_a")
    output = network(**inputs)
    output.loss.backward()
    assert float(output.loss) == 0 and int(output.num_supervised) == 0
    assert all(float(p.grad.abs().max()) == 0 for p in network.parameters() if p.grad is not None)
