"""All clustering calls of the reference inside its models, compared index by index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from sg.models.chat_univi.merging import cluster_count, dpc_knn, merge_tokens, neighbour_count
from tests.models.chat_univi.goldens import cases, model_inputs, shared_model, tensors

CASES = [(model, name) for model in ("model_a", "model_b") for name, case in cases(model).items() if case["calls"]]


def check(tokens: Tensor, call: dict[str, Any], golden: dict[str, Tensor], noise: Tensor | None = None) -> Tensor:
    """Compare one clustering of `tokens` [B, N, C] with the golden call; returns the merged tokens."""
    name = call["call"]
    assert list(tokens.shape) == call["shape"], name
    assignment, centres = dpc_knn(tokens, call["clusters"], call["k"], noise)
    assert torch.equal(assignment, golden[f"{name}.idx"].long()), name
    assert torch.equal(centres, golden[f"{name}.centers"].long()), name
    merged = merge_tokens(tokens, assignment, call["clusters"])
    if f"{name}.merged" in golden:
        torch.testing.assert_close(merged, golden[f"{name}.merged"], atol=1e-5, rtol=0)
    return merged


def check_stages(tokens: Tensor, calls: Iterator[dict[str, Any]], golden: dict[str, Tensor]) -> list[Tensor]:
    stages = []
    for _ in range(3):
        tokens = check(tokens, next(calls), golden)
        stages.append(tokens)
    return stages


@pytest.mark.parametrize(("model", "name"), CASES)
def test_every_cluster_index_equals_the_reference(model: str, name: str) -> None:
    golden, calls = tensors(f"{model}/{name}.safetensors"), iter(cases(model)[name]["calls"])
    inputs, network = model_inputs(golden), shared_model(model)
    for clip in torch.split(network.vision_tower(inputs["frames"]), inputs["frame_counts"]):
        if len(clip) <= 2:
            check_stages(clip, calls, golden)
            continue
        temporal = next(calls)
        assert temporal["clusters"] == cluster_count(len(clip), network.merging.temporal_rate)
        assert temporal["k"] == neighbour_count(temporal["clusters"], network.merging.temporal_neighbours)
        check(clip.mean(dim=1)[None], temporal, golden, golden.get("ctm3_density_noise"))
        stages = check_stages(clip, calls, golden)
        events = golden[f"{temporal['call']}.idx"][0]
        for event in dict.fromkeys(events.tolist()):
            frames = (events == event).nonzero()[:, 0]
            for stage in stages:
                check(stage[frames].flatten(0, 1)[None], next(calls), golden)
