"""Text and frames of Chat-UniVi, as the steps use them: ids, labels, pixel values and batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.dialogs import Dialog, count_placeholders
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.artefacts.visual_tokens.store import TOKENS
from sg.core.fingerprints import text_seed
from sg.models.chat_univi.collate import Sample, collate
from sg.models.chat_univi.processor import ChatUniViProcessor
from sg.models.chat_univi.text.conversation import DialogEncoder, EncodedDialog
from sg.models.chat_univi.text.template import as_text, as_text_around_clip
from sg.models.student import Batch, EncodedQuestion, TrainingSample
from sg.video.sampling import OneFps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

PIXELS = "pixels"


class ChatUniViInputs:
    """The dialog encoder and the frame processor of a Chat-UniVi: a `StudentProcessor`."""

    needs_frames = False

    def __init__(self, encoder: DialogEncoder, pictures: ChatUniViProcessor) -> None:
        self.encoder, self.pictures = encoder, pictures

    @property
    def frames(self) -> OneFps:
        """About one frame per second."""
        return self.pictures.frames

    def pixels(self, frames: NDArray[np.uint8], facts: ClipFacts) -> dict[str, Tensor]:
        """Normalised pixels [T, 3, size, size]."""
        return {PIXELS: self.pictures.pixel_values(frames)}

    def encode(self, dialog: Dialog, facts: ClipFacts | None, max_length: int) -> EncodedDialog:
        """Ids with one placeholder per frame of the clip, and labels."""
        frames = 0 if facts is None else len(facts.frame_indices)
        return self.encoder.encode_dialog(encoded_turns(dialog), frames, max_length)

    def collate(self, samples: Sequence[TrainingSample], max_length: int) -> Batch:
        """The arguments of `ChatUniViForConditionalGeneration.forward`."""
        return collate([_sample(sample) for sample in samples], max_length)

    def question(self, text: str, clip: ClipTensors | None, reply: str = "") -> EncodedQuestion:
        """Ids with one placeholder per frame, in whose place the model puts the clip's visual tokens."""
        frames = 0 if clip is None else len(clip.facts.frame_indices)
        ids = self.encoder.encode_prompt(as_text(text), frames, reply)
        tokens = 0 if clip is None else len(clip.tensors[TOKENS])
        return EncodedQuestion(tuple(ids), len(ids) - frames + tokens)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids."""
        return self.encoder.decode(ids)

    def count_tokens(self, text: str) -> int:
        """Number of ids of an answer."""
        return len(self.encoder.encode_text(text, with_placeholders=False))

    def __len__(self) -> int:
        return len(self.encoder)

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.encoder.save_tokenizer(folder)


def noise_seed(key: str, facts: ClipFacts) -> int:
    """Seed of the noise in token merging: equal on every machine and in every run, cached or not."""
    return text_seed("merging noise", key, len(facts.frame_indices))


def encoded_turns(dialog: Dialog) -> list[dict[str, str]]:
    """The messages of `dialog` for an encoder: the placeholder of its clip is a control token, all else is text."""
    turns: list[dict[str, str]] = []
    has_place = dialog.media is None
    for turn in dialog.turns:
        is_place = not has_place and turn.speaker == "human" and count_placeholders(turn.text) > 0
        has_place = has_place or is_place
        text = as_text_around_clip(turn.text) if is_place else as_text(turn.text)
        turns.append({"from": turn.speaker, "value": text})
    return turns


def _sample(sample: TrainingSample) -> Sample:
    dialog, clip = sample.dialog, sample.clip
    assert isinstance(dialog, EncodedDialog)  # made by `encode`
    if clip is None:
        return Sample(dialog)
    tensor = clip.tensors[TOKENS if clip.are_features else PIXELS]
    return Sample(dialog, [tensor], clip.are_features, [noise_seed(clip.key, clip.facts)])
