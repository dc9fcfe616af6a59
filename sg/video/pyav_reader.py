"""The default frame reader: PyAV, exact by time stamp where the container has them, by counting elsewhere.

Films that carry their frame number in the picture decided every rule here: seeking returns wrong frames in MPEG-TS,
MPEG-PS and AVI, and headers count frames that are not there. So frames are found by the time stamps of the packets in
mp4 and Matroska, what is delivered is checked against what was asked, and everything else is decoded from the start.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from av.video.reformatter import VideoReformatter

from sg.video.frames import (
    CORRUPT,
    TOO_LARGE,
    Frames,
    ReaderLimits,
    UnreadableVideoError,
    VideoInfo,
    check_indices,
)
from sg.video.mp4_index import Grid, presumed_header
from sg.video.packets import Header, Packets, read_header, without_torn_end
from sg.video.pyav_film import STAMPED_CONTAINERS, Film, decode, open_film
from sg.video.sampling import FramePolicy, Timeline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class _Found:
    """Pictures by frame index, and what happened on the way."""

    def __init__(self, film: Film, limits: ReaderLimits, num_frames: int = 0) -> None:
        self.pictures: dict[int, NDArray[np.uint8]] = {}
        self.num_frames = num_frames
        self.substituted: set[int] = set()
        self.num_bad = self.rotation = 0
        self._name, self._max_bytes = film.path.name, limits.max_output_bytes
        # One for all pictures: setting it up costs ten times as much as converting a small picture.
        self._converter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def keep(self, index: int, picture: Any) -> None:
        """Convert a decoded picture to RGB as shown. All pictures of a film get the size of its first one."""
        import numpy as np

        self._size = self._size or (picture.width, picture.height)
        rgb: Any = self._converter.reformat(picture, *self._size, format="rgb24", threads=1).to_ndarray()
        turns = round(picture.rotation / 90) % 4
        self.rotation = turns * 90
        self.pictures[index] = np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb
        if len(self.pictures) * rgb.nbytes > self._max_bytes:
            size = f"{rgb.shape[1]}x{rgb.shape[0]}"
            raise UnreadableVideoError(
                TOO_LARGE, f"{self._name}: the wanted frames of {size} are more than {self._max_bytes} bytes"
            )


class _WrongFrameError(Exception):
    """Seeking did not deliver exactly the frame that was asked for."""


def read(path: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames:
    """Decode the frames that `choose` picks; UnreadableVideoError when the film does not give them."""
    return _by_index(path, choose, limits) or _by_packets(path, choose, limits)


def _by_index(path: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames | None:
    """The frames of an ordinary mp4, found without listing its packets; None where that does not prove right."""
    with open_film(path, limits) as film:
        presumed = presumed_header(film)
        if presumed is None:
            return None
        header, grid = presumed
        chosen = check_indices(path, choose(header.timeline()), header.num_frames)
        try:
            found = _seeking(film, header.packets, sorted(set(chosen)), limits, grid)
        except _WrongFrameError:
            return None
    return _frames(path, header, chosen, found, limits)


def _by_packets(path: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames:
    found = None
    with open_film(path, limits) as film:
        header = read_header(film)
        chosen = check_indices(path, choose(header.timeline()), header.num_frames)
        if header.packets.stamps:
            with contextlib.suppress(_WrongFrameError):
                found = _seeking(film, header.packets, sorted(set(chosen)), limits)
    if found is None and header.packets.stamps:
        found = _by_stamps(path, header.packets, sorted(set(chosen)), limits)
    if found is None:
        chosen, found = _by_counting(path, header, choose, chosen, limits)
    return _frames(path, header, chosen, found, limits)


def probe(path: Path, limits: ReaderLimits) -> VideoInfo:
    """Count the frames of a film and decode its first one; UnreadableVideoError when that fails."""
    with open_film(path, limits) as film:
        header = read_header(film)
    first = read(path, lambda timeline: [0], limits)
    return VideoInfo(
        num_frames=first.num_frames,
        fps=first.fps,
        duration_s=first.duration_s,
        width=first.width,
        height=first.height,
        rotation=first.rotation,
        codec=first.codec,
        container=header.container,
        declared_frames=header.declared_frames,
    )


def _seeking(film: Film, packets: Packets, wanted: list[int], limits: ReaderLimits, grid: Grid | None = None) -> _Found:
    """Visit frames in ascending order, one seek for all that follow the same key frame.

    With a `grid` the packets are only presumed, and the frames must prove that they have their places.
    """
    found, keys = _Found(film, limits, len(packets.stamps)), packets.keys
    targets = {packets.stamps[index] for index in wanted}
    groups = groupby(wanted, key=lambda index: keys[bisect_right(keys, packets.stamps[index]) - 1])
    for key, indices in groups:
        if not film.seek(key):
            raise _WrongFrameError
        read: list[int | None] = []
        pictures, target = decode(film, targets, read), key
        for index in indices:
            target = packets.stamps[index]
            found.keep(index, _next_at(pictures, target))
        if grid is not None and not grid.proves(target, key, read):
            raise _WrongFrameError
    return found


def _next_at(pictures: Iterator[tuple[Any, bool]], target: int) -> Any:
    """Decode on to the whole frame with exactly this stamp."""
    for picture, is_whole in pictures:
        if picture is None or picture.pts is None or picture.pts > target:
            break
        if picture.pts == target and is_whole:
            return picture
    raise _WrongFrameError


def _by_stamps(path: Path, packets: Packets, wanted: list[int], limits: ReaderLimits) -> _Found | None:
    """Decode from the start and match stamps; None when the stamps are not those of the frames, without any damage.

    (VP8 and VP9 keep hidden frames in packets of their own.)
    """
    with open_film(path, limits) as film:
        found = _substituting(film, ((index, packets.stamps[index]) for index in wanted), limits)
    found.num_frames = len(packets.stamps)
    return None if found.substituted and not found.num_bad else found


def _substituting(film: Film, wanted: Iterable[tuple[int, int]], limits: ReaderLimits) -> _Found:
    """Match (index, stamp) from the start; a lost frame is replaced by the last good one, before all by the first."""
    found, queue, last = _Found(film, limits), deque(wanted), None

    def substitute(picture: Any) -> None:
        index, _ = queue.popleft()
        found.substituted.add(index)
        found.keep(index, picture)

    for picture, whole in decode(film):
        if picture is None or not whole or picture.pts is None:
            continue
        while queue and queue[0][1] < picture.pts:
            substitute(last or picture)
        if queue and queue[0][1] == picture.pts:
            found.keep(queue.popleft()[0], picture)
        if not queue:
            break
        last = picture
    while queue and last is not None:
        substitute(last)
    found.num_bad = film.num_bad
    return found


def _by_counting(
    path: Path, header: Header, choose: FramePolicy, chosen: list[int], limits: ReaderLimits
) -> tuple[list[int], _Found]:
    """Pictures by their place from the start. Packets tell about how many frames there are, decoding tells exactly."""
    with open_film(path, limits) as film:
        found = _counting(film, set(chosen), limits)
    if not found.num_frames:
        raise UnreadableVideoError(CORRUPT, f"{path.name}: none of its {header.num_frames} packets can be decoded")
    if found.num_frames == header.num_frames:
        return chosen, found
    exact = check_indices(path, choose(Timeline(found.num_frames, header.fps)), found.num_frames)
    if exact != chosen:
        with open_film(path, limits) as film:
            found = _counting(film, set(exact), limits)
    return exact, found


def _counting(film: Film, wanted: set[int], limits: ReaderLimits) -> _Found:
    """Count frames from the first whole one to the last whole one.

    A lost frame keeps its place, filled by the last good one. Behind it the count is a guess, so every later frame
    counts as substituted.
    """
    found, last, damaged_at = _Found(film, limits), None, None
    stamps: list[int] = []
    for position, (picture, whole) in enumerate(decode(film)):
        if whole and picture is not None:
            last, found.num_frames = picture, position + 1
            stamps += [picture.pts] if picture.pts is not None else []
        elif damaged_at is None:
            damaged_at = position
        if position in wanted and last is not None:
            found.keep(position, last)
    found.num_bad = film.num_bad
    if damaged_at is not None and damaged_at < found.num_frames:
        found.substituted = {index for index in wanted if index >= damaged_at}
    elif len(stamps) == found.num_frames and film.container.format.name in STAMPED_CONTAINERS:
        found.num_frames = len(without_torn_end(stamps))
    return found


def _frames(path: Path, header: Header, chosen: list[int], found: _Found, limits: ReaderLimits) -> Frames:
    import numpy as np

    uncertain = header.packets.is_gapped
    lost = sum(uncertain or index in found.substituted for index in chosen)
    missing = [index for index in chosen if index not in found.pictures]
    if missing or lost > limits.max_substituted * len(chosen):
        raise UnreadableVideoError(
            CORRUPT,
            f"{path.name}: {len(missing) + lost} of {len(chosen)} wanted frames are lost ({found.num_bad} bad packets)",
        )
    first = found.pictures[chosen[0]]
    return Frames(
        frames=np.stack([found.pictures[index] for index in chosen]),
        indices=tuple(chosen),
        fps=header.fps,
        num_frames=found.num_frames,
        duration_s=header.duration_s(found.num_frames),
        width=first.shape[1],
        height=first.shape[0],
        rotation=found.rotation,
        codec=header.codec,
        num_bad=found.num_bad,
        num_substituted=lost,
    )
