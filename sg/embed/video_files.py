"""Reading the frames of a video for an embedder, and recognising its file in a later run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.manifest import VideoRecord, video_path
from sg.core.errors import DataError, SgError
from sg.core.places.ranges import far, far_entry, opened, size_of
from sg.embed.settings import EmbedderConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A video file as it was at some moment.

    Attributes:
        size: in bytes; -1 if there was no file.
        mtime_ns: time of the last change.
        digest: of its first and last MiB; empty if the file was not read.
        ctime_ns: time of the last change of the inode, which a copy cannot set; 0 in older records.
    """

    size: int
    mtime_ns: int
    digest: str = ""
    ctime_ns: int = 0


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """What to read of every video, and the folder of the video files."""

    videos: Path
    num_frames: int
    image_size: int
    antialias: bool
    reader: str


@dataclass(frozen=True, slots=True)
class DecodedVideo:
    """The frames of a video, uint8 [T, size, size, 3], and the stamp of the file that they came from."""

    frames: NDArray[np.uint8]
    stamp: FileStamp


def frame_settings(videos: Path, config: EmbedderConfig) -> FrameSettings:
    """What an embedder reads of the video files in the folder `videos`."""
    return FrameSettings(videos.absolute(), config.num_frames, config.image_size, config.antialias, config.reader)


def read_video(wanted: FrameSettings, record: VideoRecord) -> DecodedVideo:
    """The sampled frames of a video at the embedder's size; raises what `read_frames` raises."""
    from sg.video.reader import read_frames
    from sg.video.resize import resize
    from sg.video.sampling import MiddleOfSegments

    path = video_path(wanted.videos, record)
    # Stamp and digest are taken before the frames: if the file is replaced meanwhile, the next run finds that it
    # differs from the stamp, and reads it again.
    seen = stamp_of(path)
    stamp = replace(seen, digest=digest(path))
    frames = read_frames(path, MiddleOfSegments(wanted.num_frames), wanted.reader).frames
    pictures = resize(frames, wanted.image_size, wanted.image_size, wanted.antialias)
    return DecodedVideo(pictures, stamp)


def stamp_of(path: Path) -> FileStamp:
    """Size and times of a file, without reading it."""
    try:
        if far(path) is not None:
            entry = far_entry(path)
            return FileStamp(entry.size, round(entry.modified * 1e9))
        status = path.stat()
    except OSError:
        return FileStamp(-1, 0)
    return FileStamp(status.st_size, status.st_mtime_ns, ctime_ns=status.st_ctime_ns)


def digest(path: Path) -> str:
    """16 hex digits over the first and last MiB of a file; "" if it cannot be read.

    A container keeps its index in one of them, so a video that was encoded again differs there. Hashing whole files
    would read terabytes.
    """
    try:
        with opened(path) as stream:
            found = hashlib.blake2b(stream.read(_SAMPLE_BYTES), digest_size=8)
            if (size := size_of(path)) > _SAMPLE_BYTES:
                stream.seek(max(_SAMPLE_BYTES, size - _SAMPLE_BYTES))
                found.update(stream.read())
    except OSError:
        return ""
    return found.hexdigest()


def is_replaced(path: Path, before: FileStamp, now: FileStamp) -> bool:
    """Whether the file differs from the one that was read; `now` is its present stamp.

    A file of the same size and times is assumed to be the same. If only a time differs, as after a copy, the digest
    decides.
    """
    is_same_inode = before.ctime_ns in (0, now.ctime_ns)
    if (before.size, before.mtime_ns) == (now.size, now.mtime_ns) and is_same_inode:
        return False
    return before.size != now.size or not before.digest or before.digest != digest(path)


def outcome_stamp(settings: FrameSettings, record: VideoRecord, outcome: DecodedVideo | SgError) -> FileStamp:
    """The stamp of a video that was decoded; the present stamp of its file if decoding failed.

    Raises:
        DataError: the file is missing because the whole folder is.
    """
    if isinstance(outcome, DecodedVideo):
        return outcome.stamp
    try:
        found = stamp_of(video_path(settings.videos, record))
    except DataError:
        return FileStamp(-1, 0)
    if found.size < 0:
        check_folder(settings.videos)
    return found


def check_folder(videos: Path) -> None:
    """Raise DataError unless the folder of video files can be read: a disk may have been unmounted."""
    try:
        next(videos.iterdir(), None)
    except OSError as error:
        raise DataError(
            f"The folder of videos {videos} cannot be read ({error.strerror or error}): fix that and repeat the "
            "command; it resumes where it stopped."
        ) from error
