"""Reading a film for an embedder, in whatever process decodes, and knowing it again in a later run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.manifest import VideoRecord, video_path
from sg.core.errors import DataError, SgError
from sg.embed.config import EmbedderConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FilmStamp:
    """A file as it was when its film was read."""

    size: int
    """Bytes; -1 where there was no file."""
    mtime_ns: int
    digest: str = ""
    """Of its first and last MiB: empty where the file was only looked at."""


@dataclass(frozen=True, slots=True)
class FilmSettings:
    """What to read of every film, and where the films are."""

    videos: Path
    num_frames: int
    image_size: int
    antialias: bool
    reader: str


@dataclass(frozen=True, slots=True)
class FilmJob:
    """One film to decode in a worker."""

    record: VideoRecord
    settings: FilmSettings


@dataclass(frozen=True, slots=True)
class Film:
    """The frames of a film, uint8 [T, size, size, 3], and the file that they came from."""

    frames: NDArray[np.uint8]
    stamp: FilmStamp


def film_settings(videos: Path, config: EmbedderConfig) -> FilmSettings:
    """What an embedder wants of the films in the folder `videos`."""
    return FilmSettings(videos.absolute(), config.num_frames, config.image_size, config.antialias, config.reader)


def read_film(job: FilmJob) -> Film:
    """The sampled frames of a film at the embedder's size; raises what `read_frames` raises."""
    from sg.video.reader import read_frames
    from sg.video.resize import resize
    from sg.video.sampling import MiddleOfSegments

    wanted = job.settings
    path = video_path(wanted.videos, job.record)
    stamp = look_at(path)
    frames = read_frames(path, MiddleOfSegments(wanted.num_frames), wanted.reader).frames
    pictures = resize(frames, wanted.image_size, wanted.image_size, wanted.antialias)
    return Film(pictures, FilmStamp(stamp.size, stamp.mtime_ns, digest(path)))


def look_at(path: Path) -> FilmStamp:
    """Size and time of a file, without reading it."""
    try:
        status = path.stat()
    except OSError:
        return FilmStamp(-1, 0)
    return FilmStamp(status.st_size, status.st_mtime_ns)


def digest(path: Path) -> str:
    """16 hex digits naming the first and last MiB of a file: the index of a film lies in one of them."""
    try:
        with path.open("rb") as stream:
            found = hashlib.blake2b(stream.read(_SAMPLE_BYTES), digest_size=8)
            if (size := path.stat().st_size) > _SAMPLE_BYTES:
                stream.seek(max(_SAMPLE_BYTES, size - _SAMPLE_BYTES))
                found.update(stream.read())
    except OSError:
        return ""
    return found.hexdigest()


def is_replaced(path: Path, before: FilmStamp, now: FilmStamp) -> bool:
    """Whether the file is another than the one that was read; `now` is how it looks.

    A file of the same size and time is taken for the same. One of another time is read again, where it was read before.
    """
    if (before.size, before.mtime_ns) == (now.size, now.mtime_ns):
        return False
    return before.size != now.size or not before.digest or before.digest != digest(path)


def stamp_of(job: FilmJob, outcome: Film | SgError) -> FilmStamp:
    """The stamp of a film that was read; how the file looks now where it could not be.

    Raises:
        DataError: the film is not there, because the whole folder is not.
    """
    if isinstance(outcome, Film):
        return outcome.stamp
    try:
        found = look_at(video_path(job.settings.videos, job.record))
    except DataError:
        return FilmStamp(-1, 0)
    if found.size < 0:
        check_folder(job.settings.videos)
    return found


def check_folder(videos: Path) -> None:
    """DataError unless the folder of films is there and can be read: a disk may have gone away."""
    try:
        next(videos.iterdir(), None)
    except OSError as error:
        raise DataError(
            f"The folder of films {videos} cannot be read ({error.strerror or error}): mend that and repeat the "
            "command, it goes on where it stopped."
        ) from error
