"""The hub's archives: what they hold is unpacked once; an entry that cannot be unpacked costs its own video only."""

import contextlib
import errno
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sg.core.errors import DataError, MissingInputError
from sg.core.files import file_lock
from sg.evaluate import archives
from sg.evaluate.benchmark import read_askable_benchmark, read_benchmark
from tests.evaluate.test_benchmark import benchmark_folder, config, table_row


def hub_folder(folder: Path, videos: int = 3) -> Path:
    benchmark_folder(folder, [table_row(f"{video:03d}", 1) for video in range(videos)])
    with zipfile.ZipFile(folder / "videos_chunked_01.zip", "w") as archive:
        archive.writestr("data/", "")
        archive.writestr("data/yt_000.mp4", b"file 0" * 1000, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(folder / "videos_chunked_02.zip", "w") as archive:
        archive.writestr("data/yt_001.MP4", b"file 1")
        archive.writestr("data/other.mp4", b"not asked for")
    with zipfile.ZipFile(folder / "subtitle.zip", "w") as archive:
        archive.writestr("subtitle/", "")
        archive.writestr("subtitle/yt_001.srt", b"1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    return folder


def test_videos_and_subtitles_are_unpacked_once_from_the_archives_of_the_hub(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = hub_folder(tmp_path)
    caplog.set_level("INFO")
    first, second, third = read_benchmark(config(folder)).videos
    assert first.path is not None and first.path.read_bytes() == b"file 0" * 1000
    assert (second.path, second.subtitle_path) == (folder / "data/yt_001.MP4", folder / "subtitle/yt_001.srt")
    assert (first.subtitle_path, third.path) == (None, None)
    assert not (folder / "data" / "other.mp4").exists()
    assert "GB free" in caplog.text
    caplog.clear()
    assert read_benchmark(config(folder)).videos == (first, second, third)
    assert "unpacking" not in caplog.text


def test_killed_unpacking_is_resumed(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path)
    (folder / "data").mkdir()
    (folder / "data" / ".yt_000.mp4.123.tmp.mp4").write_bytes(b"half")
    (folder / "data" / "yt_001.MP4").write_bytes(b"file 1")
    assert read_benchmark(config(folder)).videos[0].path is not None
    assert sorted(path.name for path in (folder / "data").iterdir()) == [".unpack.lock", "yt_000.mp4", "yt_001.MP4"]


def test_a_damaged_entry_of_an_archive_becomes_the_reason_of_its_video(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path)
    path = folder / "videos_chunked_02.zip"
    path.write_bytes(path.read_bytes().replace(b"file 1", b"file X"))
    videos = read_benchmark(config(folder)).videos
    assert videos[0].path is not None
    assert (videos[1].path, "damaged" in videos[1].problem) == (None, True)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hub_folder(tmp_path)
    monkeypatch.setattr("sg.evaluate.archives.RESERVE_BYTES", 10**18)
    with pytest.raises(DataError, match="GB free: make room"):
        read_benchmark(config(folder))


@pytest.mark.parametrize("size", [0, 40, -8])
def test_a_truncated_archive_costs_its_own_videos(tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture) -> None:
    folder = hub_folder(tmp_path, videos=2)
    path = folder / "videos_chunked_01.zip"
    path.write_bytes(path.read_bytes()[:size])

    first, second = read_benchmark(config(folder)).videos

    assert first.path is None and f"{path} is not a complete zip archive" in first.problem
    assert second.path is not None and second.path.read_bytes() == b"file 1"
    assert f"{path} is not a complete zip archive" in caplog.text


def test_truncated_subtitles_or_all_videos_are_an_error(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, videos=2)
    for path in folder.glob("videos_chunked_*.zip"):
        path.write_bytes(b"PK")
    with pytest.raises(MissingInputError, match=r"videos_chunked_01\.zip is not a complete zip archive"):
        read_askable_benchmark(config(folder))
    (folder / "subtitle.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"subtitle\.zip is not a complete zip archive"):
        read_benchmark(config(folder))


METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_compression_is_read_and_damage_costs_one_video(method: int, tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, videos=2)
    content = bytes(range(256)) * 40
    path = folder / "videos_chunked_01.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("data/yt_000.mp4", content)
        archive.writestr("data/yt_001.mp4", content)
        second = archive.getinfo("data/yt_001.mp4")
    (folder / "videos_chunked_02.zip").unlink()
    raw = bytearray(path.read_bytes())
    start = second.header_offset + 30 + len(second.filename)
    raw[start + 12 : start + 40] = b"\xff" * 28
    path.write_bytes(bytes(raw))
    first, other = read_benchmark(config(folder)).videos
    assert first.path is not None and first.path.read_bytes() == content
    assert other.path is None and "data/yt_001.mp4 in" in other.problem and "is damaged" in other.problem


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("flag_bits", 1, "it is encrypted"),
        ("compress_type", 99, "unknown compression"),
        ("compress_type", 9, "unknown"),
    ],
)
def test_an_encrypted_entry_or_one_of_an_unknown_compression_costs_one_video(
    field: str, value: int, problem: str, tmp_path: Path
) -> None:
    folder = hub_folder(tmp_path, videos=2)
    path = folder / "videos_chunked_01.zip"
    place = {"flag_bits": (6, 8), "compress_type": (8, 10)}[field]
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        local, central = archive.getinfo("data/yt_000.mp4").header_offset, archive.start_dir
    central = raw.index(b"PK\x01\x02", central + 1)  # the second entry: the first one is a folder
    for at in (local + place[0], central + place[1]):
        raw[at : at + 2] = value.to_bytes(2, "little")
    path.write_bytes(bytes(raw))
    first, second = read_benchmark(config(folder)).videos
    assert first.path is None and problem in first.problem
    assert second.path is not None and second.path.read_bytes() == b"file 1"


def test_an_entry_of_an_absurd_size_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sg.evaluate.archives.BOMB_BYTES", 1_000_000)
    folder = hub_folder(tmp_path, videos=2)
    with zipfile.ZipFile(folder / "videos_chunked_01.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/yt_000.mp4", b"\0" * 5_000_000)
    first, second = read_benchmark(config(folder)).videos
    assert first.path is None and "expands to 5,000,000 bytes" in first.problem
    assert second.path is not None


def test_names_of_entries_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "folder", videos=3)
    (folder / "videos_chunked_02.zip").unlink()
    with zipfile.ZipFile(folder / "videos_chunked_01.zip", "w") as archive:
        archive.writestr("../../yt_000.mp4", b"zero")
        archive.writestr("/tmp/yt_001.MKV", b"one")
        archive.writestr(zipfile.ZipInfo("data\\yt_002.mov"), b"two")
        archive.writestr("data/" + "n" * 400 + ".mp4", b"long")
    paths = [video.path for video in read_benchmark(config(folder)).videos]
    assert paths == [folder / "data" / name for name in ("yt_000.mp4", "yt_001.MKV", "yt_002.mov")]
    assert [path.read_bytes() for path in paths if path] == [b"zero", b"one", b"two"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]


def test_archives_on_a_read_only_disk_are_unpacked_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, elsewhere = hub_folder(tmp_path / "mount"), tmp_path / "unpacked"

    @contextlib.contextmanager
    def lock(path: Path) -> Iterator[None]:
        if path.is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        with file_lock(path):
            yield

    monkeypatch.setattr(archives, "file_lock", lock)
    with pytest.raises(DataError, match="data cannot be written: unpack videos_chunked"):
        read_benchmark(config(folder))
    videos = read_benchmark(config(folder, unpack_to=str(elsewhere))).videos
    assert videos[0].path is not None and videos[0].path.read_bytes() == b"file 0" * 1000
    assert videos[1].path is not None and videos[1].path.is_relative_to(elsewhere)
    assert videos[1].subtitle_path is not None and videos[1].subtitle_path.is_relative_to(elsewhere)
    assert sorted(path.name for path in folder.iterdir()) == [
        "subtitle.zip", "test-00000-of-00001.parquet", "videos_chunked_01.zip", "videos_chunked_02.zip",
    ]  # fmt: skip
    assert read_benchmark(config(folder, unpack_to=str(elsewhere))).videos == videos
    # Another archive of the same name has its own files.
    with zipfile.ZipFile(folder / "videos_chunked_02.zip", "w") as archive:
        archive.writestr("data/yt_001.MP4", b"file 2")
    other = read_benchmark(config(folder, unpack_to=str(elsewhere))).videos[1].path
    assert other is not None and other != videos[1].path and other.read_bytes() == b"file 2"
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be unpacked into .*file"):
        read_benchmark(config(folder, unpack_to=str(tmp_path / "file" / "x")))
