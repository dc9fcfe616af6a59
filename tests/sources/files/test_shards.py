"""video2dataset's tar files: every header is checked against the bytes of the file."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg.artefacts.manifest import read_manifest
from sg.core.errors import MissingInputError
from sg.sources.files.shards import unpack_shards
from sg.sources.files.tar_index import tar_members
from sg.sources.manifests import scan
from sg.sources.sets.webvid import WebVidDataConfig

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


def unpacked(tmp_path: Path) -> tuple[dict[str, bytes], Counter[str]]:
    videos = tmp_path / "videos"
    problems = unpack_shards(tmp_path / "shards", videos, tmp_path / "work" / "scan-shards.jsonl")
    return {str(path.relative_to(videos)): path.read_bytes() for path in videos.rglob("*") if path.is_file()}, problems


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
    config = WebVidDataConfig(
        name="webvid",
        dir=str(tmp_path / "work"),
        videos=str(tmp_path / "videos"),
        shards=str(tmp_path / "shards"),
        workers=1,
    )
    found = {row.video_id: (row.path, row.original_caption) for row in read_manifest(scan(config)).records()}
    assert found == {
        "webvid-501": ("00000/00000000.mp4", "caption 501"),
        "webvid-502": ("00001/00001000.mp4", "caption 502"),
    }


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
    files, problems = unpacked(tmp_path)
    assert files == {"00000/good.mp4": b"good"}
    assert problems["a second member of the same name"] == 1
    assert problems["an empty file"] == 1
    assert problems["a link, device, or other special member"] == 5
    assert problems["a member whose name is not a plain file name"] == 7


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_read_and_those_that_are_too_long_cost_one_video(form: int, tmp_path: Path) -> None:
    long = ["a" * 110 + f"{number}.mp4" for number in (1, 2)]
    members = [(name, name.encode()) for name in (*long, "n" * 300 + ".mp4", "x/" * 60 + "c.mp4", "good.mp4")]
    shard(tmp_path / "shards" / "00000.tar", *members, form=form)
    files, problems = unpacked(tmp_path)
    assert files == {f"00000/{name}": name.encode() for name in (*long, "good.mp4")}
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
        (lambda raw: b"\x1f\x8b" + raw[2:], [], "not a tar file, or damaged"),
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
    files, problems = unpacked(tmp_path)
    assert sorted(files) == [f"00000/{name}" for name in kept]
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


def test_a_finished_shard_is_not_read_again_and_an_incomplete_copy_is_replaced(tmp_path: Path) -> None:
    path = shard(tmp_path / "shards" / "00000.tar", ("a.mp4", b"video"), ("b.mp4", b"other"))
    unpacked(tmp_path)
    (tmp_path / "videos" / "00000" / "b.mp4").unlink()
    assert list(unpacked(tmp_path)[0]) == ["00000/a.mp4"]
    (tmp_path / "work" / "scan-shards.jsonl").unlink()
    (tmp_path / "videos" / "00000" / "a.mp4").write_bytes(b"vi")
    assert unpacked(tmp_path)[0] == {"00000/a.mp4": b"video", "00000/b.mp4": b"other"}
    path.unlink()
    with pytest.raises(MissingInputError, match=r"no \.tar files"):
        unpacked(tmp_path)
