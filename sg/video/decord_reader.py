"""The decord backend, for those who ask for it by name: only the films that it is known to read right.

decord 0.6.0 returns wrong frames without an error in MPEG-TS, MPEG-PS, AVI, films cut by edit lists and films with open
groups of pictures, paints over damage, keeps decoding in the background while its reader lives, and can hang in native
code. So PyAV looks at the packets first, everything doubtful is refused, and the reading happens in a process that can
be killed.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.errors import ConfigError
from sg.video import pyav_reader
from sg.video.frames import CORRUPT, UNSUPPORTED, Frames, ReaderLimits, UnreadableVideoError, check_indices
from sg.video.packets import read_header
from sg.video.pyav_film import INDEXED_CONTAINERS, open_film
from sg.video.sampling import FramePolicy
from sg.video.workers import KillableWorker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIMEOUT_S = 60.0
_worker: KillableWorker | None = None


def read(path: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames:
    """Decode the frames that `choose` picks with decord; UnreadableVideoError when it would not do so rightly."""
    with open_film(path, limits) as film:
        header = read_header(film)
    packets = header.packets
    if header.container not in INDEXED_CONTAINERS:
        raise _refusal(path, f"it returns wrong frames in {header.container.split(',')[0]} films")
    if packets.num_discarded or not packets.stamps:
        raise _refusal(path, "it returns wrong frames in films that are cut by an edit list or lack time stamps")
    if packets.is_open:
        raise _refusal(path, "it seeks wrongly in films with open groups of pictures")
    if packets.num_zeroed or packets.is_gapped or len(packets.stamps) != packets.count:
        raise UnreadableVideoError(CORRUPT, f"{path.name}: the film is damaged, and decord would paint over it")
    chosen = check_indices(path, choose(header.timeline()), header.num_frames)
    first = pyav_reader.read(path, lambda _: [0], limits)
    pictures = _call(path.absolute(), chosen, header.num_frames)  # the worker may stand in another folder
    return Frames(
        frames=pictures,
        indices=tuple(chosen),
        fps=header.fps,
        num_frames=header.num_frames,
        duration_s=header.duration_s(header.num_frames),
        width=pictures.shape[2],
        height=pictures.shape[1],
        rotation=first.rotation,
        codec=header.codec,
        num_bad=0,
        num_substituted=0,
    )


def _call(path: Path, chosen: list[int], num_frames: int) -> NDArray[np.uint8]:
    """Run decord here when this process is a worker that others watch, else in a worker of our own."""
    global _worker
    if multiprocessing.parent_process() is not None:
        return decode_with_decord(path, chosen, num_frames)
    _worker = _worker or KillableWorker()
    pictures: NDArray[np.uint8] = _worker.call(decode_with_decord, path, chosen, num_frames, timeout_s=TIMEOUT_S)
    return pictures


def decode_with_decord(path: Path, chosen: list[int], num_frames: int) -> NDArray[np.uint8]:
    """The chosen frames, uint8 [T, H, W, 3]; runs native code that can hang, so call it where it can be killed."""
    decord = _import_decord()
    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        counted = len(reader)
        pictures: NDArray[np.uint8] | None = reader.get_batch(chosen).asnumpy() if counted == num_frames else None
        # While the reader lives it decodes on in the background, without bound.
        del reader
    except (decord.DECORDError, RuntimeError) as error:
        text = str(error).strip().splitlines()[-1][-160:]
        raise UnreadableVideoError(UNSUPPORTED, f"{path.name}: decord cannot read it ({text})") from None
    if pictures is None:
        raise _refusal(path, f"it counts {counted} frames where the film has {num_frames}")
    return pictures


def _import_decord() -> Any:
    try:
        import decord
    except ImportError:
        raise ConfigError("the reader decord is not installed: `pip install decord`, or use the reader pyav") from None
    if not decord.__version__.startswith("0."):
        raise ConfigError(
            f"the installed decord {decord.__version__} is decord2, which returns wrong frames on ordinary films: "
            "install decord 0.6.0, or use the reader pyav"
        )
    return decord


def _refusal(path: Path, why: str) -> UnreadableVideoError:
    return UnreadableVideoError(UNSUPPORTED, f"{path.name}: refused for decord, because {why}; use the reader pyav")
