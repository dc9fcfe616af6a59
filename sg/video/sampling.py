"""Which frames of a video to read: pure functions of its number of frames and its frame rate.

The functions return indices. The frozen classes hold the settings of a function, are called by the frame reader with
the `Timeline` of a video, and can be part of configs and identities and be sent to other processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sg.core.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a policy knows of a video before a frame is decoded."""

    num_frames: int
    fps: float
    """Average rate, frames per second."""
    times_s: tuple[float, ...] | None = None
    """Seconds at which each frame is shown, from 0; None where they are unknown before decoding."""


class FramePolicy(Protocol):
    """Chooses frames: ascending indices in 0..num_frames-1; an index may repeat."""

    def __call__(self, timeline: Timeline, /) -> Sequence[int]:
        """Indices of the wanted frames."""


def middle_of_segments(count: int, num_frames: int) -> list[int]:
    """Middle frames of `count` equal segments of a video (InternVideo2); short videos repeat their last frame.

    >>> middle_of_segments(4, 100), middle_of_segments(8, 5)
    ([12, 37, 62, 87], [0, 1, 2, 3, 4, 4, 4, 4])
    """
    _check_count(num_frames)
    borders = np.linspace(0, num_frames, min(count, num_frames) + 1).astype(int)
    middles = [int(index) for index in (borders[:-1] + borders[1:] - 1) // 2]
    return middles + [middles[-1]] * (count - len(middles))


def one_fps(
    num_frames: int,
    fps: float,
    max_frames: int = 64,
    target_fps: float = 1,
    start_s: int | None = None,
    end_s: int | None = None,
) -> list[int]:
    """Every `round(fps / target_fps)`-th frame from the first, thinned evenly to at most `max_frames` (Chat-UniVi).

    `start_s` and `end_s` (whole seconds) cut a range first: negative values mean 0, reversed bounds are swapped, equal
    bounds mean one second. The step is at least 1; the reference fails on videos of 0.5 frames per second and less.

    >>> one_fps(300, 25.0)
    [0, 25, 50, 75, 100, 125, 150, 175, 200, 225, 250, 275]
    """
    _check_count(num_frames)
    first, last = _range(num_frames, fps, start_s, end_s)
    positions = np.arange(first, last + 1, max(1, round(fps / target_fps)))
    if len(positions) > max_frames:
        positions = positions[np.linspace(0, len(positions) - 1, max_frames).astype(int)]
    return [int(position) for position in positions]


def at_fps(num_frames: int, fps: float, target_fps: float, max_frames: int | None = None) -> list[int]:
    """The frames nearest to (k + 0.5) / `target_fps` seconds, those beyond the end dropped (InternVideo2's `fpsX`).

    Of a video shorter than half an interval the middle frame is returned; the published code returns none.

    >>> at_fps(250, 25.0, 0.5)
    [25, 75, 125, 175, 225]
    """
    _check_count(num_frames)
    slots = np.arange(int(num_frames / fps * target_fps) + 2)
    positions = np.around((slots + 0.5) / target_fps * fps).astype(int)
    chosen = [int(position) for position in positions if position < num_frames]
    return (chosen or [num_frames // 2])[:max_frames]


def _range(num_frames: int, fps: float, start_s: int | None, end_s: int | None) -> tuple[int, int]:
    if start_s is None and end_s is None:
        return 0, num_frames - 1
    start: float = max(start_s or 0, 0)
    end: float = num_frames / fps if end_s is None else max(end_s, 0)
    start, end = min(start, end), max(start, end)
    if start == end:
        end = start + 1
    first, last = int(start * fps), min(int(end * fps), num_frames - 1)
    if first > last:
        raise DataError(
            f"the range starts at {start:g} s, but the video of {num_frames} frames ends at {num_frames / fps:.1f} s"
        )
    return first, last


def _check_count(num_frames: int) -> None:
    if num_frames < 1:
        raise DataError("cannot sample a video of 0 frames: expected at least one")


@dataclass(frozen=True, slots=True)
class MiddleOfSegments:
    """`count` frames, one from the middle of each of `count` equal parts, by index or (`by_time`) by time.

    The two differ on videos of variable frame rate; the published pipelines sample by index.
    """

    count: int
    by_time: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"cannot sample {self.count} frames: expected 1 or more")

    def __call__(self, timeline: Timeline, /) -> list[int]:
        """Indices of the wanted frames."""
        if not (self.by_time and timeline.times_s):
            return middle_of_segments(self.count, timeline.num_frames)
        times = np.asarray(timeline.times_s)
        length = times[-1] + (times[-1] / (len(times) - 1) if len(times) > 1 else 1.0)
        wanted = (np.arange(self.count) + 0.5) * length / self.count
        return [int(index) for index in np.searchsorted(times, wanted, side="right") - 1]


@dataclass(frozen=True, slots=True)
class OneFps:
    """Chat-UniVi's sampling (`one_fps`): about `target_fps` frames per second, at most `max_frames`."""

    max_frames: int = 64
    target_fps: float = 1.0
    start_s: int | None = None
    end_s: int | None = None

    def __post_init__(self) -> None:
        if self.max_frames < 1 or not self.target_fps > 0:
            raise ConfigError(
                f"cannot sample {self.max_frames} frames at {self.target_fps} per second: expected values above 0"
            )

    def __call__(self, timeline: Timeline, /) -> list[int]:
        """Indices of the wanted frames."""
        return one_fps(timeline.num_frames, timeline.fps, self.max_frames, self.target_fps, self.start_s, self.end_s)


@dataclass(frozen=True, slots=True)
class ByClock:
    """The frame shown at each `1 / target_fps` seconds from 0, at most `max_frames`; a frame that is held repeats.

    Unlike `OneFps` it keeps the times of videos of variable frame rate.
    """

    max_frames: int
    target_fps: float = 1.0

    def __call__(self, timeline: Timeline, /) -> list[int]:
        """Indices of the wanted frames."""
        if not timeline.times_s:
            return one_fps(timeline.num_frames, timeline.fps, self.max_frames, self.target_fps)
        times = np.asarray(timeline.times_s)
        clock = np.arange(0.0, times[-1] + 1e-6, 1 / self.target_fps)  # 1e-6: sums of time stamps are rounded
        indices = np.searchsorted(times, clock + 1e-6, side="right") - 1
        if len(indices) > self.max_frames:
            indices = indices[np.linspace(0, len(indices) - 1, self.max_frames).astype(int)]
        return [int(index) for index in indices]


@dataclass(frozen=True, slots=True)
class AllFrames:
    """Every frame of a video."""

    def __call__(self, timeline: Timeline, /) -> list[int]:
        """Indices of the wanted frames."""
        return list(range(timeline.num_frames))


def interior(count: int, num_frames: int, fps: float = 1.0, target_fps: float = 0.0) -> list[int]:
    """The `count` inner borders of `count` + 1 equal parts (Video-MME-v2); with `target_fps` all frames at that rate.

    >>> interior(4, 100)
    [20, 40, 60, 80]
    """
    _check_count(num_frames)
    if target_fps > 0:
        return [int(place * fps / target_fps) for place in range(int(num_frames / fps * target_fps))]
    step = num_frames / (count + 1)
    return [int(place * step) for place in range(1, count + 1)]


def middles_between(
    count: int, num_frames: int, fps: float, start_s: float | None = None, end_s: float | None = None, first: int = 0
) -> list[int]:
    """`count` frames between two times (MVBench); `first` is the number of the first frame, 1 in folders of pictures.

    If the times lie beyond the end, the indices run backwards or past the end, as officially.

    >>> middles_between(4, 101, 25.0)
    [12, 37, 62, 87]
    """
    _check_count(num_frames)
    low = max(first, round((-1e5 if start_s is None else start_s) * fps))
    high = min(round((1e5 if end_s is None else end_s) * fps), num_frames - 1 + first)
    part = (high - low) / count
    return [int(low + part / 2 + np.round(part * place)) for place in range(count)]


@dataclass(frozen=True, slots=True)
class Interior:
    """`interior` as a policy: the frames that Video-MME-v2 shows."""

    count: int

    def __call__(self, timeline: Timeline, /) -> list[int]:
        """Indices of the wanted frames."""
        return interior(self.count, timeline.num_frames)


@dataclass(frozen=True, slots=True)
class MiddlesBetween:
    """`middles_between` as a policy: the frames that MVBench shows of a video, or of a folder of pictures."""

    count: int
    start_s: float | None = None
    end_s: float | None = None
    first: int = 0

    def __call__(self, timeline: Timeline, /) -> list[int]:
        """Indices of the wanted frames, counted from 0. Those outside of the video become its first or last frame."""
        last = timeline.num_frames - 1
        found = middles_between(self.count, timeline.num_frames, timeline.fps, self.start_s, self.end_s, self.first)
        return sorted(min(max(index - self.first, 0), last) for index in found)
