"""The packets of a video file, listed without decoding: the number of frames, their times, and what is lost.

Headers count frames that do not exist, and demuxers skip damaged parts without an error. Where lost frames are unknown,
counting returns the wrong frames, so this module looks for the traces that a loss leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import av

from sg.core.places.ranges import opened, size_of
from sg.video.frames import NO_VIDEO, TRUNCATED, UnreadableVideoError
from sg.video.open_video import (
    INDEXED_CONTAINERS,
    MATROSKA,
    MP4,
    OpenVideo,
    collected_errors,
    demux,
    is_zeroed,
    num_held,
)
from sg.video.sampling import Timeline

_FALLBACK_FPS = 25.0
_MAX_REORDER = 17
"""Frames that may be shown after a frame of a later packet, and one: the codecs allow 16."""
_CUT = "ended prematurely"


@dataclass(frozen=True, slots=True)
class Packets:
    """What the packets of a video file show."""

    count: int
    """Packets with data, and those of held frames in an AVI: about the number of frames."""
    stamps: tuple[int, ...]
    """Sorted time stamps of the frames from the first key frame; empty where the stamps cannot be trusted."""
    keys: tuple[int, ...]
    """Sorted time stamps of the key frames."""
    num_discarded: int
    """Packets that an edit list hides."""
    num_zeroed: int
    """Packets with a run of zeros that no encoder writes."""
    is_open: bool
    """Whether some frames are shown before the key frame that precedes them in the file (open groups of pictures)."""
    is_gapped: bool
    """Whether an unknown number of packets is lost inside the file, so that the remaining frames cannot be numbered."""
    counted_span: int = 0
    """Time from the first to the last frame of an undamaged file that is read by counting; 0 where it is unknown."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a video file before a frame is decoded."""

    fps: float
    """Average rate, frames per second."""
    span_s: float
    """Seconds from the first to the last time stamp; 0 where there are none."""
    codec: str
    container: str
    declared_frames: int
    time_base: float
    packets: Packets
    last_s: float = 0.0
    """Seconds for which the last frame is shown; 0 where only the rate can tell."""

    @property
    def num_frames(self) -> int:
        """Number of frames, from the packets; decoding may find fewer where there are no time stamps."""
        return len(self.packets.stamps) or self.packets.count

    def timeline(self) -> Timeline:
        """The argument of a sampling policy."""
        stamps = self.packets.stamps
        times = tuple((stamp - stamps[0]) * self.time_base for stamp in stamps) if stamps else None
        return Timeline(self.num_frames, self.fps, times)

    def duration_s(self, num_frames: int) -> float:
        """Duration of the video, with its last frame."""
        return self.span_s + (self.last_s or 1 / self.fps) if self.span_s else num_frames / self.fps


def read_header(video: OpenVideo) -> Header:
    """List the packets of a file that was just opened; UnreadableVideoError if it has none."""
    packets = _list_packets(video)
    if not packets.count:
        status = TRUNCATED if video.stream.frames else NO_VIDEO
        raise UnreadableVideoError(status, f"{video.path.name}: its video stream holds no frames")
    stream, stamps = video.stream, packets.stamps
    time_base = float(stream.time_base or 0)
    span_s = (stamps[-1] - stamps[0]) * time_base if len(stamps) > 1 else 0.0
    declared = float(stream.average_rate or 0)
    measured = frame_rate(declared, len(stamps), span_s)
    if packets.counted_span:
        # Two packets can hold one frame (fields), so only a lower rate than the declared one is believed.
        limit = declared or float(stream.guessed_rate or 0)
        counted = frame_rate(limit, packets.count, packets.counted_span * time_base)
        measured = min(limit, counted) if limit else counted
    fps = measured or float(stream.guessed_rate or 0) or _FALLBACK_FPS
    rest_s = (video.container.duration or 0) / av.time_base - span_s
    last_s = rest_s if measured != declared and 0 < rest_s < 1 / fps else 0.0
    names = stream.codec.canonical_name, video.container.format.name
    return Header(fps, span_s, *names, stream.frames, time_base, packets, last_s)


def frame_rate(declared: float, num_frames: int, span_s: float) -> float:
    """The declared rate, or the measured one where that differs by more than 2 % and one frame; 0 where none is known.

    The headers of screen recordings, slide shows and browsers' recordings name the rate of a clock or of the first
    frames. The declared rate of other files is kept: their time stamps are rounded.
    """
    steps = num_frames - 1
    if span_s <= 0 or steps < 1 or (declared and abs(span_s * declared - steps) <= max(1.0, 0.02 * steps)):
        return declared
    return steps / span_s


class _Row(NamedTuple):
    pts: int | None
    dts: int | None
    pos: int | None
    size: int
    is_key: bool


def _list_packets(video: OpenVideo) -> Packets:
    rows: list[_Row] = []
    hidden_keys: list[int] = []
    discarded = zeroed = 0
    num_indexed = len(list(video.stream.index_entries)) if video.container.format.name == "avi" else 0
    with collected_errors(video.demux_errors):
        for packet in demux(video):
            if packet.is_discard:
                discarded += 1
                hidden_keys += [packet.pts] if packet.is_keyframe and packet.pts is not None else []
            elif packet.size and not packet.is_corrupt:
                zeroed += is_zeroed(video, packet)
                rows.append(_Row(packet.pts, packet.dts, packet.pos, packet.size, packet.is_keyframe))
    container = video.container.format.name
    # A file that was cut off (an interrupted download) shows in one of three ways: the demuxer logs it, the index names
    # more frames than there are, or the header of a Matroska file names a later end.
    is_cut = (
        any(_CUT in text for text in video.demux_errors)
        or len(rows) + discarded < video.stream.frames
        or _is_short(video, rows)
    )
    stamps, keys = _stamps(rows, hidden_keys, container, is_cut) if container in INDEXED_CONTAINERS else ((), ())
    held = sum(num_held(video, before.dts, after.dts) for before, after in pairwise(rows))
    if container == "avi":  # where its index names as many packets as there are, only the header is wrong
        is_gapped = num_indexed != len(rows) and _avi_is_gapped(video, len(rows) + held)
    else:
        skipped = container == MATROSKA and any(_CUT not in text for text in video.demux_errors)
        is_gapped = container != MP4 and (skipped or _skips_time_and_bytes(rows))
    is_sound = container != "avi" and not (stamps or is_cut or is_gapped or zeroed or video.num_bad)
    span = _span(rows) if is_sound else 0
    return Packets(len(rows) + held, stamps, keys, discarded, zeroed, _is_open(rows), is_gapped, span)


def _span(rows: Sequence[_Row]) -> int:
    """Time from the first to the last packet; 0 where a time is unknown or the clock runs backwards."""
    times = [row.dts for row in rows]
    known = [time for time in times if time is not None]
    if not known or len(known) < len(times) or any(after < before for before, after in pairwise(known)):
        return 0
    return known[-1] - known[0]


def _stamps(
    rows: Sequence[_Row], hidden_keys: Sequence[int], container: str, is_cut: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sorted time stamps of the frames and of the key frames; ((), ()) where they cannot be trusted.

    They cannot where frames lack a stamp or share one, or where there is no key frame: an index into the stamps would
    then name another frame than the decoder returns.
    """
    stamps = sorted(row.pts for row in rows if row.pts is not None)
    keys = {row.pts for row in rows if row.is_key and row.pts is not None}
    keys |= set(hidden_keys)
    if container == MP4 and not hidden_keys:
        keys |= set(stamps[:1])  # damage can remove the mark of the first key frame
    if len(set(stamps)) < len(rows) or not keys:
        return (), ()
    stamps = [stamp for stamp in stamps if stamp >= min(keys)]
    if not stamps:
        return (), ()
    if is_cut:
        last_dts = max((row.dts for row in rows if row.dts is not None), default=stamps[-1])
        # A frame is decoded no later than it is shown, so all frames up to the last decoding time exist. Behind it,
        # frames are missing in between, because the file holds them in the order of decoding.
        stamps = without_torn_end([stamp for stamp in stamps if stamp <= last_dts] or stamps[:1])
    return tuple(stamps), tuple(sorted(key for key in keys if key <= stamps[-1]))


def _is_open(rows: Sequence[_Row]) -> bool:
    """Whether a frame is shown before the last key frame that precedes it in the file."""
    key = None
    for row in rows:
        if row.is_key:
            key = row.pts
        elif key is not None and row.pts is not None and row.pts < key:
            return True
    return False


def _is_short(video: OpenVideo, rows: Sequence[_Row]) -> bool:
    """Whether a Matroska file ends more than a second before the end that its header names."""
    last = max((row.pts for row in rows if row.pts is not None), default=None)
    if video.container.format.name != MATROSKA or not video.container.duration or last is None:
        return False
    return bool(video.container.duration / av.time_base - last * video.stream.time_base > 1)


def without_torn_end(stamps: list[int]) -> list[int]:
    """The sorted stamps up to a gap among the last few.

    Where a file is cut off, frames behind such a gap were stored before a frame that is lost.
    """
    steps = [after - before for before, after in pairwise(stamps)]
    for place in range(max(0, len(steps) - _MAX_REORDER), len(steps)):
        if steps[place] > 1.5 * median(steps):
            return stamps[: place + 1]
    return stamps


def _skips_time_and_bytes(rows: Sequence[_Row]) -> bool:
    """Whether time stamps and file positions jump at the same place: a part that the demuxer could not read.

    Time stamps alone jump in videos of variable frame rate; positions alone jump over the sound between the packets.
    """
    placed = [(row.dts, row.pos, row.size) for row in rows if row.dts is not None and row.pos is not None]
    steps = [(after[0] - before[0], after[1] - before[1] - before[2]) for before, after in pairwise(placed)]
    if len(steps) < 2 or placed[-1][0] <= placed[0][0]:
        return False
    usual = median(time for time, _ in steps)
    # A lost frame doubles the step (1.9 allows for rounding), and about a frame's bytes are missing (half of the mean:
    # frames differ in size).
    bytes_per_tick = (placed[-1][1] - placed[0][1]) / (placed[-1][0] - placed[0][0])
    return any(time >= 1.9 * usual and skipped > 0.5 * time * bytes_per_tick for time, skipped in steps)


def _avi_is_gapped(video: OpenVideo, count: int) -> bool:
    """Whether an AVI holds fewer packets than its header counts, although the file has its full length.

    A difference of one is accepted: many encoders count one frame too many.
    """
    if video.stream.frames - count <= 1:
        return False
    with opened(video.path) as stream:
        head = stream.read(8)
    return size_of(video.path) >= int.from_bytes(head[4:8], "little") + 8
