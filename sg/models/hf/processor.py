"""Text and frames of a model of transformers, as `StudentProcessor` describes them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.artefacts.dialogs import Dialog
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.core.errors import ModelError
from sg.models.hf.language import padded
from sg.models.hf.media import PIXELS, ClipProcessor, ModelSampling
from sg.models.hf.wording import ASSISTANT, USER, Message, WordedDialog, Wording
from sg.models.student import IGNORED_LABEL, TEXT, Batch, EncodedQuestion, TrainingSample

MASK = "mask."
"""Begins the names of cached masks over the visual tokens of a clip."""
TOWER = "tower."
"""Begins the names of cached outputs of the vision tower; a number follows."""
TYPES = "types."
"""Begins the names of tensors of a batch with an entry for every id."""
_CREATE = re.compile(r"create_(\w*type_ids)")
_PLACE = re.compile(r"\s*<(?:image|video)>\s*")
_NOTHING = WordedDialog([], [], "the chat template leaves no text")


class HfProcessor:
    """Words dialogs and processes frames with the processor of the model.

    Args:
        clips: the processor of transformers, with the settings of `model.video` and `model.image`.
        wording: the chat template.
    """

    def __init__(self, clips: ClipProcessor, wording: Wording) -> None:
        self.clips, self.wording = clips, wording
        self.tokenizer: Any = wording.tokenizer

    @property
    def frames(self) -> ModelSampling:
        """The model's sampling of frames."""
        return self.clips.sampling

    @property
    def needs_frames(self) -> bool:
        """Whether the text of a clip depends on what its frames show."""
        return self.clips.needs_frames

    def pixels(self, frames: NDArray[np.uint8], facts: ClipFacts) -> dict[str, Tensor]:
        """What the processor returns for frames uint8 [T, H, W, 3], by name; with the text if it depends on them."""
        given = torch.from_numpy(frames[None] if frames.ndim == 3 else frames).permute(0, 3, 1, 2)
        clip = self.clips.process(given, facts)
        if not self.clips.needs_frames or facts.is_image:
            return clip.tensors
        return clip.tensors | {TEXT: torch.tensor(list(clip.text.encode()), dtype=torch.uint8)}

    def encode(self, dialog: Dialog, facts: ClipFacts | None, max_length: int) -> WordedDialog:
        """Ids and labels of a dialog; the clip's ids are part of them."""
        kind = None if facts is None else "image" if facts.is_image else "video"
        messages = [Message(ASSISTANT if turn.speaker == "gpt" else USER, turn.text) for turn in dialog.turns]
        asked = [number for number, message in enumerate(messages) if message.role == USER]
        if kind is not None and asked:
            marked = [number for number in asked if _PLACE.search(messages[number].text)]
            place = (marked or asked)[0]
            before, found, after = _divided(messages[place].text)
            messages[place] = Message(USER, after, kind, before) if found else replace(messages[place], clip=kind)
        try:
            text = "" if facts is None else self.clips.describe(facts).text
            worded = self.wording.encode(messages, text)
        except ModelError as error:
            return replace(_NOTHING, problem=str(error))
        if facts is None and len(worded.input_ids) > max_length:
            cut = len(worded.input_ids) - max_length
            worded = replace(
                worded, input_ids=worded.input_ids[:max_length], labels=worded.labels[:max_length], num_cut=cut
            )
        return worded

    def collate(self, samples: Sequence[TrainingSample], max_length: int) -> Batch:
        """Rows of ids and labels [B, L], and by row the length, the tensors of the clip and its side inputs.

        A sample whose clip does not fit into `max_length` ids, or without an id, has the length 0.
        """
        rows, labels = [], []
        for sample in samples:
            ids = sample.dialog.input_ids
            fits = len(ids) > 0 and getattr(sample.dialog, "clip_end", 0) <= max_length
            rows.append(torch.tensor(ids[:max_length] if fits else [], dtype=torch.long))
            labels.append(torch.tensor(sample.dialog.labels[:max_length] if fits else [], dtype=torch.long))
        longest = max(1, *(len(row) for row in rows))
        targets = padded([label - IGNORED_LABEL for label in labels], longest) + IGNORED_LABEL
        kept = [sample.clip if len(row) else None for sample, row in zip(samples, rows, strict=True)]
        return {
            "input_ids": padded(rows, longest),
            "labels": targets,
            "lengths": [len(row) for row in rows],
            "clips": [{} if clip is None else dict(clip.tensors) for clip in kept],
            "sides": [{} if clip is None else self.sides(clip) for clip in kept],
            "are_images": [clip is not None and clip.facts.is_image for clip in kept],
            "are_features": any(clip is not None and clip.are_features for clip in kept),
            "frames": [0 if clip is None or clip.are_features else len(clip.facts.frame_indices) for clip in kept],
            **{f"{TYPES}{name}": value for name, value in self.token_types(padded(rows, longest)).items()},
        }

    def sides(self, clip: ClipTensors) -> dict[str, Tensor]:
        """What the model takes of a clip besides features and pixel values, such as grids.

        Where the connector still has to be run, there are pixels too, of the right shape and without values.
        """
        if not clip.are_features:
            return {name: value for name, value in clip.tensors.items() if not name.startswith(PIXELS)}
        names = () if clip.facts.is_image else [name for name in clip.tensors if name.startswith(MASK)]
        masks = {name: clip.tensors[name][:, 0] > 0.5 for name in names}
        is_tower = any(name.startswith(TOWER) for name in clip.tensors)
        sides = self.clips.blank(clip.facts) if is_tower else self.clips.describe(clip.facts).tensors
        return sides | {name.removeprefix(MASK): value for name, value in masks.items()}

    def token_types(self, ids: Tensor) -> dict[str, Tensor]:
        """By name, what the model takes for every one of ids [B, L], such as its kind: 0 for text, others for clips."""
        rows = ids.cpu().tolist()
        return {name: torch.as_tensor(np.asarray(make(rows))) for name, make in self._makers_of_types.items()}

    @cached_property
    def _makers_of_types(self) -> dict[str, Callable[[list[list[int]]], Any]]:
        processor = self.clips.processor
        found = {found[1]: getattr(processor, found[0]) for found in map(_CREATE.fullmatch, dir(processor)) if found}
        # Some processors return these types only on request, although their model needs them.
        is_input = "mm_token_type_ids" in processor.model_input_names
        if not is_input and not getattr(processor, "return_mm_token_type_ids", False):
            found.pop("mm_token_type_ids", None)
        return found

    def question(self, text: str, clip: ClipTensors | None, reply: str = "") -> EncodedQuestion:
        """A prompt of one turn, the clip in front of the text, up to the answer that `reply` begins."""
        kind = None if clip is None else "image" if clip.facts.is_image else "video"
        inside = "" if clip is None else self.clips.describe(clip.facts).text
        asked = Message(USER, text, kind)
        if reply:
            worded = self.wording.encode([asked, Message(ASSISTANT, reply)], inside)
            answer = [at for at, label in enumerate(worded.labels) if label != IGNORED_LABEL]
            is_closed = worded.labels[answer[-1]] in self.wording.control_ids
            ids = worded.input_ids[: answer[-1] + (not is_closed)]
        else:
            ids = self.wording.encode([asked], inside, is_open=True).input_ids
        return EncodedQuestion(tuple(ids), len(ids))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.strip()

    def count_tokens(self, text: str) -> int:
        """Number of ids of a text."""
        return len(self.tokenizer.encode(text, add_special_tokens=False))

    def __len__(self) -> int:
        return len(self.tokenizer)

    def save(self, folder: Path) -> None:
        """Write the files of transformers' processor."""
        self.clips.processor.save_pretrained(folder)


def _divided(text: str) -> tuple[str, bool, str]:
    """The texts before and after the first placeholder of a clip, and whether there is one."""
    found = _PLACE.search(text)
    return ("", False, text) if found is None else (text[: found.start()], True, text[found.end() :])
