"""The header of an ordinary mp4 from its index alone, without reading its packets.

Listing 90,000 packets takes a second and reads the whole file; the index of an mp4 is in memory once the file is open.
The index holds the times of decoding, not the times at which frames are shown. A header from it therefore presumes a
constant frame rate and closed groups of pictures. The reader checks this for each group of pictures that it decodes,
and lists the packets where the check fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sg.core.places.ranges import size_of
from sg.video.open_video import MP4, OpenVideo
from sg.video.packets import Header, Packets, frame_rate

_CODECS = ("h264", "hevc", "av1")


@dataclass(frozen=True, slots=True)
class Grid:
    """The presumed time stamps of the frames: `first`, `first + step`, ..."""

    first: int
    step: int

    def proves(self, target: int, key: int, read: Sequence[int | None]) -> bool:
        """Whether the frame shown at `target` has the index that the grid assigns to it.

        Args:
            target: time stamp of the frame.
            key: time stamp of the key frame at or before it.
            read: stamps of the packets from the key frame on, in the order of the file. The key frame must come first,
                all stamps must be on the grid and none before the key frame, and none between key and target may lack.
        """
        if not read or read[0] != key:
            return False
        stamps = {stamp for stamp in read if stamp is not None and stamp >= key and (stamp - key) % self.step == 0}
        return len(stamps) == len(read) and stamps.issuperset(range(key, target, self.step))


def presumed_header(video: OpenVideo) -> tuple[Header, Grid] | None:
    """The header that the index of an mp4 describes, and its grid; None where the frame rate is not constant."""
    stream = video.stream
    if video.container.format.name != MP4 or stream.codec.canonical_name not in _CODECS or video.demux_errors:
        return None
    entries = list(stream.index_entries)
    if len(entries) < 2 or len(entries) != stream.frames or stream.start_time is None:
        return None
    times = [entry.timestamp for entry in entries]
    step = times[1] - times[0]
    if step <= 0 or times != list(range(times[0], times[0] + step * len(times), step)):
        return None
    if not entries[0].is_keyframe or any(entry.is_discard or entry.size <= 0 for entry in entries):
        return None
    if max(entry.pos + entry.size for entry in entries) > size_of(video.path):
        return None
    grid = Grid(stream.start_time, step)
    stamps = tuple(range(grid.first, grid.first + step * len(times), step))
    keys = tuple(stamp for stamp, entry in zip(stamps, entries, strict=True) if entry.is_keyframe)
    packets = Packets(len(stamps), stamps, keys, 0, 0, is_open=False, is_gapped=False)
    time_base = float(stream.time_base or 0)
    span_s = (stamps[-1] - stamps[0]) * time_base
    fps = frame_rate(float(stream.average_rate or 0), len(stamps), span_s)
    names = stream.codec.canonical_name, video.container.format.name
    return Header(fps, span_s, *names, stream.frames, time_base, packets), grid
