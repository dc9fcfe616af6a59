"""Clips and dialogs for the tiny families, and the plain code of transformers to compare with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sg.artefacts.dialogs import Dialog, Turn
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.models.hf.media import ClipProcessor, metadata
from sg.models.hf.processor import HfProcessor
from sg.models.hf.sizes import PlannedClips, model_size
from sg.models.hf.student import HfStudent
from sg.models.hf.wording import Wording
from sg.models.student import IGNORED_LABEL, TEXT, TrainingSample
from tests.models.hf.more_families import EVERY_FAMILY

FPS, NUM_FRAMES, SIZE = 10.0, 60, (64, 48)
LONG = 4096
DIALOGS = (
    (6, ("<video>\nDescribe the video.", "A red circle moves to the left.")),
    (0, ("Hello?", "Hi.", "What now?", "The blue square  is\nbelow.")),
    (4, ("What happens first?\n<video>", "It stops. <|im_end|> <image> <|endoftext|> is text.")),
    (1, ("<image>\nWhat is it?", "The green triangle")),
)
"""Number of frames (0: no clip, 1: an image), and turns."""


def student_of(name: str, seed: int = 0, **settings: Any) -> HfStudent:
    """A tiny random student of a family, as `StudentKind.load` makes it."""
    model, processor = EVERY_FAMILY[name].build(seed)
    clips = ClipProcessor(processor, name, **settings)
    size = model_size(model.config, name, "float32", "float32", PlannedClips())
    return HfStudent(model, HfProcessor(clips, Wording(processor, name)), name, size)


def frames_of(count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random frames, uint8 [count, 48, 64, 3], of which some stand still in their left half."""
    frames = np.random.default_rng([seed, count]).integers(0, 256, (count, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for number in range(2, count, 3):
        frames[number, :, :32] = frames[number - 1, :, :32]
    return frames


def clip_of(processor: HfProcessor, count: int, seed: int = 0) -> ClipTensors:
    """A clip as pixels, with complete facts."""
    facts = ClipFacts(tuple(range(0, 10 * count, 10)), FPS, NUM_FRAMES, *SIZE)
    facts = facts if count > 1 else ClipFacts((0,), 0.0, 1, *SIZE)
    tensors = processor.pixels(frames_of(count, seed), facts)
    text = bytes(tensors.pop(TEXT, torch.tensor([])).tolist()).decode()
    return ClipTensors(f"clip-{count}-{seed}", replace(facts, text=text), tensors, False)


def dialog_of(texts: tuple[str, ...]) -> Dialog:
    """A dialog of alternating turns."""
    speakers = ("human", "gpt")
    return Dialog("d", "video", None, tuple(Turn(speakers[at % 2], text) for at, text in enumerate(texts)))


def samples_of(student: HfStudent) -> list[TrainingSample]:
    """The samples of `DIALOGS`, their clips as pixels."""
    found = []
    for count, texts in DIALOGS:
        clip = clip_of(student.processor, count) if count else None
        dialog = student.processor.encode(dialog_of(texts), None if clip is None else clip.facts, LONG)
        assert dialog.problem is None, dialog.problem
        found.append(TrainingSample(dialog, clip))
    return found


def with_features(student: HfStudent, samples: list[TrainingSample], level: str = "connector") -> list[TrainingSample]:
    """The samples with cached features instead of pixels."""
    clips = [sample.clip for sample in samples]
    return [
        TrainingSample(sample.dialog, None if clip is None else student.features([clip], level)[0])
        for sample, clip in zip(samples, clips, strict=True)
    ]


def conversation(texts: tuple[str, ...], count: int) -> list[dict[str, Any]]:
    """The conversation as transformers' chat templates take it, the clip in its place."""
    turns = []
    for at, text in enumerate(texts):
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        for mark, kind in (("<video>", "video"), ("<image>", "image")):
            if at % 2 == 0 and mark in text and count:
                before, after = (part.strip() for part in text.split(mark, 1))
                frames = torch.from_numpy(frames_of(count)).permute(0, 3, 1, 2)
                clip = {"type": kind, kind: frames if kind == "video" else frames[0]}
                start = [{"type": "text", "text": before}] if before else []
                content = [*start, clip, {"type": "text", "text": after}]
        turns.append({"role": ("user", "assistant")[at % 2], "content": content})
    return turns


def plain_inputs(processor: Any, texts: tuple[str, ...], count: int, **more: Any) -> dict[str, Tensor]:
    """What transformers' processor alone makes of a conversation and its frames."""
    facts = ClipFacts(tuple(range(0, 10 * count, 10)), FPS, NUM_FRAMES, *SIZE)
    settings: dict[str, Any] = {}
    if count > 1:
        settings = {"do_sample_frames": False, "video_metadata": [metadata(facts)], "return_metadata": True}
    if "mm_token_type_ids" in processor.model_input_names:
        settings["return_mm_token_type_ids"] = True
    output = processor.apply_chat_template(
        [conversation(texts, count)],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        sanitize_control_tokens=True,
        processor_kwargs=settings,
        **more,
    )
    return {name: value for name, value in output.items() if name != "video_metadata"}


def plain_loss(student: HfStudent, samples: list[TrainingSample]) -> Tensor:
    """The loss of a batch by transformers' own code, sample by sample."""
    processor = student.processor.clips.processor
    total, number = torch.zeros(()), 0
    for (count, texts), sample in zip(DIALOGS, samples, strict=True):
        labels = torch.tensor([sample.dialog.labels])
        supervised = int((labels[:, 1:] != IGNORED_LABEL).sum())
        loss = student.module(**plain_inputs(processor, texts, count), labels=labels).loss
        total, number = total + loss * supervised, number + supervised
    return total / number
