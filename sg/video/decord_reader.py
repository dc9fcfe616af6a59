"""The decord backend, for those who ask for it by name.

decord 0.6.0 returns wrong frames without an error in MPEG-TS, MPEG-PS, AVI, films cut by edit lists and films with open
groups of pictures, and keeps decoding in the background while its reader lives: see `checked_reader`.
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
    """Decode the frames that `choose` picks with decord; UnreadableVideoError when it would not do so rightly."""
    return read_checked("decord", decode_with_decord, path, choose, limits)


def decode_with_decord(path: Path, chosen: list[int], num_frames: int) -> NDArray[np.uint8]:
    """The chosen frames, uint8 [T, H, W, 3]; runs native code that can hang, so call it where it can be killed."""
    decord = _import_decord()
    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        counted = len(reader)
        pictures: NDArray[np.uint8] | None = reader.get_batch(chosen).asnumpy() if counted == num_frames else None
        # While the reader lives it decodes on in the background, without bound.
        del reader
    except (decord.DECORDError, RuntimeError) as error:
        text = str(error).strip().splitlines()[-1][-160:]
        raise UnreadableVideoError(UNSUPPORTED, f"{path.name}: decord cannot read it ({text})") from None
    if pictures is None:
        raise refusal("decord", path, f"it counts {counted} frames where the film has {num_frames}")
    return pictures


def _import_decord() -> Any:
    try:
        import decord
    except ImportError:
        raise ConfigError("the reader decord is not installed: `pip install decord`, or use the reader pyav") from None
    if not decord.__version__.startswith("0."):
        raise ConfigError(
            f"the installed decord {decord.__version__} is decord2, which returns wrong frames on ordinary films: "
            "install decord 0.6.0, or use the reader pyav"
        )
    return decord
