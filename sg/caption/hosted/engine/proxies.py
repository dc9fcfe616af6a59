"""Proxies: small copies of video files, H.264 at one frame per second with a short side of at most 480 pixels.

Services sample one frame per second by default, so a proxy loses no frame that they would see. It keeps the sound, in
mono. Each caption records whether it was written from a proxy.
"""

import contextlib
import uuid
from pathlib import Path

from sg.caption.hosted.services.records import Failure, Kind
from sg.core.errors import DataError, SgError, disk_problem
from sg.video.workers import KillableWorker

FPS = 1.0
SHORT_SIDE = 480
CODEC = "h264"
SOUND = "aac"
MAX_FRAMES = 3600


def make_proxy(video: Path, folder: Path, timeout_s: float) -> Path | Failure:
    """Write the proxy of a video file into `folder`, in a child process, which is killed if the file makes it hang.

    Raises:
        DataError: the disk is full; that says nothing about the video.
    """
    target = folder / f"{uuid.uuid4().hex}.mp4"
    worker = KillableWorker()
    try:
        worker.call(_encode, video, target, timeout_s=timeout_s)
    except (SgError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            target.unlink()
        if sentence := disk_problem(error):
            raise DataError(sentence) from error
        return Failure(Kind.MEDIA, f"no proxy can be made of the video file: {str(error).splitlines()[0]}"[:300])
    finally:
        worker.close()
    return target


def _encode(video: Path, target: Path) -> None:
    from sg.video.reader import read_frames
    from sg.video.resize import resize
    from sg.video.sampling import ByClock
    from sg.video.writer import write_video

    frames = read_frames(video, ByClock(MAX_FRAMES, FPS)).frames
    height, width = frames.shape[1:3]
    scale = min(1.0, SHORT_SIDE / min(height, width))
    # H.264 in yuv420p needs even sides.
    smaller = resize(frames, max(2, round(height * scale) // 2 * 2), max(2, round(width * scale) // 2 * 2))
    write_video(target, smaller, FPS, options={"preset": "veryfast", "crf": "23"}, sound_of=video)
