"""Behaviour beyond the golden cases: batches, noise, half precision, other backbones."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from sg.core.errors import ModelError
from sg.models.chat_univi.abstractor import MergeSettings, find_events
from sg.models.chat_univi.config import ChatUniViConfig
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.student import ChatUniViStudent
from sg.train.config import StageConfig
from sg.train.module import set_trainable

TEXT = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
VISION = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}


def tiny(
    text: str = "llama", vision: str = "clip_vision_model", **text_options: Any
) -> ChatUniViForConditionalGeneration:
    torch.manual_seed(0)
    config = ChatUniViConfig(
        text_config={"model_type": text, **TEXT, "pad_token_id": 0, "eos_token_id": 2, **text_options},
        vision_config={"model_type": vision, **VISION, "image_size": 64, "patch_size": 16},
        spatial_clusters=[8, 4, 2],
        temporal_cluster_rate=1 / 8,
    )
    model = ChatUniViForConditionalGeneration(config)
    for parameter in model.parameters():  # the default start is so small that all logits are alike
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return model.eval()


def batch(supervised: int = 4) -> dict[str, Any]:
    """A video, a text and an image row of different lengths, with cached tokens."""
    rows = [[1, 5, *[-200] * 9, 6, 7, 8, 9, 10, 2], [1, 11, 12, 13, 14, 15, 2], [1, -200, 20, 21, 22, 23, 2]]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    labels = torch.full_like(ids, -100)
    for number, row in enumerate(rows):
        labels[number, len(row) - supervised : len(row)] = ids[number, len(row) - supervised : len(row)]
    tokens = torch.randn(28 + 14, 24, generator=torch.Generator().manual_seed(1))
    return {
        "input_ids": ids,
        "attention_mask": ids != 0,
        "labels": labels,
        "visual_tokens": tokens,
        "visual_counts": [28, 14],
    }


def loss_and_gradients(
    model: ChatUniViForConditionalGeneration, **inputs: Any
) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(**inputs).loss
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("text", ["llama", "qwen2", "qwen3"])
def test_the_loss_without_logits_has_the_loss_and_gradients_of_that_with_logits(text: str) -> None:
    model = tiny(text).train()
    short, short_gradients = loss_and_gradients(model, **batch())
    long, long_gradients = loss_and_gradients(model, **batch(), return_logits=True)
    assert short == pytest.approx(long, abs=1e-6)
    assert short_gradients.keys() == long_gradients.keys()
    for name, gradient in long_gradients.items():
        torch.testing.assert_close(short_gradients[name], gradient, atol=1e-6, rtol=1e-5)


def test_gradient_checkpointing_changes_nothing_but_memory() -> None:
    model = tiny().train()
    wanted, gradients = loss_and_gradients(model, **batch())
    model.activation_checkpointing_enable()
    loss, checkpointed = loss_and_gradients(model, **batch())
    assert loss == pytest.approx(wanted, abs=1e-7)
    assert all(torch.allclose(checkpointed[name], gradient, atol=1e-7) for name, gradient in gradients.items())


def test_a_mask_with_masked_positions_inside_a_row_is_passed_on() -> None:
    model, inputs = tiny(), batch()
    inputs["attention_mask"] = inputs["attention_mask"].clone()
    inputs["attention_mask"][1, 2] = False
    with torch.no_grad():
        changed, plain = model(**inputs).loss, model(**batch()).loss
        long = model(**inputs, return_logits=True).loss
    assert abs(changed - plain) > 1e-4
    assert abs(changed - long) < 1e-6


def test_every_rank_gets_a_projector_gradient_from_a_text_only_batch() -> None:
    model = tiny().train()
    ids = torch.tensor([[1, 5, 6, 2]])
    _, gradients = loss_and_gradients(model, input_ids=ids, labels=ids)
    assert float(gradients["mm_projector.weight"].abs().max()) == 0


def test_a_clip_has_the_same_tokens_in_every_batch() -> None:
    model = tiny()
    counts, seeds = [9, 1, 20, 2, 30], [1, 2, 3, 4, 5]
    frames = torch.randn(sum(counts), 3, 64, 64)
    together = model.encode_clips(frames, counts, seeds)
    alone = [model.encode_video(clip, seed) for clip, seed in zip(frames.split(counts), seeds, strict=True)]
    assert [len(tokens) for tokens in together] == [28, 14, 42, 28, 56]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))
    assert [model.merging.num_tokens(count) for count in counts] == [len(tokens) for tokens in together]


def test_the_noise_seed_decides_events_and_the_global_state_does_not() -> None:
    model = tiny()
    frames = torch.randn(20, 3, 64, 64)
    first = model.encode_video(frames, 1)
    torch.manual_seed(77)
    assert torch.equal(first, model.encode_video(frames, 1))
    assert any(not torch.equal(first, model.encode_video(frames, seed)) for seed in range(2, 6))


def test_events_come_in_the_order_of_their_first_frames() -> None:
    scenes = torch.tensor([1, 0, 0, 1, 2, 0, 2, 1, 2] * 3)
    features = torch.eye(3).repeat_interleave(4, 1)[scenes][:, None].expand(-1, 5, -1) * 10
    features = features + 0.01 * torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    settings = MergeSettings(temporal_rate=1 / 9, min_temporal_neighbours=3)
    events = [frames.tolist() for frames in find_events(features, settings, None)]
    assert events == [(scenes == scene).nonzero()[:, 0].tolist() for scene in (1, 0, 2)]


def test_batched_generation_equals_one_prompt_at_a_time() -> None:
    model, inputs = tiny(), batch()
    labels = inputs.pop("labels")
    assert labels is not None
    together = model.generate(**inputs, max_new_tokens=6)
    lengths, tokens = inputs["attention_mask"].sum(1).tolist(), inputs["visual_tokens"]
    clips = [(tokens[:28], [28]), (None, None), (tokens[28:], [14])]
    for row, (clip, counts) in enumerate(clips):
        ids = inputs["input_ids"][row : row + 1, : lengths[row]]
        alone = model.generate(ids, visual_tokens=clip, visual_counts=counts, max_new_tokens=6)[0].tolist()
        assert together[row, : len(alone)].tolist() == alone


def test_sampling_follows_the_seed() -> None:
    model, inputs = tiny(), batch()
    del inputs["labels"]
    answers = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        answers.append(model.generate(**inputs, do_sample=True, temperature=2.0, max_new_tokens=8).tolist())
    assert answers[0] == answers[1] != answers[2]


def test_merging_stays_float32_in_half_precision_models() -> None:
    model = tiny()
    frames = torch.randn(9, 3, 64, 64)
    half = copy.deepcopy(model).to(torch.bfloat16)
    tokens = half.encode_video(frames.to(torch.bfloat16))
    assert tokens.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**batch())
    assert torch.isfinite(output.loss)
    assert torch.isfinite(half(**batch()).loss)


@pytest.mark.parametrize(("text", "vision"), [("qwen2", "siglip_vision_model"), ("qwen3", "clip_vision_model")])
def test_other_backbones_train_generate_and_round_trip(text: str, vision: str, tmp_path: Any) -> None:
    model = tiny(text, vision)
    inputs = batch()
    loss, gradients = loss_and_gradients(model.train(), **inputs)
    assert loss > 0 and "mm_projector.weight" in gradients
    tokens = model.eval().encode_video(torch.randn(9, 3, 64, 64))
    assert tokens.shape == (28, 24)
    model.save_pretrained(tmp_path)
    again = ChatUniViForConditionalGeneration.from_pretrained(tmp_path)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())


def test_only_the_selected_parts_are_trained() -> None:
    model = tiny()
    set_trainable(ChatUniViStudent(model), StageConfig(trains=["connector"]))
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "mm_projector.weight",
        "mm_projector.bias",
    }
    set_trainable(ChatUniViStudent(model), StageConfig(trains=["language_model"]))
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"model", "lm_head"}


def test_contradicting_inputs_are_clear_errors() -> None:
    model, inputs = tiny(), batch()
    frames = torch.randn(10, 3, 64, 64)
    with pytest.raises(ModelError, match="either frames or visual_tokens"):
        model(**inputs, frames=frames)
    ids = inputs["input_ids"]
    with pytest.raises(ModelError, match=r"runs of \[9, 1\] placeholders, but the clips have \[8, 2\] frames"):
        model(input_ids=ids, frames=frames, frame_counts=[8, 2])
    with pytest.raises(ModelError, match="2 runs of placeholders but 0 clips"):
        model(input_ids=ids)


def test_batched_images_clips_and_long_prompts_get_the_answers_of_single_ones() -> None:
    model = tiny()
    counts, texts = [1, 2, 3, 20], [3, 400, 40, 7]
    rows = [
        [1, *[-200] * count, *(5 + at % 50 for at in range(text))] for count, text in zip(counts, texts, strict=True)
    ]
    frames = torch.randn(sum(counts), 3, 64, 64, generator=torch.Generator().manual_seed(2))
    ids = torch.tensor([row + [0] * (max(map(len, rows)) - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (ids.shape[1] - len(row)) for row in rows])
    together = model.generate(ids, mask, frames=frames, frame_counts=counts, noise_seeds=counts, max_new_tokens=5)
    for row, clip in enumerate(frames.split(counts)):
        prompt = torch.tensor([rows[row]])
        seed = [counts[row]]
        alone = model.generate(prompt, frames=clip, frame_counts=seed, noise_seeds=seed, max_new_tokens=5)[0].tolist()
        assert together[row, : len(alone)].tolist() == alone
