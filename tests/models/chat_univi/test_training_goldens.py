"""The eight-step training trajectories of the reference, Stage 1 (projector) and Stage 2 (all but the tower)."""

from __future__ import annotations

import pytest
import torch

from sg.models.chat_univi.student import ChatUniViStudent
from sg.models.student import CONNECTOR, LANGUAGE_MODEL
from sg.train.config import StageConfig
from sg.train.module import set_trainable
from tests.models.chat_univi.goldens import build_model, model_inputs, read_json, tensors


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
@pytest.mark.parametrize("cached", [False, True])
def test_eight_training_steps_follow_the_reference(stage: str, cached: bool) -> None:
    recipe, final = read_json(f"model_a/train_{stage}.json"), tensors(f"model_a/train_{stage}.safetensors")
    network = build_model("model_a").train()
    trains = [CONNECTOR, LANGUAGE_MODEL] if stage == "stage2" else [CONNECTOR]
    set_trainable(ChatUniViStudent(network), StageConfig(trains=trains))
    trainable = [p for p in network.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trainable) == recipe["trainable_count"]
    optimizer = torch.optim.AdamW(trainable, lr=0.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    for step, batch in enumerate(recipe["batches"]):
        inputs = model_inputs(tensors(f"model_a/{batch}.safetensors"))
        if cached:
            clips = network.encode_clips(
                inputs.pop("frames"), inputs.pop("frame_counts"), temporal_noise=inputs.pop("temporal_noise")
            )
            inputs |= {"visual_tokens": torch.cat(clips), "visual_counts": [len(clip) for clip in clips]}
        optimizer.param_groups[0]["lr"] = recipe["lr_used"][step]
        loss = network(**inputs).loss
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        assert float(loss) == pytest.approx(recipe["loss"][step], abs=1e-5)
        assert float(norm) == pytest.approx(recipe["grad_norm_before_clip"][step], rel=1e-5)
    parameters = {key.replace("mm_projector", "model.mm_projector"): p for key, p in network.named_parameters()}
    for key, wanted in final.items():
        torch.testing.assert_close(parameters[key.removeprefix("final.")].detach(), wanted, atol=1e-5, rtol=0)
