import multiprocessing
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
