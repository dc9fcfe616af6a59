"""What the frame readers return: frames, facts about a video file, and the error for a file without usable frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sg.core.errors import ConfigError, DataError
from sg.video.sampling import Timeline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MISSING = "missing"
EMPTY = "empty"
UNREADABLE = "unreadable"
NO_VIDEO = "no_video"
TRUNCATED = "truncated"
CORRUPT = "corrupt"
TOO_LARGE = "too_large"
UNSUPPORTED = "unsupported"
TIMEOUT = "timeout"
CRASHED = "crashed"


class UnreadableVideoError(DataError):
    """A video file without usable frames: `status` is the class of the problem, `reason` describes it in a sentence."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadableVideoError], tuple[str, str]]:
        return type(self), (self.status, self.reason)


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """How much memory a video file may take, and how much damage is accepted."""

    max_pixels: int = 2**26
    """Largest width x height (64 megapixels): a small file can claim a huge picture."""
    max_output_bytes: int = 2**32
    """Largest size of the decoded frames that one call returns."""
    max_substituted: float = 0.0
    """Fraction of the wanted frames that may be replaced by an earlier good one; 0 rejects a file where one is."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_substituted <= 1:
            raise ConfigError(
                f"max_substituted={self.max_substituted} is not a fraction: expected a number from 0 to 1"
            )


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video file after its packets were counted and its first frame was decoded."""

    num_frames: int
    fps: float
    duration_s: float
    width: int
    """Pixels as shown, that is after rotation."""
    height: int
    rotation: int
    """Degrees counter-clockwise by which the stored picture is rotated to be shown: 0, 90, 180 or 270."""
    codec: str
    container: str
    declared_frames: int
    """Number of frames that the header names; 0 where it names none."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The wanted frames of a video, in the order in which they were requested."""

    frames: NDArray[np.uint8]
    """uint8 [T, H, W, 3], RGB, rotated as shown."""
    indices: tuple[int, ...]
    """Indices of the requested frames."""
    fps: float
    num_frames: int
    """Frames of the whole video: counted, not read from a header."""
    duration_s: float
    width: int
    height: int
    rotation: int
    codec: str
    num_bad: int
    """Packets that could not be decoded."""
    num_substituted: int
    """Wanted frames that were lost and are replaced by the last good one before them."""
    mirrored: bool = False
    """Whether the stored pictures are mirrored, before they are rotated, to be shown."""

    @property
    def timeline(self) -> Timeline:
        """Number of frames and frame rate, the argument of the sampling policies."""
        return Timeline(self.num_frames, self.fps)


def check_indices(path: Path, chosen: Sequence[int], num_frames: int) -> list[int]:
    """The chosen indices as a list; DataError where there are none, or one is outside of the video."""
    if not chosen or min(chosen) < 0 or max(chosen) >= num_frames:
        asked = f"{min(chosen)}..{max(chosen)}" if chosen else "none"
        raise DataError(f"{path.name}: frames {asked} were requested, but the video has frames 0..{num_frames - 1}")
    return [int(index) for index in chosen]
