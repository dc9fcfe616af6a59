"""What decord and torchcodec share: they read only files that they are known to read correctly, in a killable process.

Both return wrong frames without an error in some containers, conceal damage, and can block in native code. So PyAV
lists the packets first, doubtful files are refused, and the library runs in a worker process.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sg.core.places.ranges import far
from sg.video import pyav_reader
from sg.video.frames import CORRUPT, UNSUPPORTED, Frames, ReaderLimits, UnreadableVideoError, check_indices
from sg.video.open_video import INDEXED_CONTAINERS, open_video_file
from sg.video.packets import Header, read_header
from sg.video.sampling import FramePolicy
from sg.video.workers import KillableWorker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIMEOUT_S = 60.0
_worker: KillableWorker | None = None

Decode = Callable[[Path, list[int], int], "NDArray[np.uint8]"]
"""(path, indices of the wanted frames, number of frames of the video) -> uint8 [T, H, W, 3]."""


def read_checked(library: str, decode: Decode, path: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames:
    """Decode the frames that `choose` picks; UnreadableVideoError where `library` would not return the right ones."""
    if far(path) is not None:
        raise refusal(library, path, "it reads plain files of this machine only")
    with open_video_file(path, limits) as video:
        header = read_header(video)
    _check(library, path, header)
    chosen = check_indices(path, choose(header.timeline()), header.num_frames)
    first = pyav_reader.read(path, lambda _: [0], limits)
    if first.mirrored:
        raise refusal(library, path, "it shows mirrored videos as they are stored")
    pictures = _call(decode, path.absolute(), chosen, header.num_frames)  # the worker may have another working folder
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
    """The error for a file that a library would read wrongly."""
    return UnreadableVideoError(UNSUPPORTED, f"{path.name}: refused for {library}, because {why}; use the reader pyav")


def _check(library: str, path: Path, header: Header) -> None:
    packets = header.packets
    if header.container not in INDEXED_CONTAINERS:
        raise refusal(library, path, f"it returns wrong frames in {header.container.split(',')[0]} videos")
    if packets.num_discarded or not packets.stamps:
        raise refusal(
            library, path, "it returns wrong frames in videos that are cut by an edit list or lack time stamps"
        )
    if packets.is_open:
        raise refusal(library, path, "it seeks to wrong frames in videos with open groups of pictures")
    if packets.num_zeroed or packets.is_gapped or len(packets.stamps) != packets.count:
        raise UnreadableVideoError(CORRUPT, f"{path.name}: the video is damaged, and {library} would hide that")


def _call(decode: Decode, path: Path, chosen: list[int], num_frames: int) -> NDArray[np.uint8]:
    """Run the library in this process where it is a worker already, which its parent can kill, else in a new worker."""
    global _worker
    if multiprocessing.parent_process() is not None:
        return decode(path, chosen, num_frames)
    _worker = _worker or KillableWorker()
    pictures: NDArray[np.uint8] = _worker.call(decode, path, chosen, num_frames, timeout_s=TIMEOUT_S)
    return pictures
