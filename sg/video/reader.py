"""The one way to frames: `read_frames` and `probe`, whatever library decodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sg.core.errors import ConfigError
from sg.video.frames import Frames, ReaderLimits, VideoInfo
from sg.video.sampling import FramePolicy, Timeline

BACKENDS = ("auto", "pyav", "decord", "torchcodec")
DEFAULT_LIMITS = ReaderLimits()


def check_backend(backend: str) -> str:
    """Return `backend` when it is a name we know; ConfigError otherwise."""
    if backend not in BACKENDS:
        raise ConfigError(f"no frame reader is called {backend!r}: choose one of {', '.join(BACKENDS)}")
    return backend


def read_frames(
    path: Path,
    select: Sequence[int] | FramePolicy,
    backend: str = "auto",
    limits: ReaderLimits = DEFAULT_LIMITS,
) -> Frames:
    """Decode frames of the film at `path`: those at given indices, or those that a sampling policy picks.

    `auto` is PyAV. A named backend is used as named and never silently replaced: the others refuse what they would read
    wrongly. Use inside the process that needs the frames; a hanging film is ended only in a `WorkerPool`.

    Raises:
        UnreadableVideoError: the film is missing, empty, no film, damaged, too large, or refused by the backend; its
            `status` names the class.
        DataError: an index lies outside the film.
        ConfigError: there is no such backend.
    """
    if check_backend(backend) == "decord":
        from sg.video import decord_reader

        return decord_reader.read(path, _choice(select), limits)
    if backend == "torchcodec":
        from sg.video import torchcodec_reader

        return torchcodec_reader.read(path, _choice(select), limits)
    from sg.video import pyav_reader

    return pyav_reader.read(path, _choice(select), limits)


def probe(path: Path, limits: ReaderLimits = DEFAULT_LIMITS) -> VideoInfo:
    """Count the frames of a film and decode its first one, with PyAV; raises as `read_frames` does."""
    from sg.video import pyav_reader

    return pyav_reader.probe(path, limits)


def _choice(select: Sequence[int] | FramePolicy) -> FramePolicy:
    return select if callable(select) else _Given(tuple(select))


class _Given:
    """Indices that the caller chose: the same for every film."""

    def __init__(self, indices: tuple[int, ...]) -> None:
        self.indices = indices

    def __call__(self, timeline: Timeline, /) -> tuple[int, ...]:
        return self.indices
