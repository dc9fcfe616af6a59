"""`read_frames` and `probe`: the entry points to all frame readers."""

import os
from collections.abc import Sequence
from pathlib import Path

from sg.core.errors import ConfigError
from sg.video.frames import Frames, ReaderLimits, VideoInfo
from sg.video.sampling import FramePolicy, Timeline

BACKENDS = ("auto", "pyav", "decord", "torchcodec")
DEFAULT_LIMITS = ReaderLimits()


def check_backend(backend: str) -> str:
    """Return `backend` where it names a reader; ConfigError otherwise."""
    if backend not in BACKENDS:
        raise ConfigError(f"no frame reader is called {backend!r}: choose one of {', '.join(BACKENDS)}")
    return backend


def read_frames(
    path: Path, select: Sequence[int] | FramePolicy, backend: str = "auto", limits: ReaderLimits = DEFAULT_LIMITS
) -> Frames:
    """Decode frames of the video file at `path`: those at given indices, or those that a sampling policy picks.

    A folder is a video of pictures (`sg.video.pictures`), which no backend decodes.

    `auto` is PyAV. A backend is never silently replaced by another one: decord and torchcodec refuse the files that
    they would read wrongly. A file that blocks its decoder can be ended only in a `WorkerPool`.

    Raises:
        UnreadableVideoError: the file is missing, empty, not a video, damaged, too large, or refused by the backend;
            `status` names the class of the problem.
        DataError: an index is outside of the video.
        ConfigError: there is no such backend.
    """
    check_backend(backend)
    if os.path.isdir(path):  # noqa: PTH112 - False, not an error, where a folder above may not be read
        from sg.video import pictures

        return pictures.read(path, _choice(select), limits)
    if backend == "decord":
        from sg.video import decord_reader

        return decord_reader.read(path, _choice(select), limits)
    if backend == "torchcodec":
        from sg.video import torchcodec_reader

        return torchcodec_reader.read(path, _choice(select), limits)
    from sg.video import pyav_reader

    return pyav_reader.read(path, _choice(select), limits)


def probe(path: Path, limits: ReaderLimits = DEFAULT_LIMITS) -> VideoInfo:
    """Count the frames of a video file and decode its first one, with PyAV. Raises the errors of `read_frames`."""
    from sg.video import pictures, pyav_reader

    if os.path.isdir(path):  # noqa: PTH112 - False, not an error, where a folder above may not be read
        return pictures.probe(path, limits)
    return pyav_reader.probe(path, limits)


def _choice(select: Sequence[int] | FramePolicy) -> FramePolicy:
    return select if callable(select) else _Given(tuple(select))


class _Given:
    """A sampling policy that returns the same given indices for every video."""

    def __init__(self, indices: tuple[int, ...]) -> None:
        self.indices = indices

    def __call__(self, timeline: Timeline, /) -> tuple[int, ...]:
        return self.indices
