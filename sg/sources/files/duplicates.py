"""Files with the same bytes.

Files are compared by size first, then by a hash of both ends, then by a hash of all bytes: each step reads only the
files that agree in the steps before.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from sg.core.places.ranges import opened
from sg.core.progress import Progress
from sg.sources.files.disk import VideoFile, VideoFiles
from sg.sources.scan.journal import ScanJournal

_EDGE = 2**16


class Digests:
    """Hashes of video files, kept in a journal, so that an interrupted scan resumes without reading a file again."""

    def __init__(self, journal: ScanJournal, bar: Progress, videos: Path) -> None:
        self._journal, self._bar, self._videos = journal, bar, videos

    def edges(self, root: Path, file: VideoFile) -> str | None:
        """Hash of the first and last 64 KiB of a file; None where it cannot be read."""
        return self._kept("edges", root, file, _hash_edges)

    def whole(self, root: Path, file: VideoFile) -> str | None:
        """Hash of all bytes of a file; None where it cannot be read."""
        return self._kept("whole", root, file, _hash_whole)

    def _kept(self, kind: str, root: Path, file: VideoFile, compute: Callable[[Path], str]) -> str | None:
        # No path of this machine in the key: the hashes stay valid when the folder of the videos is moved.
        place = "" if root == self._videos else "benchmark:"
        key = f"{kind}:{place}{file.key}"
        digest: str | None = self._journal.get(key)
        if digest is None:
            try:
                digest = compute(root / file.path)
            except OSError:
                return None
            self._journal.add(key, digest)
            self._bar.advance()
        return digest


def same_bytes(
    root: Path,
    files: VideoFiles,
    places: Iterable[int],
    is_readable: Callable[[VideoFile], bool],
    digests: Digests,
) -> dict[int, int]:
    """Place of each readable file that has the same bytes as an earlier one -> place of the first such file."""
    shared = [place for place in _of_shared_sizes(files, places) if is_readable(files[place])]
    groups: list[list[int]] = [shared]
    steps: list[Callable[[VideoFile], Hashable]] = [
        lambda file: file.size,
        lambda file: digests.edges(root, file),
        lambda file: digests.whole(root, file),
    ]
    for step in steps:
        groups = [part for group in groups for part in _split(group, files, step)]
    return {later: group[0] for group in groups for later in group[1:]}


def _of_shared_sizes(files: VideoFiles, places: Iterable[int]) -> list[int]:
    """The places of the files whose size another one has."""
    import numpy as np

    chosen = np.fromiter(places, np.int64)
    _, kind, counts = np.unique(np.array(files.sizes)[chosen], return_inverse=True, return_counts=True)
    numbers: list[int] = chosen[counts[kind] > 1].tolist()
    return numbers


def _split(
    group: Sequence[int], files: Sequence[VideoFile], step: Callable[[VideoFile], Hashable]
) -> Iterable[list[int]]:
    """The subsets of a group with equal values of `step`, without subsets of a single member."""
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for number in group:
        value = step(files[number])
        if value is not None:
            parts[value].append(number)
    return [part for part in parts.values() if len(part) > 1]


def also_in(
    root: Path,
    files: VideoFiles,
    places: Iterable[int],
    is_readable: Callable[[VideoFile], bool],
    other: Path,
    others: Sequence[VideoFile],
    digests: Digests,
) -> dict[int, str]:
    """Place of each readable file that has the same bytes as a file in the folder `other` -> name of the latter."""
    by_size: dict[int, list[VideoFile]] = defaultdict(list)
    for file in others:
        if file.path:
            by_size[file.size].append(file)
    found: dict[int, str] = {}
    for place in places:
        twins = by_size.get(files.sizes[place], ())
        file = files[place]
        for twin in twins if twins and is_readable(file) else ():
            edges = digests.edges(root, file)
            if edges is None or edges != digests.edges(other, twin):
                continue
            if digests.whole(root, file) == digests.whole(other, twin):
                found[place] = twin.name
    return found


def _hash_edges(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with opened(path) as stream:
        digest.update(stream.read(_EDGE))
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _EDGE))
        digest.update(stream.read(_EDGE))
    return digest.hexdigest()


def _hash_whole(path: Path) -> str:
    with opened(path) as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
