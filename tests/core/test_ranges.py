"""Files of an address are read by ranges: what is transferred, and that the result is that of a local file."""

import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np
import pytest

from sg.core.content import file_content, file_stamp
from sg.core.places import ranges, store
from sg.core.places.mirror import mirrored
from sg.core.places.ranges import RangeFile, listed, opened, size_of


@pytest.fixture
def far_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The path that stands for `file://.../bucket`; its files are in `tmp_path/bucket`."""
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SG_PLACES", "")
    monkeypatch.setattr(ranges, "_last", ranges._Blocks())
    (tmp_path / "bucket").mkdir()
    yield mirrored(f"file://{tmp_path}/bucket", "data.videos", copied=False)


def test_any_order_of_reads_returns_the_bytes_of_the_file(far_folder: Path, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
    (tmp_path / "bucket" / "x.bin").write_bytes(data)
    path, draw = far_folder / "x.bin", np.random.default_rng(1)
    assert size_of(path) == len(data)
    with opened(path) as stream:
        assert isinstance(stream, BufferedReader) and isinstance(stream.raw, RangeFile)
        stream.raw.expect([(1_000_000, 1_500_000)])
        for start in draw.integers(0, len(data), 60):
            stream.seek(int(start))
            length = int(draw.integers(1, 200_000))
            assert stream.read(length) == data[start : start + length]
        assert stream.raw.num_read <= len(data)
        assert stream.seek(-5, os.SEEK_END) == len(data) - 5
        assert stream.read(10) == data[-5:]


def test_content_is_that_of_the_local_file_and_is_read_once(
    far_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bucket" / "a").mkdir()
    (tmp_path / "bucket" / "a" / "x.mp4").write_bytes(b"video" * 1000)
    path, local = far_folder / "a" / "x.mp4", tmp_path / "bucket" / "a" / "x.mp4"
    assert file_content(path) == file_content(local)
    assert list(listed(far_folder) or {}) == ["a/x.mp4"] and list(listed(far_folder / "a") or {}) == ["x.mp4"]
    assert file_stamp(far_folder / "none.mp4") is None
    monkeypatch.setattr(store.Store, "read", lambda *_: pytest.fail("read again"))
    assert file_content(path) == file_content(local)
