"""A clip as models see it: the facts that are known before its frames are decoded, and the tensors made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What decides the place of a clip in a prompt: which frames are shown, when, and how large they are.

    Attributes:
        frame_indices: indices of the sampled frames in the file.
        fps: frame rate of the file, in frames per second; 0 for an image.
        num_frames: frames of the whole file; 1 for an image.
        width, height: of a frame as shown, in pixels; 0 where visual tokens of earlier versions do not record them.
        text: what stands for the clip in a prompt, where that depends on what the frames show; otherwise empty.
    """

    frame_indices: Sequence[int]
    fps: float
    num_frames: int
    width: int = 0
    height: int = 0
    text: str = ""

    @property
    def is_image(self) -> bool:
        """True for an image, which has no frame rate."""
        return self.fps == 0


@dataclass(frozen=True, slots=True)
class ClipTensors:
    """What represents a clip in a batch.

    Attributes:
        key: names the clip; it is the same on every machine and in every run.
        tensors: by name, the features of the frozen part of a model, or the pixel values that it computes them from.
        are_features: True for features.
    """

    key: str
    facts: ClipFacts
    tensors: Mapping[str, Tensor]
    are_features: bool
