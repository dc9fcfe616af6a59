"""The content of files: all bytes count, and a settled file is read once."""

import os
from pathlib import Path

import pytest

from sg.core import content
from sg.core.content import file_content, file_stamp


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def settled(path: Path, data: bytes, age_s: float = 100.0) -> Path:
    path.write_bytes(data)
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


def test_a_byte_in_the_middle_counts(tmp_path: Path) -> None:
    one = settled(tmp_path / "one", b"a" * 5_000_000)
    other = settled(tmp_path / "other", b"a" * 2_500_000 + b"b" + b"a" * 2_499_999)
    assert file_content(one) != file_content(other)


def test_a_settled_file_is_read_once_and_again_when_it_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settled(tmp_path / "weights", b"first")
    first = file_content(path)
    with monkeypatch.context() as patch:
        patch.setattr(content, "file_hash", lambda path: pytest.fail("read again"))
        assert file_content(path) == first
    settled(path, b"other", age_s=50.0)
    assert file_content(path) != first


def test_a_file_that_was_replaced_in_place_with_its_old_time_is_read_again(tmp_path: Path) -> None:
    path = settled(tmp_path / "video", b"first")
    first, stamp, look = file_content(path), file_stamp(path), path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(look.st_atime_ns, look.st_mtime_ns))
    assert file_content(path) != first
    assert file_stamp(path) != stamp


def test_the_hash_of_a_file_that_was_just_written_is_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "fresh"
    path.write_bytes(b"one")
    look, first = path.stat(), file_content(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(look.st_atime_ns, look.st_mtime_ns))
    assert file_content(path) != first
