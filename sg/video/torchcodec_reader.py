"""The torchcodec backend (extra `torchcodec`), used only where it is named.

Only its exact mode is used. The approximate mode returns wrong frames from videos of variable frame rate, with a
shifted start, or without a duration. It refuses the same files as decord: see `checked_reader`.
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
    """Decode the frames that `choose` picks; UnreadableVideoError where torchcodec would return other ones."""
    return read_checked("torchcodec", decode_with_torchcodec, path, choose, limits)


def decode_with_torchcodec(path: Path, chosen: list[int], num_frames: int) -> NDArray[np.uint8]:
    """The chosen frames, uint8 [T, H, W, 3]. Native code may block: call this in a process that can be killed."""
    decoder = _decoder()
    try:
        video = decoder(str(path), seek_mode="exact", num_ffmpeg_threads=1, dimension_order="NHWC")
        counted = len(video)
        pictures: NDArray[np.uint8] | None = video.get_frames_at(chosen).data.numpy() if counted == num_frames else None
    except (RuntimeError, ValueError, IndexError) as error:
        text = (str(error).strip().splitlines() or ["unknown"])[0][-160:]
        raise UnreadableVideoError(UNSUPPORTED, f"{path.name}: torchcodec cannot read it ({text})") from None
    if pictures is None:
        raise refusal("torchcodec", path, f"it counts {counted} frames where the video has {num_frames}")
    return pictures


def _decoder() -> Any:
    try:
        from torchcodec.decoders import VideoDecoder
    except ImportError:
        raise ConfigError(
            "the reader torchcodec is not installed: `pip install -e '.[torchcodec]'`, or use the reader pyav"
        ) from None
    except (OSError, RuntimeError):
        # Its wheel contains no FFmpeg, and needs CUDA since 0.14. Both appear as errors of the dynamic linker.
        raise ConfigError(
            "the reader torchcodec is installed, but cannot be loaded: it needs the shared libraries of FFmpeg 4 to 8 "
            "(such as `apt install ffmpeg`) and a build for the installed torch, or use the reader pyav"
        ) from None
    return VideoDecoder
