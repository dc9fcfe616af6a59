"""The decord backend, used only where it is named.

decord 0.6.0 returns wrong frames without an error from MPEG-TS, MPEG-PS and AVI files, files cut by edit lists, and
files with open groups of pictures (docs/reference/internvideo2.md, section 9). See `checked_reader`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.errors import ConfigError
from sg.video.checked_reader import read_checked, refusal
from sg.video.frames import UNSUPPORTED, Frames, ReaderLimits, UnreadableVideoError
from sg.video.sampling import FramePolicy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read(path: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames:
    """Decode the frames that `choose` picks; UnreadableVideoError where decord would return other ones."""
    return read_checked("decord", decode_with_decord, path, choose, limits)


def decode_with_decord(path: Path, chosen: list[int], num_frames: int) -> NDArray[np.uint8]:
    """The chosen frames, uint8 [T, H, W, 3]. Native code may block: call this in a process that can be killed."""
    decord = _import_decord()
    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        counted = len(reader)
        pictures: NDArray[np.uint8] | None = reader.get_batch(chosen).asnumpy() if counted == num_frames else None
        # As long as the reader object exists, it decodes further frames in the background, without a limit.
        del reader
    except (decord.DECORDError, RuntimeError) as error:
        text = str(error).strip().splitlines()[-1][-160:]
        raise UnreadableVideoError(UNSUPPORTED, f"{path.name}: decord cannot read it ({text})") from None
    if pictures is None:
        raise refusal("decord", path, f"it counts {counted} frames where the video has {num_frames}")
    return pictures


def _import_decord() -> Any:
    try:
        import decord
    except ImportError:
        raise ConfigError("the reader decord is not installed: `pip install decord`, or use the reader pyav") from None
    if not decord.__version__.startswith("0."):
        raise ConfigError(
            f"the installed decord {decord.__version__} is decord2, which returns wrong frames on ordinary videos: "
            "install decord 0.6.0, or use the reader pyav"
        )
    return decord
