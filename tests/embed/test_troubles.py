"""Failures between and during runs are reported: full disks, unreadable folders, replaced files, other settings."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.artefacts.vectors import read_vectors
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.embed.embedders.internvideo2 import InternVideo2Config
from sg.embed.run import embed_videos
from sg.embed.video_files import FileStamp, digest, is_replaced, stamp_of
from tests.core.disks import closed, folder_for_all, largest_file
from tests.embed.builders import contents, embedder, make_world
from tests.models.internvideo2 import goldens


def touch_later(path: Path) -> None:
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))


def test_a_full_disk_is_reported_and_the_run_resumes_later(tmp_path: Path, tower: Path, decoded: list[str]) -> None:
    data = make_world(tmp_path, "abcdefghij")
    whole = contents(embed_videos(data, embedder(tower), out_path=tmp_path / "whole"))
    with largest_file(600), pytest.raises(DataError, match=r"cannot be written \(.*\).*resumes where it stopped"):
        embed_videos(data, embedder(tower), out_path=tmp_path / "out")
    assert contents(embed_videos(data, embedder(tower), out_path=tmp_path / "out")) == whole


@pytest.fixture
def public() -> Iterator[Path]:
    with folder_for_all() as folder:
        yield folder


@pytest.fixture
def public_tower(public: Path, tower: Path) -> Path:
    copy = Path(shutil.copytree(tower, public / "tower"))
    copy.chmod(0o755)
    for path in copy.iterdir():
        path.chmod(0o644)
    return copy


def lock(folder: Path) -> None:
    """Remove all permissions; the superuser, who needs none, runs as user `nobody` in the tests."""
    folder.chmod(0o700 if os.geteuid() == 0 else 0o000)


def test_folders_without_permission_are_reported(public: Path, public_tower: Path, decoded: list[str]) -> None:
    data, out = make_world(public, "ab"), public / "out"
    lock(public / "videos")
    with closed(), pytest.raises(DataError, match=r"of videos .*videos cannot be read \(Permission denied"):
        embed_videos(data, embedder(public_tower), out_path=out)
    (public / "videos").chmod(0o755)
    out.mkdir()
    out.chmod(0o555)
    with closed(), pytest.raises(DataError, match=r"out cannot be written \(Permission denied\)"):
        embed_videos(data, embedder(public_tower), out_path=out)


def test_videos_of_an_unreadable_subfolder_are_left_out_until_it_is_readable(
    public: Path, public_tower: Path, decoded: list[str]
) -> None:
    data, inner, out = make_world(public, "ab"), public / "videos" / "inner", public / "out"
    inner.mkdir()
    (public / "videos" / "b.mp4").rename(inner / "b.mp4")
    write_manifest(data.manifest_path, [VideoRecord("a", "t", "a.mp4"), VideoRecord("b", "t", "inner/b.mp4")])
    (public / "videos").chmod(0o755)
    out.mkdir()
    out.chmod(0o777)
    lock(inner)
    with closed():
        embed_videos(data, embedder(public_tower), out_path=out)
    assert read_vectors(out).video_ids == ["a"]
    assert "Permission denied" in (out / "quarantine.json").read_text()
    inner.chmod(0o755)
    assert read_vectors(embed_videos(data, embedder(public_tower), out_path=out)).video_ids == ["a", "b"]


def test_an_unmounted_disk_ends_the_run_instead_of_leaving_all_videos_out(
    tmp_path: Path, tower: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sg.embed import batches

    data = make_world(tmp_path, "abcdefgh")
    read_video = batches.read_video

    def gone_after_the_fifth(settings: Any, record: Any) -> Any:
        if record.video_id == "f":
            (tmp_path / "videos").rename(tmp_path / "away")
        return read_video(settings, record)

    monkeypatch.setattr(batches, "read_video", gone_after_the_fifth)
    with pytest.raises(DataError, match=r"folder of videos .*cannot be read"):
        embed_videos(data, embedder(tower))
    (tmp_path / "away").rename(tmp_path / "videos")
    monkeypatch.setattr(batches, "read_video", read_video)
    assert read_vectors(embed_videos(data, embedder(tower))).video_ids == list("abcdefgh")


def test_a_file_that_was_missing_for_a_moment_is_tried_again(tmp_path: Path, tower: Path, decoded: list[str]) -> None:
    data = make_world(tmp_path, "abc")
    (tmp_path / "videos" / "b.mp4").rename(tmp_path / "b.mp4")
    assert read_vectors(embed_videos(data, embedder(tower))).video_ids == ["a", "c"]
    (tmp_path / "b.mp4").rename(tmp_path / "videos" / "b.mp4")
    assert read_vectors(embed_videos(data, embedder(tower))).video_ids == ["a", "b", "c"]


def test_a_replaced_file_is_reported_and_its_part_made_again_even_if_its_size_is_the_same(
    tmp_path: Path, tower: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    data = make_world(tmp_path, "abcdefghij")
    before = read_vectors(embed_videos(data, embedder(tower))).matrix
    file = tmp_path / "videos" / "f.mp4"
    other = (tmp_path / "videos" / "a.mp4").read_bytes()
    size = max(file.stat().st_size, len(other))
    file.write_bytes(file.read_bytes().ljust(size, b"\0"))
    embed_videos(data, embedder(tower))
    decoded.clear()
    caplog.clear()

    file.write_bytes(other.ljust(size, b"\0"))
    touch_later(file)
    after = read_vectors(embed_videos(data, embedder(tower))).matrix

    assert decoded == list("efgh")
    assert "1 video files have changed since they were embedded (f): 1 parts are made again." in caplog.text
    np.testing.assert_array_equal(after[5], after[0])
    np.testing.assert_array_equal(np.delete(after, 5, 0), np.delete(before, 5, 0))


def test_a_copied_file_is_the_same_video(tmp_path: Path, tower: Path, decoded: list[str]) -> None:
    data = make_world(tmp_path, "abcde")
    embed_videos(data, embedder(tower))
    decoded.clear()
    touch_later(tmp_path / "videos" / "c.mp4")
    embed_videos(data, embedder(tower))
    assert decoded == []


def test_a_damaged_part_is_made_again(
    tmp_path: Path, tower: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    data = make_world(tmp_path, "abcdefghij")
    folder = embed_videos(data, embedder(tower))
    whole = contents(folder)
    damaged = bytearray((folder / "part-00001.parquet").read_bytes())
    damaged[40] ^= 1
    (folder / "part-00001.parquet").write_bytes(damaged)
    (folder / "part-00002.json").write_text("{")
    decoded.clear()
    assert contents(embed_videos(data, embedder(tower))) == whole
    assert decoded == list("efghij")
    assert "1 parts differ from what was written" in caplog.text


def internvideo2(**values: Any) -> InternVideo2Config:
    sizes = {"num_frames": 4, "image_size": 56, "num_heads": 4, "pool_heads": 4, "device": "cpu", "rows_per_part": 4}
    return InternVideo2Config(**({"name": "tiny", "weights": str(goldens.STAGE2), "workers": 1} | sizes | values))


def test_vectors_of_other_settings_are_neither_mixed_nor_lost(
    tmp_path: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    data = make_world(tmp_path, "abcde")
    folder = embed_videos(data, internvideo2())
    info = read_vectors(folder).info
    assert (
        info.items() >= {"embedder": "tiny", "dim": 16, "num_frames": 4, "image_size": 56, "dtype": "float32"}.items()
    )
    assert set(info["revision"]) == {"weights"}
    whole = contents(folder)

    with pytest.raises(ConfigError, match=r"other settings \(num_frames is 4, wanted 8\).*embedder\.replace=true"):
        embed_videos(data, internvideo2(num_frames=8))
    (folder / "embeddings.json").unlink()  # as an unfinished run
    with pytest.raises(ConfigError, match="output is embedding, wanted pooled"):
        embed_videos(data, internvideo2(output="pooled"))
    assert {name: value for name, value in whole.items() if name != "embeddings.json"} == contents(folder)

    other = embed_videos(data, internvideo2(num_frames=8, name="eight"))
    assert other != folder
    assert contents(embed_videos(data, internvideo2())) == whole
    assert read_vectors(embed_videos(data, replace(internvideo2(num_frames=8), replace=True))).info["num_frames"] == 8
    assert "made again, because their settings differ (num_frames is 4, wanted 8)" in caplog.text


def test_a_reader_that_is_not_installed_ends_the_run_at_once(
    tmp_path: Path, tower: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_world(tmp_path, "abc")
    monkeypatch.setitem(__import__("sys").modules, "torchcodec.decoders", None)
    monkeypatch.setattr("sg.video.checked_reader.multiprocessing.parent_process", lambda: True)
    with pytest.raises(ConfigError, match="torchcodec is not installed"):
        embed_videos(data, embedder(tower, reader="torchcodec"))
    with pytest.raises(MissingInputError):
        read_vectors(data.vectors_folder("demo"))


def test_a_stamp_recognises_a_file_by_size_time_and_content(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(bytes(3 << 20))
    stamp = replace(stamp_of(path), digest=digest(path))
    assert stamp_of(tmp_path / "none") == FileStamp(-1, 0)
    assert not is_replaced(path, stamp, stamp_of(path))
    touch_later(path)
    assert not is_replaced(path, stamp, stamp_of(path))
    assert is_replaced(path, replace(stamp, digest=""), stamp_of(path))
    data = bytearray(path.read_bytes())
    data[-1] = 1
    path.write_bytes(data)
    touch_later(path)
    assert is_replaced(path, stamp, stamp_of(path))
    path.write_bytes(data[:-1])
    assert is_replaced(path, stamp, stamp_of(path))
    path.write_bytes(data)
    os.utime(path, ns=(stamp.mtime_ns, stamp.mtime_ns))  # a copy that keeps the time of its source
    assert is_replaced(path, stamp, stamp_of(path))
