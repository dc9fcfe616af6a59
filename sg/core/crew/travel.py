"""Values that another machine computes with: paths that stand for addresses become that machine's own paths."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from sg.core.places.mirror import fetch, mirror_of, mirrored


def packed(value: Any) -> bytes:
    """`value`, pickled, with addresses instead of the paths (and texts that are such paths) that stand for them."""
    stream = io.BytesIO()
    _Packer(stream, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return stream.getvalue()


def unpacked(data: bytes) -> Any:
    """The value with paths of this machine. The files behind them are fetched, except those that are read by ranges.

    Raises:
        DataError: an address cannot be read.
    """
    return _Unpacker(io.BytesIO(data)).load()


class _Packer(pickle.Pickler):
    def persistent_id(self, value: Any) -> tuple[bool, str, str, bool] | None:
        is_path = isinstance(value, Path)
        if not (is_path or (isinstance(value, str) and value.startswith("/"))):
            return None
        place = mirror_of(Path(value))
        return None if place is None else (is_path, place[0].store.address, place[1], place[0].is_read_only)


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, place: Any) -> Path | str:
        is_path, address, name, is_read_only = place
        path = mirrored(address, "the address", copied=not is_read_only) / name
        fetch(path)
        return path if is_path else str(path)
