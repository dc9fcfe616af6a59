"""The header of an ordinary mp4 from its index alone, without reading its packets.

Listing 90,000 packets takes a second and reads the whole file; the index of an mp4 is in memory once it is open. It
holds decoding times, not the times at which frames are shown, so a header from it is a presumption: frames at a
constant rate in closed groups of pictures. The reader proves it group by group, and lists the packets when it fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sg.video.packets import Header, Packets
from sg.video.pyav_film import MP4, Film

_CODECS = ("h264", "hevc", "av1")


@dataclass(frozen=True, slots=True)
class Grid:
    """The presumed time stamps: `first`, `first + step`, ..."""

    first: int
    step: int

    def proves(self, target: int, key: int, read: Sequence[int | None]) -> bool:
        """Whether the frame shown at `target` has the place in the film that the grid gives it.

        `read` are the stamps of the packets from the key frame on, in the order of the file. All must be on the grid
        and none before the key frame, which must come first; and every place from it to the target must be taken.
        """
        if not read or read[0] != key:
            return False
        stamps = {stamp for stamp in read if stamp is not None and stamp >= key and (stamp - key) % self.step == 0}
        return len(stamps) == len(read) and stamps.issuperset(range(key, target, self.step))


def presumed_header(film: Film) -> tuple[Header, Grid] | None:
    """The header as the index tells it; None where the film is not an ordinary one of constant rate."""
    stream = film.stream
    if film.container.format.name != MP4 or stream.codec.canonical_name not in _CODECS or film.complaints:
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
    if max(entry.pos + entry.size for entry in entries) > film.path.stat().st_size:
        return None
    grid = Grid(stream.start_time, step)
    stamps = tuple(range(grid.first, grid.first + step * len(times), step))
    keys = tuple(stamp for stamp, entry in zip(stamps, entries, strict=True) if entry.is_keyframe)
    packets = Packets(len(stamps), stamps, keys, 0, 0, is_open=False, is_gapped=False)
    time_base = float(stream.time_base or 0)
    span_s = (stamps[-1] - stamps[0]) * time_base
    fps = float(stream.average_rate or 0) or (len(stamps) - 1) / span_s
    names = stream.codec.canonical_name, film.container.format.name
    return Header(fps, span_s, *names, stream.frames, time_base, packets), grid
