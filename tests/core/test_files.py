import multiprocessing
import os
import socket
import time
from pathlib import Path

import pytest

from sg.core.errors import DataError
from sg.core.files import atomic_dir, atomic_path, file_lock, read_json, write_json


def test_a_file_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_replaces_the_older_one_whole(tmp_path: Path) -> None:
    for names in (["old", "both"], ["new", "both"]):
        with atomic_dir(tmp_path / "folder") as temporary:
            for name in names:
                (temporary / name).touch()
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["both", "new"]


def test_two_containers_with_one_process_id_write_to_different_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 1)
    with atomic_path(tmp_path / "a.txt") as one, atomic_path(tmp_path / "a.txt") as other:
        assert one != other
        assert socket.gethostname()[:16] in one.name
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a.txt").read_text() == "one"


def test_the_longest_name_has_room_for_a_temporary_one(tmp_path: Path) -> None:
    name = "ä" * 120 + ".json"
    write_json(tmp_path / name, {})
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_appears_after_its_content_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[str, bool]] = []

    def fsync(handle: int) -> None:
        flushed.append((Path(f"/proc/self/fd/{handle}").readlink().name, (tmp_path / "a.txt").exists()))

    monkeypatch.setattr("os.fsync", fsync)
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert flushed == [(temporary.name, False), (tmp_path.name, True)]


def test_a_file_that_a_library_made_private_gets_the_permissions_of_a_new_one(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.touch(0o600)
        with atomic_dir(tmp_path / "folder") as temporary:
            (temporary / "b.txt").touch(0o600)
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "a.txt", tmp_path / "folder" / "b.txt")]
    assert modes == [0o640, 0o640]


def test_damaged_json_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    assert read_json(tmp_path / "a.json") == {"x": 1}
    (tmp_path / "a.json").write_text('{"x": ')
    with pytest.raises(DataError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def _hold(lock: str, held: object) -> None:
    with file_lock(Path(lock)):
        held.set()  # type: ignore[attr-defined]
        time.sleep(60)


def test_a_lock_waits_for_its_holder_and_is_freed_by_a_kill(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path / "lock"), held))
    holder.start()
    assert held.wait(30)
    holder.kill()
    with file_lock(tmp_path / "lock"):
        holder.join()
