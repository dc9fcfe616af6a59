"""How a file says that its stored pictures are shown: rotated by quarter turns, and mirrored (selfie cameras)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def orientation(picture: Any) -> tuple[int, bool]:
    """The quarter turns counter-clockwise by which a decoded picture is shown, and whether it is mirrored first."""
    from av.sidedata.sidedata import SideDataContainer

    # `picture.side_data` would keep what it returns, which keeps the picture: its memory would wait for the collector.
    container: Any = SideDataContainer  # its stub has no constructor
    turns, matrix = round(picture.rotation / 90) % 4, container(picture).get("DISPLAYMATRIX")
    if matrix is None:
        return turns, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), "<i4")[:5].astype(np.int64)
    # PyAV reads the angle as if no matrix mirrored. Mirrored left and right first, it is another half turn.
    return ((turns + 2) % 4, True) if a * d < b * c else (turns, False)


def as_shown(rgb: NDArray[np.uint8], turns: int, mirrored: bool) -> NDArray[np.uint8]:
    """The stored pixels [H, W, 3] as they are shown, in the order of rows of a new array where that differs."""
    shown = np.rot90(rgb[:, ::-1] if mirrored else rgb, turns)
    return np.ascontiguousarray(shown) if turns or mirrored else rgb
