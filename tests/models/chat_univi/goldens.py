"""Reads the golden data: inputs, cases, and the golden models."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.published.keys import config_from_reference, from_reference_key

GOLDENS = Path(__file__).parents[2] / "goldens" / "chat_univi"


def read_json(name: str) -> Any:
    return json.loads((GOLDENS / name).read_text())


def tensors(name: str) -> dict[str, Tensor]:
    return load_file(GOLDENS / name)


def recipe_input(case: dict[str, Any]) -> Tensor:
    """The input of a dpc_knn case, drawn by the rule in the README of the goldens and checked against its hash."""
    recipe = case["recipe"]
    r = np.random.RandomState(recipe["seed"])
    rows, num_tokens, channels = recipe["B"], recipe["N"], recipe["C"]
    if recipe["protos"]:
        prototypes = r.standard_normal((recipe["protos"], channels))
        which = r.randint(0, recipe["protos"], size=(rows, num_tokens))
        z = r.standard_normal((rows, num_tokens, channels))
        x = (recipe["a"] * prototypes[which] + recipe["b"] * z).astype(np.float32)
    else:
        x = r.standard_normal((rows, num_tokens, channels)).astype(np.float32)
    if case["name"] != "ties_duplicates":
        assert hashlib.sha256(x.tobytes()).hexdigest() == case["sha256"], case["name"]
    return torch.from_numpy(x)


def cases(model: str) -> dict[str, dict[str, Any]]:
    return {case["name"]: case for case in read_json(f"{model}/cases.json")["cases"]}


def golden_frames(lowres: Tensor) -> Tensor:
    return lowres.float().repeat_interleave(7, -1).repeat_interleave(7, -2)


def build_model(model: str) -> ChatUniViForConditionalGeneration:
    config = config_from_reference(read_json(f"{model}/config.json"), read_json(f"{model}/vision_config.json"))
    network = ChatUniViForConditionalGeneration(config)
    weights = {from_reference_key(key): value for key, value in tensors(f"{model}/weights.safetensors").items()}
    weights.pop(None, None)
    network.load_state_dict(weights)
    return network.eval()


@cache
def shared_model(model: str) -> ChatUniViForConditionalGeneration:
    """One instance, for the tests that do not change its weights."""
    return build_model(model)


def clip_counts(input_ids: Tensor) -> list[int]:
    """Frames of each run of placeholders, counted by a loop."""
    counts = []
    for row in input_ids.tolist():
        previous = None
        for token in row:
            if token == -200 and previous == -200:
                counts[-1] += 1
            elif token == -200:
                counts.append(1)
            previous = token
    return counts


def model_inputs(case: dict[str, Tensor]) -> dict[str, Any]:
    """Arguments of `forward` for a golden case: its clips' frames without the zero frames of text-only rows."""
    ids = case["input_ids"]
    inputs: dict[str, Any] = {"input_ids": ids}
    for key in ("attention_mask", "labels"):
        if key in case:
            inputs[key] = case[key]
    if "lowres" not in case:
        return inputs
    frames, used, start = golden_frames(case["lowres"]), [], 0
    counts: list[int] = []
    for row in ids:
        row_counts = clip_counts(row[None])
        num_frames = sum(row_counts)
        used.append(frames[start : start + num_frames])
        start += max(num_frames, 1)
        counts += row_counts
    inputs["frames"], inputs["frame_counts"] = torch.cat(used), counts
    temporal = case.get("ctm3_density_noise")
    inputs["temporal_noise"] = [torch.zeros(count) if temporal is None else temporal[0] for count in counts]
    return inputs
