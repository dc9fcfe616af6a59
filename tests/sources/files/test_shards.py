"""video2dataset's tar files: every header is checked against the bytes of the file."""

import io
import json
import os
import re
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg.artefacts.manifest import read_manifest
from sg.core.content import file_content
from sg.core.places import ranges
from sg.core.places.mirror import mirrored
from sg.core.places.ranges import opened
from sg.sources.files import shards
from sg.sources.files.disk import list_files
from sg.sources.files.tar_index import COMPRESSED, TarMember, tar_members
from sg.sources.manifests import scan
from sg.sources.sets.folder import FolderDataConfig
from sg.sources.sets.webvid import WebVidDataConfig
from sg.video.frames import UnreadableVideoError
from sg.video.reader import probe, read_frames
from sg.video.sampling import MiddleOfSegments
from tests.video.test_far_videos import bytes_of_groups, long_video, sizes_of_reads

WriteFile = Callable[..., Path]


def add(tar: tarfile.TarFile, name: str, content: bytes = b"x", **values: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in values.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(content))


def shard(path: Path, *members: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            add(tar, name, content, mtime=1.5)
    return path


def found(videos: Path) -> tuple[dict[str, bytes], Counter[str]]:
    """The bytes of the videos that a listing finds, by name, and what it left out."""
    listing = list_files(videos)
    files = {file.name: opened(videos / file.path).read() for file in listing.files}
    assert {file.name: file.size for file in listing.files} == {name: len(data) for name, data in files.items()}
    return files, listing.left_out_of_shards


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SG_PLACES", "")


def places(tmp_path: Path) -> list[Path]:
    """The folder `shards`, and the path that stands for it as an address."""
    return [tmp_path / "shards", mirrored(f"file://{tmp_path}/shards", "data.videos", copied=False)]


@pytest.mark.usefixtures("no_processes")
def test_videos_in_shards_are_scanned_like_files(tmp_path: Path, write_file: WriteFile) -> None:
    first, second = (write_file(tmp_path / f"{name}.mp4").read_bytes() for name in "ab")
    rows = [json.dumps({"videoid": number, "caption": f"caption {number}"}).encode() for number in (501, 502, 503)]
    shard(
        tmp_path / "shards" / "00000.tar", ("00000000.mp4", first), ("00000000.json", rows[0]), ("00000000.txt", b"x")
    )
    shard(
        tmp_path / "shards" / "00001.tar",
        ("./00001000.json", rows[1]),
        ("./00001000.mp4", second),
        ("00001001.json", rows[2]),
    )
    for number, videos in enumerate(places(tmp_path)):
        config = WebVidDataConfig(name="webvid", dir=str(tmp_path / f"work-{number}"), videos=str(videos), workers=1)
        rows_of = {row.video_id: (row.path, row.original_caption) for row in read_manifest(scan(config)).records()}
        assert {name: caption for name, (_, caption) in rows_of.items()} == {
            "webvid-501": "caption 501",
            "webvid-502": "caption 502",
        }
        for name, path in (("webvid-501", "a.mp4"), ("webvid-502", "b.mp4")):
            inside, plain = videos / rows_of[name][0], tmp_path / path
            assert re.fullmatch(r"0000[01]\.tar/\d+\+\d+/0000[01]000\.mp4", rows_of[name][0])
            assert file_content(inside) == file_content(plain)
            assert probe(inside) == probe(plain)
            assert np.array_equal(read_frames(inside, [0, 3]).frames, read_frames(plain, [0, 3]).frames)


@pytest.mark.usefixtures("no_processes")
def test_copies_of_a_video_in_shards_are_found_and_a_folder_needs_no_json(
    tmp_path: Path, write_file: WriteFile
) -> None:
    first = write_file(tmp_path / "a.mp4").read_bytes()
    rows = [json.dumps({"videoid": number, "caption": f"caption {number}"}).encode() for number in (501, 502)]
    members = [
        (f"{number}.{kind}", data) for number, row in enumerate(rows) for kind, data in (("mp4", first), ("json", row))
    ]
    shard(tmp_path / "shards" / "00000.tar", *members)
    (tmp_path / "shards" / "more.tar.gz").write_bytes(b"\x1f\x8b")
    for number, videos in enumerate(places(tmp_path)):
        settings = {"workers": 1, "videos": str(videos)}
        rows_of = read_manifest(scan(WebVidDataConfig(name="webvid", dir=str(tmp_path / f"w{number}"), **settings)))
        assert [row.status for row in rows_of.records()] == ["ok", "duplicate"]
        rows_of = read_manifest(scan(FolderDataConfig(name="mine", dir=str(tmp_path / f"f{number}"), **settings)))
        assert [row.video_id for row in rows_of.records()] == ["00000.tar%2F0", "00000.tar%2F1"]
        assert rows_of.info["report"]["left_out_of_shards"] == {COMPRESSED: 1}


def test_frames_of_a_long_video_in_a_far_shard_cost_their_groups_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "_last", ranges._Blocks())
    video = long_video(tmp_path / "video.mp4", 60)
    shard(
        tmp_path / "shards" / "0.tar", ("a.mp4", b"a" * 100_000), ("b.mp4", video.read_bytes()), ("c.mp4", b"c" * 9999)
    )
    far = places(tmp_path)[1]
    path = next(file.path for file in list_files(far).files if file.name == "0.tar/b.mp4")
    sizes = sizes_of_reads(monkeypatch)
    here, there = read_frames(video, MiddleOfSegments(8)), read_frames(far / path, MiddleOfSegments(8))
    assert here.indices == there.indices and np.array_equal(here.frames, there.frames)
    assert 0 < sum(sizes) <= 1.2 * bytes_of_groups(video, here.indices)


def test_links_devices_escapes_repeats_and_unsafe_names_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "shards" / "00000.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in ("../up.mp4", "/etc/x.mp4", "a/b.mp4", "C:\\x.mp4", "-rf.mp4", "x\x1b[2J.mp4", "n" * 300 + ".mp4"):
            add(tar, name)
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE):
            add(tar, "link.mp4", b"", type=kind, linkname="/etc/passwd")
        add(tar, "good.mp4", b"good")
        add(tar, "good.mp4", b"evil")
        add(tar, "empty.mp4", b"")
        add(tar, "script.sh", b"rm")
    files, problems = found(tmp_path / "shards")
    assert files == {"00000.tar/good.mp4": b"good"}
    assert problems["a second member of the same name"] == 1
    assert problems["an empty file"] == 1
    assert problems["a link, device, or other special member"] == 5
    assert problems["a member whose name is not a plain file name"] == 7


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_read_and_those_that_are_too_long_cost_one_video(form: int, tmp_path: Path) -> None:
    long = ["a" * 110 + f"{number}.mp4" for number in (1, 2)]
    members = [(name, name.encode()) for name in (*long, "n" * 300 + ".mp4", "x/" * 60 + "c.mp4", "good.mp4")]
    shard(tmp_path / "shards" / "00000.tar", *members, form=form)
    files, problems = found(tmp_path / "shards")
    assert files == {f"00000.tar/{name}": name.encode() for name in (*long, "good.mp4")}
    assert problems == {"a member whose name is not a plain file name": 2}


def test_extended_headers_are_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for records in (
        b"12 path=../x\n",
        b"999 path=x.mp4\n",
        b"x",
        b"30 GNU.sparse.name=x.mp4\n" + b"\0" * 4,
        b"0 a=b\n",
    ):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            add(tar, "header", records, type=tarfile.XHDTYPE)
            add(tar, "a.mp4", b"one")
            add(tar, "b.mp4", b"two")
        problems: Counter[str] = Counter()
        assert [member.name for member in tar_members(path, problems)] == ["b.mp4"], records
        assert sum(problems.values()) == 1
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        add(tar, "header", b"18 size=999999999\n", type=tarfile.XHDTYPE)
        add(tar, "a.mp4", b"one")
    problems = Counter()
    assert list(tar_members(path, problems)) == []
    assert problems["a member that is cut off or has a wrong size"] == 1


@pytest.mark.parametrize(
    ("damage", "kept", "problem"),
    [
        (lambda raw: raw[:1700], ["a.mp4"], "cut off or has a wrong size"),
        (lambda raw: raw[:1024], ["a.mp4"], "without its end mark"),
        (lambda raw: raw[:1024] + b"\xff" * 100 + raw[1124:], ["a.mp4"], "not a tar file, or damaged"),
        (lambda raw: b"\x1f\x8b" + raw[2:], [], "a compressed archive"),
        (lambda raw: b"xx" + raw[2:], [], "not a tar file, or damaged"),
        (lambda raw: b"", [], None),
    ],
)
def test_of_a_damaged_shard_the_members_before_the_damage_are_read(
    tmp_path: Path, damage: Callable[[bytes], bytes], kept: list[str], problem: str | None
) -> None:
    path = shard(
        tmp_path / "shards" / "00000.tar", ("a.mp4", b"a" * 400), ("b.mp4", b"b" * 400), form=tarfile.USTAR_FORMAT
    )
    path.write_bytes(damage(path.read_bytes()))
    for videos in places(tmp_path):
        files, problems = found(videos)
        assert sorted(files) == [f"00000.tar/{name}" for name in kept]
    assert [name for name in problems if problem and problem in name] or problem is None


def test_wrong_sizes_are_not_trusted(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", ("a.mp4", b"a"), form=tarfile.USTAR_FORMAT)
    raw = bytearray(path.read_bytes())
    for size in (b"77777777777\0", b"\x80" + b"\xff" * 11, b"-0000000001\0", b"xyz\0\0\0\0\0\0\0\0\0"):
        raw[124:136] = size
        raw[148:156] = b" " * 8
        raw[148:156] = b"%06o\0 " % sum(raw[:512])
        path.write_bytes(bytes(raw))
        problems: Counter[str] = Counter()
        assert list(tar_members(path, problems)) == []
        assert problems["a member that is cut off or has a wrong size"] == 1


@given(st.binary(max_size=2000))
def test_random_bytes_do_not_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    path.write_bytes(content)
    for member in tar_members(path, Counter()):
        assert member.offset + member.size <= len(content)


def test_an_indexed_shard_is_not_read_again_and_a_replaced_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [shard(tmp_path / "shards" / f"{number}.tar", ("a.mp4", b"video")) for number in range(3)]
    then = time.time() - 100
    for path in paths:
        os.utime(path, (then, then))
    indexed: list[str] = []

    def counted(path: Path, problems: Counter[str]) -> Iterator[TarMember]:
        indexed.append(path.name)
        if len(indexed) == 2:
            raise KeyboardInterrupt
        return tar_members(path, problems)

    monkeypatch.setattr(shards, "tar_members", counted)
    monkeypatch.setattr(shards, "_AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        found(tmp_path / "shards")
    done = found(tmp_path / "shards")
    assert len(done[0]) == 3 and sorted(indexed).count("0.tar") == 1
    before = len(indexed)
    assert found(tmp_path / "shards") == done and len(indexed) == before
    shard(paths[0], ("b.mp4", b"other"), ("a.mp4", b"video"))
    assert found(tmp_path / "shards")[0] == {**done[0], "0.tar/b.mp4": b"other"}
    assert indexed[before:] == ["0.tar"]


def test_a_member_of_a_missing_or_shorter_archive_is_a_status(tmp_path: Path) -> None:
    path = shard(tmp_path / "shards" / "0.tar", ("a.mp4", b"video" * 1000))
    (file,) = list_files(tmp_path / "shards").files
    for damage, status in (
        (lambda: path.write_bytes(path.read_bytes()[:2000]), "unreadable"),
        (path.unlink, "missing"),
    ):
        damage()
        for videos in places(tmp_path):
            with pytest.raises(UnreadableVideoError) as problem:
                read_frames(videos / file.path, [0])
            assert problem.value.status == status
    path.write_bytes(b"")
    with pytest.raises(UnreadableVideoError, match=r"decord.*plain files of this machine"):
        read_frames(tmp_path / "shards" / file.path, [0], "decord")
