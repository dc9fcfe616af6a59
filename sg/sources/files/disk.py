"""The video files of a folder: a walk that follows no links to folders and records what it could not read."""

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sg.artefacts.names import check_relative_path, resolve_inside
from sg.core.errors import DataError
from sg.core.places.ranges import listed, member_path
from sg.core.places.store import Entry
from sg.core.progress import Progress
from sg.sources.files.shards import SHARD_SUFFIX, index_shards, is_compressed

_SUFFIXES = "mp4 m4v mov mkv webm avi mpg mpeg mpe vob ts m2ts mts flv f4v wmv asf gif 3gp ogv mxf mjpeg"
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")


class VideoFile(NamedTuple):
    """A file with the suffix of a video.

    Attributes:
        name: relative to the folder, `/` between parts; of a file in a shard `SHARD.tar/NAME`.
        path: the same, or empty where the name is unsafe or a link leads out of the folder; of a file in a shard, also
            with its place there (`sg.core.places.ranges.member_path`).
        size: bytes.
        mtime_ns: time of the last change.
        problem: why `path` is empty.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    problem: str = ""

    @property
    def key(self) -> str:
        """Identifies the content of the file without reading it: path, size and time of the last change."""
        return f"{self.size}:{self.mtime_ns}:{self.path}"

    @property
    def stem(self) -> str:
        """The file's name without folders and suffix."""
        return self.name.rpartition("/")[2].rpartition(".")[0]


class VideoFiles(Sequence[VideoFile]):
    """Video files as columns, because ten million objects need gigabytes; an object is made when it is asked for."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self.sizes, self._mtimes_ns = array("q"), array("q")
        self._starts = array("q")
        """Where each file begins in its shard; -1 for a file that is in none."""
        self._problems: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, place: Any) -> VideoFile:  # type: ignore[override]  # nobody takes slices
        name, size, start = self._names[place], self.sizes[place], self._starts[place]
        path, problem = name, ""
        if start >= 0:
            shard, _, member = name.rpartition("/")
            path = member_path(shard, start, size, member)
        elif name in self._problems:
            path, problem = "", self._problems[name]
        return VideoFile(name, path, size, self._mtimes_ns[place], problem)

    def __iter__(self) -> Iterator[VideoFile]:
        return map(self.__getitem__, range(len(self)))

    def add(self, name: str, size: int, mtime_ns: int, problem: str = "", start: int = -1) -> None:
        """Add a file; one with a `problem` has no path, and one in a shard begins at `start` there."""
        self._names.append(name)
        self.sizes.append(size)
        self._mtimes_ns.append(mtime_ns)
        self._starts.append(start)
        if problem:
            self._problems[name] = problem

    def sort(self) -> None:
        """Sort the files by name."""
        order = array("q", sorted(range(len(self)), key=self._names.__getitem__))
        self._names = [self._names[place] for place in order]
        for name in ("sizes", "_mtimes_ns", "_starts"):
            setattr(self, name, array("q", map(getattr(self, name).__getitem__, order)))

    @property
    def state(self) -> str:
        """A hash over names, sizes and times. It changes when a file is added, removed or replaced.

        It does not change when the folder is moved: names are relative to it.
        """
        digest = hashlib.blake2b(digest_size=16)
        for name, size, mtime_ns in zip(self._names, self.sizes, self._mtimes_ns, strict=True):
            digest.update(f"{size}:{mtime_ns}:{name}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


@dataclass(slots=True)
class Listing:
    """The video files of a folder, sorted by name, and what else the walk found."""

    files: VideoFiles = field(default_factory=VideoFiles)
    sidecars: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Size and time of the last change of each `.json` file, by its name without suffix."""
    sidecars_in_shards: dict[str, str] = field(default_factory=dict)
    """The path of each `.json` file in a shard, by its name without suffix."""
    shards: list[tuple[str, int]] = field(default_factory=list)
    """Name, and time of the last change, of each tar file."""
    left_out_of_shards: Counter[str] = field(default_factory=Counter)
    """What was left out of the tar files, by reason."""
    linked_folders: list[str] = field(default_factory=list)
    """Links to folders. They are not followed: their files would be listed twice, or are outside of the folder."""
    unreadable_folders: list[str] = field(default_factory=list)
    frame_folders: list[str] = field(default_factory=list)
    """Folders with several pictures and no video file: extracted frames, which are not read."""

    @property
    def sidecar_state(self) -> str:
        """A hash over the names, sizes and times of the `.json` files."""
        stamps = sorted(self.sidecars.items())
        return hashlib.blake2b(repr(stamps).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def list_files(videos: Path) -> Listing:
    """List the video files of a folder and its subfolders, and those in its tar files.

    Raises:
        DataError: an address cannot be read.
    """
    there = listed(videos)
    listing = _walk(videos) if there is None else _listing_of(there)
    _take_shards(videos, listing)
    listing.files.sort()
    return listing


def _walk(videos: Path) -> Listing:
    listing, folders = Listing(), [""]
    with Progress("folder", None, "files") as bar:
        while folders:
            folder = folders.pop()
            before, pictures = len(listing.files), 0
            try:
                with os.scandir(videos / folder) as entries:
                    for entry in entries:
                        found = len(listing.files)
                        _take(videos, f"{folder}/{entry.name}" if folder else entry.name, entry, listing, folders)
                        bar.advance(len(listing.files) - found)
                        pictures += entry.name.lower().endswith(_PICTURES)
            except OSError:
                listing.unreadable_folders.append(folder or ".")
            if pictures > 1 and len(listing.files) == before:
                listing.frame_folders.append(folder or ".")
    return listing


def _take_shards(videos: Path, listing: Listing) -> None:
    """Take the files in the tar files."""
    shards = sorted(listing.shards)
    indices, listing.left_out_of_shards = index_shards(videos, [name for name, _ in shards])
    for (shard, mtime_ns), members in zip(shards, indices, strict=True):
        for member in members:
            name, stem = f"{shard}/{member.name}", member.name.rpartition(".")[0]
            if _is_video(member.name) and not member.size:
                listing.left_out_of_shards["an empty file"] += 1
            elif _is_video(member.name):
                listing.files.add(name, member.size, mtime_ns, start=member.offset)
            elif member.name.endswith(".json"):
                listing.sidecars[f"{shard}/{stem}"] = (member.size, mtime_ns)
                path = member_path(shard, member.offset, member.size, member.name)
                listing.sidecars_in_shards[f"{shard}/{stem}"] = path


def _is_video(name: str) -> bool:
    """Whether a name is that of a video file, and not of what a Mac or a killed process leaves beside one."""
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")
    is_leftover = stem.startswith("._") or (stem.startswith(".") and stem.endswith(".tmp"))
    return bool(stem) and not is_leftover and (dot + ending).lower() in VIDEO_SUFFIXES


def _is_shard(name: str) -> bool:
    return name.endswith(SHARD_SUFFIX) or is_compressed(name)


def _listing_of(files: Mapping[str, Entry]) -> Listing:
    """The video files among those of an address."""
    listing = Listing()
    for name, entry in sorted(files.items()):
        last, mtime_ns = name.rpartition("/")[2], round(entry.modified * 1e9)
        problem = _problem(Path(), name, is_link=False)
        if _is_video(last):
            listing.files.add(name, entry.size, mtime_ns, problem)
        elif _is_shard(last) and not problem:
            listing.shards.append((name, mtime_ns))
        elif last.endswith(".json") and last != ".json":
            listing.sidecars[name.removesuffix(".json")] = (entry.size, mtime_ns)
    return listing


def _take(videos: Path, name: str, entry: os.DirEntry[str], listing: Listing, folders: list[str]) -> None:
    if entry.name.startswith(".") and ".tmp." in entry.name:
        return  # left by a killed process that cut a clip (`sg.core.files`)
    is_file = entry.is_file(follow_symlinks=False) or entry.is_symlink()
    if entry.is_dir(follow_symlinks=False):
        folders.append(name)
    elif _is_video(entry.name) and is_file:
        problem = _problem(videos, name, entry.is_symlink())
        status = entry.stat(follow_symlinks=not problem and entry.is_file())
        listing.files.add(name, status.st_size, status.st_mtime_ns, problem)
    elif _is_shard(entry.name) and is_file and not _problem(videos, name, entry.is_symlink()):
        listing.shards.append((name, entry.stat(follow_symlinks=entry.is_file()).st_mtime_ns))
    elif entry.name.endswith(".json") and entry.name != ".json":
        status = entry.stat(follow_symlinks=False)  # a broken link must not end the walk
        listing.sidecars[name.removesuffix(".json")] = (status.st_size, status.st_mtime_ns)
    elif entry.is_symlink() and entry.is_dir():
        listing.linked_folders.append(name)


def _problem(videos: Path, name: str, is_link: bool) -> str:
    """Why a file is not read; "" for a file inside the folder. Only a link can lead out: the walk follows none."""
    try:
        name.encode()
        resolve_inside(videos, name) if is_link else check_relative_path(name)
    except UnicodeEncodeError:
        return "its name is not UTF-8 and cannot be stored"
    except DataError as error:
        return str(error)
    except (OSError, RuntimeError):
        return "its link leads round in a circle"
    return ""
