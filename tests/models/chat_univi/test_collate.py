from __future__ import annotations

import pytest
import torch

from sg.core.errors import DataError
from sg.models.chat_univi.collate import Sample, collate
from sg.models.chat_univi.text.conversation import DialogEncoder, EncodedDialog
from tests.models.chat_univi.goldens import GOLDENS, read_json, tensors

DIALOGS = {dialog["name"]: dialog for dialog in read_json("text/dialogs.json")}
BATCHES = read_json("text/collate.json")


def numbered_frames(sample: int, count: int) -> torch.Tensor:
    """Frames [count, 1] that hold 100 * (sample + 1) + their position."""
    return (100.0 * (sample + 1) + torch.arange(count))[:, None]


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_equals_the_reference(name: str) -> None:
    info, golden = BATCHES[name], tensors("text/collate.safetensors")
    samples = []
    for index, dialog_name in enumerate(info["samples"]):
        dialog = DIALOGS[dialog_name]
        encoder = DialogEncoder(GOLDENS / "text/tokenizer/tokenizer.model", max_length=info["model_max_length"])
        frames = 0 if dialog["kind"] == "text" else max(dialog["placeholders"], 1)
        encoded = encoder.encode_dialog(dialog["conversations"], frames)
        clip = numbered_frames(index, frames)
        if dialog["kind"] == "video_missing":  # masked in the reference, skipped by us: made alike for the comparison
            encoded = EncodedDialog(encoded.input_ids, dialog["labels"])
            clip = torch.zeros(1, 1)
        samples.append(Sample(encoded, [clip] if frames else []))
    batch = collate(samples, info["model_max_length"])
    for key in ("input_ids", "labels", "attention_mask"):
        assert torch.equal(batch[key], golden[f"{name}.{key}"].to(batch[key].dtype)), key
    has_clip = [DIALOGS[dialog]["kind"] not in ("text", "video_missing") for dialog in info["samples"]]
    ours = [frame for frame in batch["frames"][:, 0].tolist() if frame]
    assert ours == [frame for frame in info["image_order"] if frame]
    assert len(batch["frame_counts"]) == sum(has_clip) + info["samples"].count("video_missing_file")


def test_a_cut_inside_or_before_a_run_keeps_the_right_frames() -> None:
    cut_inside = Sample(EncodedDialog([1, 5, -200, -200, -200, -200, 6], [-100] * 7), [numbered_frames(0, 4)])
    cut_away = Sample(EncodedDialog([1, 5, 5, 5, 5, -200, 6], [-100] * 7), [numbered_frames(1, 1)])
    whole = Sample(EncodedDialog([1, -200, 6], [-100, -100, 6]), [numbered_frames(2, 1)])
    batch = collate([cut_inside, cut_away, whole], max_length=4)
    assert batch["frames"][:, 0].tolist() == [100.0, 101.0, 300.0]
    assert batch["frame_counts"] == [2, 1]


def test_visual_tokens_are_collated_with_their_counts() -> None:
    dialog = EncodedDialog([1, -200, -200, -200, 6], [-100] * 4 + [6])
    batch = collate([Sample(dialog, [torch.ones(14, 8)], True), Sample(EncodedDialog([1, 6], [-100, 6]), (), True)])
    assert batch["visual_tokens"].shape == (14, 8) and batch["visual_counts"] == [14]
    assert "frames" not in batch


def test_a_missing_clip_is_a_clear_error() -> None:
    with pytest.raises(DataError, match="1 runs of placeholders but 0 clips"):
        collate([Sample(EncodedDialog([1, -200], [-100, -100]))])
