"""Loss and gradients do not depend on the layout of a batch: packed or padded, cached or decoded, checkpointed."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sg.models.chat_univi.collate import Sample, collate
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.packing import Segments, packed_loss, use_packed_attention
from sg.models.chat_univi.student import ChatUniViStudent
from sg.models.chat_univi.text.conversation import EncodedDialog
from sg.train.module import StageNetwork
from tests.train.builders import encoder, tiny_model

FRAMES = (3, 1, 20, 0, 9)
ANSWERS = ("red ball", "a green box spins and rests", "blue", "the tent slides slides slides", "")


def dialogs() -> list[EncodedDialog]:
    made = []
    for frames, answer in zip(FRAMES, ANSWERS, strict=True):
        question = "<video>\nWhat is it?" if frames else "What is it?"
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        made.append(encoder().encode_dialog(turns, frames))
    return made


def pixels(frames: int) -> Tensor:
    return torch.randn(frames, 3, 64, 64, generator=torch.Generator().manual_seed(frames))


def batch(model: ChatUniViForConditionalGeneration, cached: bool = True) -> dict[str, Any]:
    samples = []
    for number, (dialog, frames) in enumerate(zip(dialogs(), FRAMES, strict=True)):
        clips = [pixels(frames)] if frames else []
        if cached:
            clips = [model.encode_video(clip, noise_seed=number) for clip in clips]
        samples.append(Sample(dialog, clips, cached and bool(clips), [number]))
    return collate(samples)


def gradients(
    model: ChatUniViForConditionalGeneration, loss_of: Callable[[ChatUniViForConditionalGeneration], Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    model = copy.deepcopy(model)
    model.vision_tower.requires_grad_(False)
    model.train()
    loss = loss_of(model)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def assert_equal(one: tuple[Tensor, dict[str, Tensor]], other: tuple[Tensor, dict[str, Tensor]]) -> None:
    torch.testing.assert_close(one[0], other[0], rtol=1e-6, atol=0)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        assert float((gradient - other[1][name]).norm()) <= 1e-5 * float(gradient.norm()), name


def padded(data: dict[str, Any]) -> Callable[[ChatUniViForConditionalGeneration], Tensor]:
    return lambda model: model(**data).loss


def packed(data: dict[str, Any]) -> Callable[[ChatUniViForConditionalGeneration], Tensor]:
    def loss(model: ChatUniViForConditionalGeneration) -> Tensor:
        use_packed_attention(model)
        return packed_loss(model, data)[0]

    return loss


def test_packed_and_padded_batches_have_the_same_loss_and_gradients() -> None:
    model = tiny_model()
    assert_equal(gradients(model, padded(batch(model))), gradients(model, packed(batch(model))))


def test_cached_and_decoded_clips_have_the_same_loss_and_gradients() -> None:
    model = tiny_model()
    cached, decoded = batch(model), batch(model, cached=False)
    assert_equal(gradients(model, padded(cached)), gradients(model, padded(decoded)))
    assert_equal(gradients(model, packed(cached)), gradients(model, packed(decoded)))


def test_a_packed_batch_is_the_mean_of_its_samples_alone_by_their_supervised_tokens() -> None:
    model = tiny_model()
    model.train(False)
    data, total, tokens = batch(model), 0.0, 0
    for number, (dialog, frames) in enumerate(zip(dialogs(), FRAMES, strict=True)):
        clips = [model.encode_video(pixels(frames), noise_seed=number)] if frames else []
        alone = model(**collate([Sample(dialog, clips, bool(clips), [number])]))
        total += alone.loss.item() * int(alone.num_supervised)
        tokens += int(alone.num_supervised)
    use_packed_attention(model)
    assert float(packed_loss(model, data)[0]) == pytest.approx(total / tokens, rel=1e-6)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    model = tiny_model()
    data = batch(model)
    plain = gradients(model, packed(data))

    def checkpointed(copied: ChatUniViForConditionalGeneration) -> Tensor:
        copied.activation_checkpointing_enable({"use_reentrant": False})
        assert copied.model.layers[0].gradient_checkpointing
        return packed(data)(copied)

    assert_equal(plain, gradients(model, checkpointed))


def test_a_language_model_with_fewer_keys_than_queries_is_packed_too() -> None:
    model = tiny_model(key_value_heads=1)
    assert_equal(gradients(model, padded(batch(model))), gradients(model, packed(batch(model))))


def test_another_architecture_is_packed_through_the_mask_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    data = batch(model)
    plain = gradients(model, padded(data))
    monkeypatch.setattr("sg.models.chat_univi.packing.can_skip_positions", lambda language_model: False)
    assert_equal(plain, gradients(model, packed(data)))


def test_a_batch_without_supervised_tokens_has_loss_0_and_no_gradient() -> None:
    model = tiny_model()
    data = batch(model)
    data["labels"] = torch.full_like(data["labels"], -100)
    loss, found = gradients(model, packed(data))
    assert float(loss) == 0
    assert all(not bool(gradient.any()) for gradient in found.values())


def test_a_masked_character_inside_a_sample_does_not_change_the_result() -> None:
    model = tiny_model()
    data = batch(model)
    data["attention_mask"][0, 5] = False
    assert_equal(gradients(model, padded(data)), gradients(model, packed(data)))


def test_segments_know_their_bounds() -> None:
    segments = Segments.of([3, 2], torch.device("cpu"))
    assert segments.bounds.tolist() == [0, 3, 5]


def test_a_bf16_step_comes_close_to_the_float32_one() -> None:
    model = tiny_model()
    data = batch(model)
    network = StageNetwork(ChatUniViStudent(model), packed=True)
    use_packed_attention(model)
    exact = float(network(data))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(network(data)) == pytest.approx(exact, rel=2e-2)
