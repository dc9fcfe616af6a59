"""The default frame reader: PyAV, which finds frames by their time stamps where a container has them, else by counting.

Every rule here was found with video files whose pictures show their frame number (docs/reference/internvideo2.md,
section 9). Seeking returns wrong frames in MPEG-TS, MPEG-PS and AVI, and headers count frames that do not exist. So
frames of mp4 and Matroska files are found by the time stamps of the packets, the stamp of every delivered frame is
checked, and all other files are decoded from the start.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from av.video.reformatter import VideoReformatter

from sg.core.places.ranges import size_of
from sg.video.frames import CORRUPT, TOO_LARGE, Frames, ReaderLimits, UnreadableVideoError, VideoInfo, check_indices
from sg.video.mp4_index import Grid, presumed_header
from sg.video.open_video import STAMPED_CONTAINERS, OpenVideo, decode, open_video_file
from sg.video.orientation import as_shown, orientation
from sg.video.packets import Header, Packets, read_header, without_torn_end
from sg.video.sampling import FramePolicy, Timeline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class _Found:
    """Pictures by frame index, and the damage that was met while decoding them."""

    def __init__(self, video: OpenVideo, limits: ReaderLimits, num_frames: int = 0) -> None:
        self.pictures: dict[int, NDArray[np.uint8]] = {}
        self.num_frames = num_frames
        self.substituted: set[int] = set()
        self.num_bad = self.rotation = 0
        self.mirrored = False
        self._name, self._max_bytes = video.path.name, limits.max_output_bytes
        # One converter for all pictures: its setup takes ten times as long as the conversion of a small picture.
        self._converter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def keep(self, index: int, picture: Any) -> None:
        """Convert a decoded picture to RGB, as shown. All pictures of a video get the size of the first one."""
        self._size = self._size or (picture.width, picture.height)
        rgb: Any = self._converter.reformat(picture, *self._size, format="rgb24", threads=1).to_ndarray()
        turns, self.mirrored = orientation(picture)
        self.rotation = turns * 90
        self.pictures[index] = as_shown(rgb, turns, self.mirrored)
        if len(self.pictures) * rgb.nbytes > self._max_bytes:
            size = f"{rgb.shape[1]}x{rgb.shape[0]}"
            raise UnreadableVideoError(
                TOO_LARGE, f"{self._name}: the wanted frames of {size} are more than {self._max_bytes} bytes"
            )


class _WrongFrameError(Exception):
    """Seeking did not return exactly the wanted frame."""


def read(path: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames:
    """Decode the frames that `choose` picks.

    The ways to read are tried from the fastest to the slowest: by the index of an mp4, by seeking to time stamps,
    from the start by time stamps, from the start by counting. Each is left where it does not prove right.

    Raises:
        UnreadableVideoError: the frames are lost, or larger than `limits` allow.
    """
    return _by_index(path, choose, limits) or _by_packets(path, choose, limits)


def _by_index(path: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames | None:
    """The frames of an ordinary mp4, found without listing its packets; None where the presumption fails."""
    with open_video_file(path, limits) as video:
        presumed = presumed_header(video)
        if presumed is None:
            return None
        header, grid = presumed
        chosen = check_indices(path, choose(header.timeline()), header.num_frames)
        try:
            found = _seeking(video, header.packets, sorted(set(chosen)), limits, grid)
        except _WrongFrameError:
            return None
    return _frames(path, header, chosen, found, limits)


def _by_packets(path: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames:
    found = None
    with open_video_file(path, limits) as video:
        header = read_header(video)
        chosen = check_indices(path, choose(header.timeline()), header.num_frames)
        if header.packets.stamps:
            with contextlib.suppress(_WrongFrameError):
                found = _seeking(video, header.packets, sorted(set(chosen)), limits)
    if found is None and header.packets.stamps:
        found = _by_stamps(path, header.packets, sorted(set(chosen)), limits)
    if found is None:
        chosen, found = _by_counting(path, header, choose, chosen, limits)
    return _frames(path, header, chosen, found, limits)


def probe(path: Path, limits: ReaderLimits) -> VideoInfo:
    """Count the frames of a video file and decode its first one; UnreadableVideoError where that fails."""
    with open_video_file(path, limits) as video:
        header = read_header(video)
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


def _seeking(
    video: OpenVideo, packets: Packets, wanted: list[int], limits: ReaderLimits, grid: Grid | None = None
) -> _Found:
    """Decode frames in ascending order, with one seek for all that follow the same key frame.

    With a `grid` the packets are only presumed, and `Grid.proves` checks each group of pictures.
    """
    found, keys = _Found(video, limits, len(packets.stamps)), packets.keys
    targets = {packets.stamps[index] for index in wanted}
    groups = groupby(wanted, key=lambda index: keys[bisect_right(keys, packets.stamps[index]) - 1])
    if video.file is not None:
        video.file.expect(list(_parts_of_file(video, keys)))
    for key, indices in groups:
        if not video.seek(key):
            raise _WrongFrameError
        read: list[int | None] = []
        pictures, target = decode(video, targets, read), key
        for index in indices:
            target = packets.stamps[index]
            found.keep(index, _next_at(pictures, target))
        if grid is not None and not grid.proves(target, key, read):
            raise _WrongFrameError
    return found


def _parts_of_file(video: OpenVideo, keys: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where the groups of pictures lie in the file, each [start, end); nothing if the file has no such index."""
    places = sorted(entry.pos for entry in video.stream.index_entries if entry.is_keyframe)
    if len(places) == len(keys):
        yield from pairwise([*places, size_of(video.path)])


def _next_at(pictures: Iterator[tuple[Any, bool]], target: int) -> Any:
    """Decode up to the frame with exactly this stamp, which must be whole."""
    for picture, is_whole in pictures:
        if picture is None or picture.pts is None or picture.pts > target:
            break
        if picture.pts == target and is_whole:
            return picture
    raise _WrongFrameError


def _by_stamps(path: Path, packets: Packets, wanted: list[int], limits: ReaderLimits) -> _Found | None:
    """Decode from the start and match time stamps.

    None where frames are missing from an undamaged file: the stamps are then not those of the frames. VP8 and VP9, for
    example, store hidden frames in packets of their own.
    """
    with open_video_file(path, limits) as video:
        found = _substituting(video, ((index, packets.stamps[index]) for index in wanted), limits)
    found.num_frames = len(packets.stamps)
    return None if found.substituted and not found.num_bad else found


def _substituting(video: OpenVideo, wanted: Iterable[tuple[int, int]], limits: ReaderLimits) -> _Found:
    """Match (index, stamp) pairs from the start of the file.

    A lost frame is replaced by the last good one before it, or by the first good one where there is none before it.
    """
    found, queue, last = _Found(video, limits), deque(wanted), None

    def substitute(picture: Any) -> None:
        index, _ = queue.popleft()
        found.substituted.add(index)
        found.keep(index, picture)

    for picture, whole in decode(video):
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
    found.num_bad = video.num_bad
    return found


def _by_counting(
    path: Path, header: Header, choose: FramePolicy, chosen: list[int], limits: ReaderLimits
) -> tuple[list[int], _Found]:
    """Pictures by their position from the start.

    The number of packets is only roughly the number of frames. Where decoding finds another number, the policy is
    asked again with it.
    """
    with open_video_file(path, limits) as video:
        found = _counting(video, set(chosen), limits)
    if not found.num_frames:
        raise UnreadableVideoError(CORRUPT, f"{path.name}: none of its {header.num_frames} packets can be decoded")
    if found.num_frames == header.num_frames:
        return chosen, found
    exact = check_indices(path, choose(Timeline(found.num_frames, header.fps)), found.num_frames)
    if exact != chosen:
        with open_video_file(path, limits) as video:
            found = _counting(video, set(exact), limits)
    return exact, found


def _counting(video: OpenVideo, wanted: set[int], limits: ReaderLimits) -> _Found:
    """Count frames from the first whole one to the last whole one.

    A lost frame keeps its index and is replaced by the last good one. After it the count is uncertain, because a bad
    packet may hold no frame or several, so every later frame counts as substituted.
    """
    found, last, damaged_at = _Found(video, limits), None, None
    stamps: list[int] = []
    for position, (picture, whole) in enumerate(decode(video)):
        if whole and picture is not None:
            last, found.num_frames = picture, position + 1
            stamps += [picture.pts] if picture.pts is not None else []
        elif damaged_at is None:
            damaged_at = position
        if position in wanted and last is not None:
            found.keep(position, last)
    found.num_bad = video.num_bad
    if damaged_at is not None and damaged_at < found.num_frames:
        found.substituted = {index for index in wanted if index >= damaged_at}
    elif len(stamps) == found.num_frames and video.container.format.name in STAMPED_CONTAINERS:
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
        mirrored=found.mirrored,
    )
