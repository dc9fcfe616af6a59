"""A store that fails, on an S3 emulator: another attempt or one sentence, and never half a file."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.artefacts.manifest import read_manifest
from sg.core.errors import DataError
from sg.core.files import write_text
from sg.core.places import store
from sg.core.places.mirror import fetch, mirrored, push
from sg.core.places.settings import local_place
from sg.core.places.store import Store
from sg.sources.sets.folder import FolderDataConfig, scan_folder
from sg.video.reader import read_frames
from sg.video.writer import write_video
from tests.s3 import KEY, PASSING, Emulator, emulator

REFUSED = ["403 Forbidden", "400 Bad Request"]
ACTIONS = ["list", "entry", "get", "read", "put", "write"]


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with emulator() as found:
        yield found


@pytest.fixture
def s3(server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The emulator without faults; nothing waits before another attempt."""
    import botocore.retries.standard
    import s3fs.core

    real_sleep = s3fs.core.asyncio.sleep
    monkeypatch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
    monkeypatch.setattr(s3fs.core.asyncio, "sleep", lambda *_: real_sleep(0))
    monkeypatch.setattr(store, "_PAUSE_S", 0.0)
    monkeypatch.setattr(store, "_ATTEMPTS", 2)
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SG_PLACES", "")
    server.heal()
    store._filesystem.cache_clear()
    yield server
    server.heal()
    store._filesystem.cache_clear()


def action(kind: str, place: Store, folder: Path) -> Callable[[], Any]:
    """One call of the store; what it reads is the file `there`, what it writes is `new`."""
    (folder / "source").write_bytes(b"new")
    return {
        "list": lambda: list(place.list("")),
        "entry": lambda: place.entry("there"),
        "get": lambda: (place.get("there", folder / "got"), (folder / "got").read_bytes()),
        "read": lambda: place.read("there", 1, 3),
        "put": lambda: (place.put(folder / "source", "new"), place.read("new")),
        "write": lambda: (place.write("new", b"new"), place.read("new")),
    }[kind]


@pytest.mark.parametrize("kind", ACTIONS)
def test_a_passing_fault_is_tried_again_and_a_lasting_one_is_one_sentence(
    s3: Emulator, tmp_path: Path, kind: str
) -> None:
    place = Store(f"s3://bucket/{kind}")
    place.write("there", b"content")
    call = action(kind, place, tmp_path)
    expected = call()
    place.delete(["new"])
    for fault in PASSING:
        s3.fail(fault, times=2)
        assert call() == expected
        s3.heal()
        place.delete(["new"])
        s3.fail(fault)
        with pytest.raises(DataError, match=rf"^s3://bucket/{kind}.* cannot be .*: check the store, then run the same"):
            call()
        s3.heal()
    # The emulator stored what was uploaded before it cut the connection; a file that is there is whole.
    assert {name: place.read(name) for name in place.list()} in (
        {"there": b"content"}, {"there": b"content", "new": b"new"},
    )  # fmt: skip


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("fault", REFUSED)
def test_lost_credentials_are_one_sentence_after_one_attempt(
    s3: Emulator, tmp_path: Path, kind: str, fault: str
) -> None:
    place = Store(f"s3://bucket/refused-{kind}")
    place.write("there", b"content")
    call = action(kind, place, tmp_path)
    s3.fail(fault, times=100)
    with pytest.raises(DataError, match=r"s3://bucket/refused.*: check the credentials.*run the same command") as told:
        call()
    assert s3.times >= 98 and KEY not in str(told.value)


def test_missing_credentials_and_a_missing_bucket_are_one_sentence(
    s3: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Store("s3://no-such-bucket/work")
    (tmp_path / "source").write_bytes(b"new")
    for call in (missing.list, lambda: missing.put(tmp_path / "source", "x"), lambda: missing.write("x", b"")):
        with pytest.raises(DataError, match=r"^s3://no-such-bucket/work.* \(.*\): check the address, then"):
            call()
    with pytest.raises(FileNotFoundError):
        Store("s3://bucket").put(tmp_path / "removed meanwhile", "x")
    store._filesystem.cache_clear()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"^s3://bucket/x cannot .*credentials.*: check the credentials, then"):
        Store("s3://bucket").write("x", b"")


def test_a_store_that_does_not_answer_is_given_up(s3: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_READ_S", 0.1)
    monkeypatch.setattr(store, "_PATIENCE_S", 0)
    place = Store("s3://bucket/slow")
    s3.fail("slow", times=1)
    place.write("x", b"1")
    assert place.read("x") == b"1"
    s3.fail("slow")
    # The answer to the first slow call may come now, and close the connection that is used again.
    sentence = r"^s3://bucket/slow/x cannot be .*([Tt]imeout|Connection was closed).*: check the store"
    with pytest.raises(DataError, match=sentence):
        place.write("x", b"2")
    s3.heal()
    store._filesystem.cache_clear()
    monkeypatch.undo()
    assert Store("s3://bucket/slow").read("x") in (b"1", b"2")


def test_an_upload_in_parts_that_fails_leaves_no_file(
    s3: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs.core

    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda *_, **__: 5 * 2**20)
    large = tmp_path / "large"
    large.write_bytes(os.urandom(11 * 2**20))
    place = Store("s3://bucket/parts")
    s3.fail("500 Internal Server Error", "PUT .*partNumber=2")
    with pytest.raises(DataError, match="s3://bucket/parts/large cannot be"):
        place.put(large, "large")
    s3.heal()
    assert place.list() == {}
    s3.fail("reset", "PUT .*partNumber=2", times=2)
    place.put(large, "large")
    place.get("large", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == large.read_bytes()


def test_a_mirror_catches_up_when_the_store_is_back(
    s3: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mirrored("s3://bucket/mirror", "paths.work")
    write_text(folder / "x", "old")
    s3.fail("403 Forbidden")
    with pytest.raises(DataError, match="check the credentials"):
        write_text(folder / "x", "new")
    with pytest.raises(DataError, match="check the credentials"):
        fetch(folder)
    s3.heal()
    assert Store("s3://bucket/mirror").read("x") == b"old"
    push(folder)
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "another machine"))
    monkeypatch.setenv("SG_PLACES", "")
    other = mirrored("s3://bucket/mirror", "paths.work")
    s3.fail("cut", "GET /bucket/mirror/x")
    with pytest.raises(DataError, match="s3://bucket/mirror/x cannot be read"):
        fetch(other)
    assert list(other.iterdir()) == []
    s3.heal()
    fetch(other)
    assert (other / "x").read_text() == "new"


def test_a_scan_in_a_bucket_that_fails_now_and_then_is_that_of_a_disk(
    s3: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, videos = np.random.default_rng(0), tmp_path / "videos"
    for name in ("a", "b"):
        write_video(videos / f"{name}.mp4", draw.integers(0, 256, (20, 48, 64, 3), dtype=np.uint8), 10)
    (videos / "broken.mp4").write_bytes((videos / "a.mp4").read_bytes()[:500])
    captions = tmp_path / "captions.csv"
    captions.write_text("video,caption\na.mp4,A dog runs.\nb.mp4,A cat sleeps.\n", encoding="utf-8")
    for file in (*videos.iterdir(), captions):
        Store("s3://bucket/lab").put(file, file.relative_to(tmp_path).as_posix())

    def scanned(place: str) -> Path:
        settings = {"dir": f"{place}/clips", "videos": f"{place}/videos", "captions": f"{place}/captions.csv"}
        here = {key: local_place(f"data.{key}", value) for key, value in settings.items()}
        fetch(Path(here["captions"]))
        return scan_folder(FolderDataConfig(name="clips", workers=1, **here))

    local = scanned(str(tmp_path))
    s3.fail_every(5)
    scanned("s3://bucket/lab")
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "another machine"))
    monkeypatch.setenv("SG_PLACES", "")
    there = Path(local_place("data.dir", "s3://bucket/lab/clips"))
    fetch(there)
    assert list(read_manifest(there / "manifest.parquet").records()) == list(read_manifest(local).records())
    far = Path(local_place("data.videos", "s3://bucket/lab/videos"))
    assert np.array_equal(read_frames(far / "a.mp4", [3, 17]).frames, read_frames(videos / "a.mp4", [3, 17]).frames)
