"""Which films lie in a folder: a walk that no link leads astray, and that tells what it could not see."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from sg.artefacts.names import check_relative_path, resolve_inside
from sg.core.errors import DataError
from sg.core.progress import Progress

_SUFFIXES = "mp4 m4v mov mkv webm avi mpg mpeg mpe vob ts m2ts mts flv f4v wmv asf gif 3gp ogv mxf mjpeg"
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A file on disk that may be a file; `path` is relative to the folder, empty when it is unsafe."""

    name: str
    path: str
    size: int
    mtime_ns: int

    @property
    def key(self) -> str:
        """Names this state of the file: another size or time is another state."""
        return f"{self.size}:{self.mtime_ns}:{self.path}"

    @property
    def stem(self) -> str:
        """The file's name without folders and suffix."""
        return self.name.rpartition("/")[2].rpartition(".")[0]


@dataclass(slots=True)
class Listing:
    """The files of a folder, sorted by name, and what else was seen."""

    files: list[VideoFile] = field(default_factory=list)
    sidecars: set[str] = field(default_factory=set)
    """Names without suffix that have a `.json` file beside them."""
    linked_folders: list[str] = field(default_factory=list)
    """Links to folders are not followed: what they hold would be seen twice, or lies outside."""
    unreadable_folders: list[str] = field(default_factory=list)
    frame_folders: list[str] = field(default_factory=list)
    """Folders that hold several pictures and no file: frames that somebody took out of a film, which are not read."""

    @property
    def state(self) -> str:
        """A hash that changes when a file comes, goes, or is another one."""
        digest = hashlib.blake2b(digest_size=16)
        for file in self.files:
            digest.update(f"{file.size}:{file.mtime_ns}:{file.name}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def list_files(videos: Path) -> Listing:
    """The files of a folder and its subfolders."""
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
    listing.files.sort(key=lambda file: file.name)
    return listing


def _take(videos: Path, name: str, entry: os.DirEntry[str], listing: Listing, folders: list[str]) -> None:
    stem, dot, ending = entry.name.rpartition(".")
    suffix = dot + ending if stem and ending else ""
    if entry.is_dir(follow_symlinks=False):
        folders.append(name)
    elif suffix.lower() in VIDEO_SUFFIXES and (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
        safe = name if _is_safe(videos, name, entry.is_symlink()) else ""
        status = entry.stat(follow_symlinks=bool(safe) and entry.is_file())
        listing.files.append(VideoFile(name, safe, status.st_size, status.st_mtime_ns))
    elif suffix == ".json":
        listing.sidecars.add(name.removesuffix(suffix))
    elif entry.is_symlink() and entry.is_dir():
        listing.linked_folders.append(name)


def _is_safe(videos: Path, name: str, is_link: bool) -> bool:
    """The walk follows no link, so only a file that is one can lie elsewhere."""
    try:
        name.encode()
        resolve_inside(videos, name) if is_link else check_relative_path(name)
    except (DataError, UnicodeEncodeError, OSError, RuntimeError):
        return False
    return True
