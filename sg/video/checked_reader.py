"""What the backends other than PyAV share: only films that they are known to read right, in a process one can kill.

decord and torchcodec return wrong frames without an error in some containers, paint over damage, and can hang in native
code. So PyAV looks at the packets first, everything doubtful is refused, and the library runs in a worker.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sg.video import pyav_reader
from sg.video.frames import CORRUPT, UNSUPPORTED, Frames, ReaderLimits, UnreadableVideoError, check_indices
from sg.video.packets import Header, read_header
from sg.video.pyav_film import INDEXED_CONTAINERS, open_film
from sg.video.sampling import FramePolicy
from sg.video.workers import KillableWorker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIMEOUT_S = 60.0
_worker: KillableWorker | None = None

Decode = Callable[[Path, list[int], int], "NDArray[np.uint8]"]
"""(film, wanted frames, frames in the film) to uint8 [T, H, W, 3]."""


def read_checked(library: str, decode: Decode, path: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames:
    """Decode the frames that `choose` picks; UnreadableVideoError when `library` would not do so rightly."""
    with open_film(path, limits) as film:
        header = read_header(film)
    _check(library, path, header)
    chosen = check_indices(path, choose(header.timeline()), header.num_frames)
    first = pyav_reader.read(path, lambda _: [0], limits)
    pictures = _call(decode, path.absolute(), chosen, header.num_frames)  # the worker may stand in another folder
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


def refusal(library: str, path: Path, why: str) -> UnreadableVideoError:
    """The error that says why a library is not trusted with a film."""
    return UnreadableVideoError(UNSUPPORTED, f"{path.name}: refused for {library}, because {why}; use the reader pyav")


def _check(library: str, path: Path, header: Header) -> None:
    packets = header.packets
    if header.container not in INDEXED_CONTAINERS:
        raise refusal(library, path, f"it returns wrong frames in {header.container.split(',')[0]} films")
    if packets.num_discarded or not packets.stamps:
        raise refusal(
            library, path, "it returns wrong frames in films that are cut by an edit list or lack time stamps"
        )
    if packets.is_open:
        raise refusal(library, path, "it seeks wrongly in films with open groups of pictures")
    if packets.num_zeroed or packets.is_gapped or len(packets.stamps) != packets.count:
        raise UnreadableVideoError(CORRUPT, f"{path.name}: the film is damaged, and {library} would paint over it")


def _call(decode: Decode, path: Path, chosen: list[int], num_frames: int) -> NDArray[np.uint8]:
    """Run the library here when this process is a worker that others watch, else in a worker of our own."""
    global _worker
    if multiprocessing.parent_process() is not None:
        return decode(path, chosen, num_frames)
    _worker = _worker or KillableWorker()
    pictures: NDArray[np.uint8] = _worker.call(decode, path, chosen, num_frames, timeout_s=TIMEOUT_S)
    return pictures
