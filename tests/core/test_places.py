"""Addresses: mirrored folders, files that appear whole, and locks between machines.

A folder under `file://` is the store, and a cache folder of its own makes another machine.
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import ConfigError, DataError
from sg.core.files import atomic_path, file_lock, write_json, write_text
from sg.core.places import lease, mirror, store
from sg.core.places.mirror import LARGE, LEASES, fetch, mirror_of, mirrored, push
from sg.core.places.ranges import far
from sg.core.places.settings import in_step, local_place, recorded_place
from sg.core.places.store import Store


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "bucket"
    folder.mkdir()
    monkeypatch.setattr(store, "_PAUSE_S", 0.0)
    monkeypatch.setattr(lease, "PAUSE_S", 0.02)
    monkeypatch.setattr(lease, "BEAT_S", 0.05)
    monkeypatch.setattr(lease, "EXPIRES_S", 0.5)
    before = os.environ.get("SG_PLACES")
    yield folder
    os.environ.pop("SG_PLACES", None)
    if before is not None:
        os.environ["SG_PLACES"] = before


@pytest.fixture
def machine(bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return the mirror of the bucket on the machine of a name, and become that machine."""

    def become(name: str) -> Path:
        monkeypatch.setenv("SG_CACHE", str(tmp_path / name))
        os.environ.pop("SG_PLACES", None)
        return mirrored(f"file://{bucket}/work", "paths.work")

    return become


def test_what_one_machine_writes_whole_another_one_reads(machine: Callable[[str], Path], bucket: Path) -> None:
    first = machine("a")
    write_json(first / "data" / "x.json", {"n": 1})
    assert json.loads((bucket / "work/data/x.json").read_text()) == {"n": 1}
    with pytest.raises(ZeroDivisionError), atomic_path(first / "data" / "half.txt") as path:
        path.write_text("half")
        raise ZeroDivisionError
    second = machine("b")
    fetch(second)
    assert [file.name for file in (second / "data").iterdir()] == ["x.json"]
    write_json(second / "data" / "x.json", {"n": 2})
    first = machine("a")
    fetch(first)
    assert json.loads((first / "data/x.json").read_text()) == {"n": 2}


def test_an_unpushed_change_is_kept_unless_the_address_changed_too(machine: Callable[[str], Path]) -> None:
    first = machine("a")
    write_text(first / "x", "1")
    (first / "x").write_text("killed before the push")
    fetch(first)
    assert (first / "x").read_text() == "killed before the push"
    second = machine("b")
    fetch(second)
    write_text(second / "x", "22")
    first = machine("a")
    fetch(first)
    assert (first / "x").read_text() == "22"


def test_large_folders_are_fetched_when_they_are_used(machine: Callable[[str], Path]) -> None:
    first = machine("a")
    write_text(first / "stages/align-1/model.safetensors", "weights")
    write_text(first / "stages/align-1/stage.json", "{}")
    second = machine("b")
    fetch(second, LARGE)
    assert [file.name for file in (second / "stages/align-1").iterdir()] == ["stage.json"]
    fetch(second / "stages/align-1")
    assert (second / "stages/align-1/model.safetensors").read_text() == "weights"


def test_a_lock_brings_and_takes_the_files_that_it_guards(machine: Callable[[str], Path], bucket: Path) -> None:
    first = machine("a")
    with file_lock(first / "stages/align-1.lock"):
        (first / "stages/align-1").mkdir()
        (first / "stages/align-1/loss.csv").write_text("1")
        (first / "stages/align-1/resume").write_text("1")
    second = machine("b")
    with file_lock(second / "stages/align-1.lock"):
        assert (second / "stages/align-1/loss.csv").read_text() == "1"
        (second / "stages/align-1/resume").unlink()
    assert not (bucket / "work/stages/align-1/resume").exists()
    first = machine("a")
    with file_lock(first / "stages/align-1.lock"):
        assert not (first / "stages/align-1/resume").exists()
    assert list((bucket / "work" / LEASES).rglob("*-*")) == []


@pytest.mark.parametrize("parts", [("",), ("", ".index")])
def test_a_deleted_mirror_comes_back_and_takes_nothing_with_it(
    machine: Callable[[str], Path], bucket: Path, parts: tuple[str, ...]
) -> None:
    first = machine("a")
    write_json(first / "data" / "x.json", {"n": 1})
    with file_lock(first / "stages/align-1.lock"):
        (first / "stages/align-1").mkdir()
        (first / "stages/align-1/loss.csv").write_text("1")
    kept = {path: path.read_bytes() for path in bucket.rglob("*") if path.is_file()}
    for part in parts:
        place = first.with_name(f"{first.name}{part}")
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    first = machine("a")
    fetch(first, LARGE)
    push(first)
    with file_lock(first / "stages/align-1.lock"):
        assert (first / "stages/align-1/loss.csv").read_text() == "1"
    assert json.loads((first / "data/x.json").read_text()) == {"n": 1}
    assert {path: path.read_bytes() for path in bucket.rglob("*") if path.is_file()} == kept


def test_two_machines_never_hold_a_lock_at_once(machine: Callable[[str], Path]) -> None:
    mirrors = [found[0] for name in "abc" if (found := mirror_of(machine(name) / "x")) is not None]
    inside, most = 0, 0

    def work(mirror: Any) -> None:
        nonlocal inside, most
        for _ in range(4):
            with lease.leased(mirror, "x.lock"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.01)
                inside -= 1

    threads = [threading.Thread(target=work, args=(mirror,)) for mirror in mirrors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_dead_holder_is_replaced_and_notices_it_if_it_lives(machine: Callable[[str], Path], bucket: Path) -> None:
    def mirror(name: str) -> Any:
        found = mirror_of(machine(name) / "x")
        assert found is not None
        return found[0]

    first, second = mirror("a"), mirror("b")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DataError, match="took over"):
        patch.setattr(lease, "BEAT_S", 60.0)  # frozen: it gives no beat
        with lease.leased(first, "x.lock"):
            for claim in bucket.rglob(f"{LEASES}/*/*"):  # its clock is ten minutes ahead
                os.utime(claim, (time.time() + 600, time.time() + 600))
            began = time.monotonic()
            with lease.leased(second, "x.lock"):
                assert time.monotonic() - began > 0.5


def test_a_living_holder_is_not_replaced(machine: Callable[[str], Path]) -> None:
    mirrors = [found[0] for name in "ab" if (found := mirror_of(machine(name) / "x")) is not None]
    entered = threading.Event()

    def wait() -> None:
        with lease.leased(mirrors[1], "x.lock"):
            entered.set()

    with lease.leased(mirrors[0], "x.lock"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not entered.wait(1.2)
    thread.join()
    assert entered.is_set()


def test_a_restart_on_the_same_machine_waits_for_no_lease(machine: Callable[[str], Path]) -> None:
    folder = machine("a")
    found = mirror_of(folder / "x.lock")
    assert found is not None
    claims = lease._Claims(found[0], f"{LEASES}/{lease.fingerprint('x.lock')}", "x.lock")
    claims.acquire()  # and killed
    began = time.monotonic()
    with file_lock(folder / "x.lock"):
        assert time.monotonic() - began < 0.4


class Faulty:
    """A file system whose calls fail a few times."""

    def __init__(self, inner: Any, error: Exception, times: int) -> None:
        self.inner, self.error, self.times = inner, error, times

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.inner, name)
        if name not in ("put_file", "get_file", "find", "cat_file"):
            return call

        def failing(*args: Any, **kwargs: Any) -> Any:
            if self.times > 0:
                self.times -= 1
                raise self.error
            return call(*args, **kwargs)

        return failing


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError("slow"), OSError("503 Slow Down")])
def test_a_passing_fault_is_tried_again_and_a_lasting_one_is_one_sentence(
    machine: Callable[[str], Path], bucket: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder, real = machine("a"), store._filesystem
    monkeypatch.setattr(store, "_filesystem", lambda *_: faulty)
    faulty = Faulty(real("file", os.getpid()), error, 2)
    write_text(folder / "x", "1")
    assert (bucket / "work/x").read_text() == "1"
    faulty.times = 99
    with pytest.raises(DataError, match=r"work/y cannot be read or written \(.*\): check the store, then run the same"):
        write_text(folder / "y", "1")
    assert [path.name for path in (bucket / "work").iterdir()] == ["x"]
    faulty.times = 0
    push(folder)  # the next command copies what is missing
    assert (bucket / "work/y").read_text() == "1"


def test_settings_become_local_paths_and_hold_no_password(bucket: Path, machine: Callable[[str], Path]) -> None:
    folder = machine("a")
    assert local_place("paths.work", f"file://{bucket}/work") == str(folder)
    assert local_place("data.dir", f"file://{bucket}/work/webvid/") == str(folder / "webvid")
    assert local_place("data.videos", "gs://bucket/videos") == "gs://bucket/videos"
    assert local_place("paths.work", "/data/work") == "/data/work"
    assert local_place("served", "http://host:8000") == "http://host:8000"
    with pytest.raises(ConfigError, match="holds a name or a password") as told:
        local_place("paths.work", "s3://key:secret@bucket/work")
    assert "secret" not in str(told.value)
    with pytest.raises(ConfigError, match="is not a known kind of address"):
        local_place("paths.work", "s4://bucket/work")


def test_a_file_brings_nothing_of_what_lies_beside_it(bucket: Path, machine: Callable[[str], Path]) -> None:
    """The captions of a bucket may lie beside all of its videos, under any name."""
    machine("a")
    (bucket / "clips").mkdir()
    (bucket / "clips" / "a.mp4").write_text("large")
    (bucket / "captions.csv").write_text("a,b")
    path = Path(local_place("data.captions", f"file://{bucket}/captions.csv"))
    with in_step():
        assert path.read_text() == "a,b"
        assert local_place("data.captions", f"file://{bucket}/captions.csv") == str(path)
        assert Path(local_place("data.dir", f"file://{bucket}/other")).parent != path.parent
        (bucket / "captions.csv").write_text("c,d")
        fetch(path)
        assert path.read_text() == "c,d"
        assert mirror.address_of(path) == f"file://{bucket}/captions.csv"
    assert not list((bucket.parent / "a").rglob("*.mp4"))
    assert mirror.with_addresses(f"no file {path}: x") == f"no file file://{bucket}/captions.csv: x"


def test_a_folder_of_this_machine_has_one_mirror(
    bucket: Path, machine: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second mirror would have a second ledger, and pay for the same captions again."""
    first = machine("a")
    monkeypatch.chdir(bucket)
    for name in (f"{bucket}//work/", f"{bucket}/x/../work", "work", "./work"):
        assert mirrored(f"file://{name}", "data.dir") == first
    assert mirrored(f"local://{bucket}/work", "data.dir") == first


def test_a_manifest_records_the_address_of_its_videos_and_is_found_on_another_machine(
    machine: Callable[[str], Path], bucket: Path, tmp_path: Path
) -> None:
    from sg.artefacts.manifest import recorded_videos
    from sg.core.identity import identity
    from sg.sources.scan.current import manifest_info

    (bucket / "texts").mkdir()
    (bucket / "texts" / "captions.csv").write_text("a,b")
    manifest = machine("a") / "clips" / "manifest.parquet"
    videos = Path(local_place("data.videos", f"file://{bucket}/videos"))
    captions = local_place("data.captions", f"file://{bucket}/texts/captions.csv")
    work = identity("scan", settings={}, version=1)
    info = manifest_info(manifest, "folder", videos, work, captions=captions)
    assert (info["videos"], info["captions"]) == (f"file://{bucket}/videos", f"file://{bucket}/texts/captions.csv")
    manifest = machine("b") / "clips" / "manifest.parquet"
    found = recorded_videos(manifest, info)
    assert found.is_relative_to(tmp_path / "b") and far(found / "x.mp4") is not None
    assert recorded_place("data.captions", info["captions"]).read_text() == "a,b"


def test_an_address_of_a_missing_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(protocol: str, **_: Any) -> None:
        raise ImportError("Install s3fs to access S3")

    store._filesystem.cache_clear()
    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(ConfigError, match=r"s3:// needs another package: pip install -e '\.\[s3\]'"):
        Store("s3://bucket")
    store._filesystem.cache_clear()
