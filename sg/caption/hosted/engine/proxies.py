"""Proxies: a film again as H.264 at one frame a second with a short side of at most 480 pixels.

The services look at one frame a second anyway, so a proxy costs no sight; it is recorded with the caption.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

from sg.caption.hosted.engine.clips import Clip
from sg.caption.hosted.services.records import Failure, Kind
from sg.core.errors import SgError
from sg.video.workers import KillableWorker

FPS = 1.0
SHORT_SIDE = 480
CODEC = "h264"
MAX_FRAMES = 3600


def make_proxy(film: Path, folder: Path, clip: Clip, timeout_s: float) -> Path | Failure:
    """Write the proxy of a film into `folder`, in a child process that is killed when the film hangs it."""
    target = folder / f"{uuid.uuid4().hex}.mp4"
    worker = KillableWorker()
    try:
        start, end = clip.film_start_s, clip.film_end_s
        worker.call(_encode, film, target, start, end, timeout_s=timeout_s)
    except (SgError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            target.unlink()
        return Failure(Kind.MEDIA, f"no proxy can be made of the film: {str(error).splitlines()[0]}"[:300])
    finally:
        worker.close()
    return target


def _encode(film: Path, target: Path, start_s: float | None, end_s: float | None) -> None:
    from sg.video.reader import read_frames
    from sg.video.resize import resize
    from sg.video.sampling import OneFps
    from sg.video.writer import write_video

    start = None if start_s is None else int(start_s)
    end = None if end_s is None else max(round(end_s), int(start_s or 0) + 1)
    frames = read_frames(film, OneFps(MAX_FRAMES, FPS, start, end)).frames
    height, width = frames.shape[1:3]
    scale = min(1.0, SHORT_SIDE / min(height, width))
    smaller = resize(frames, max(2, round(height * scale) // 2 * 2), max(2, round(width * scale) // 2 * 2))
    write_video(target, smaller, FPS, options={"preset": "veryfast", "crf": "23"})
