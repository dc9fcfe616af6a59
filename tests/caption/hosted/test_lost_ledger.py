"""A ledger that was deleted, damaged or replaced by an older one never buys captions again; nor does a wrong clock."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from sg.artefacts.captions import read_captions
from sg.caption.hosted.engine.limits import DailyQuota
from sg.caption.hosted.run import ledger_path, recipe_of
from sg.caption.hosted.settings import QuotaConfig
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import Ledger
from sg.core.errors import DataError
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini.state import State


def delete(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def test_captions_without_their_ledger_are_not_bought_again(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url)
    captions = caption(data, config)
    delete(ledger_path(data, config))
    requests = len(state.bodies)
    for _ in range(2):  # the first try leaves a new ledger
        with pytest.raises(DataError, match=r"captions of 2 videos \(a, .*does not know.*backup.*move these captions"):
            caption(data, config)
    assert len(state.bodies) == requests
    assert list(read_captions(captions)) == ["a", "b"]
    captions.unlink()
    caption(data, config)
    assert len(state.bodies) == requests + 2


def test_damaged_captions_without_their_ledger_are_not_bought_again(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, ["a"]), settings(url)
    captions = caption(data, config)
    delete(ledger_path(data, config))
    captions.write_bytes(captions.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"cannot be read, and the ledger .* knows no caption"):
        caption(data, config)
    assert len(state.bodies) == 1


def test_an_older_ledger_is_noticed(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, ["a"]), settings(url)
    caption(data, config)
    path = ledger_path(data, config)
    shutil.copy(path, tmp_path / "backup")
    caption(data_folder(tmp_path, ["a", "b"]), config)
    delete(path)
    shutil.copy(tmp_path / "backup", path)
    with pytest.raises(DataError, match=r"captions of 1 videos \(b, "):
        caption(data, config)
    assert len(state.bodies) == 2


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, None], ids=["empty", "garbage", "zeros"])
def test_a_damaged_ledger_is_reported_with_the_way_to_go_on(
    tmp_path: Path, state: State, url: str, content: bytes | None
) -> None:
    data, config = data_folder(tmp_path, ["a"]), settings(url)
    caption(data, config)
    path = ledger_path(data, config)
    whole = path.read_bytes()
    delete(path)
    path.write_bytes(whole[:4096] + bytes(8192) + whole[12288:] if content is None else content)
    with pytest.raises(DataError, match=rf"{path.name}.*backup"):
        caption(data, config)
    assert len(state.bodies) == 1


def test_a_changed_name_of_a_column_in_the_ledger_is_damage(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, ["a"]), settings(url)
    caption(data, config)
    path = ledger_path(data, config)
    whole = path.read_bytes()
    assert b"versions TEXT" in whole
    path.write_bytes(whole.replace(b"versions TEXT", b"versionz TEXT"))
    with pytest.raises(DataError, match=rf"{path.name}.*has no column named versions.*backup"):
        caption(data, config)
    assert len(state.bodies) == 1


def test_captions_that_are_damaged_beside_an_intact_ledger_are_written_again(
    tmp_path: Path, state: State, url: str
) -> None:
    data, config = data_folder(tmp_path, ["a"]), settings(url)
    captions = caption(data, config)
    whole = captions.read_bytes()
    captions.write_bytes(whole[: len(whole) // 2] + b"\0" + whole[len(whole) // 2 + 1 :])
    caption(data, config)
    assert list(read_captions(captions)) == ["a"]
    assert len(state.bodies) == 1


def test_a_clock_that_was_two_days_ahead_makes_no_video_wait(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url)
    caption(data, config)
    ahead = time.time() + 2 * 86_400
    with sqlite3.connect(ledger_path(data, config)) as db:
        db.execute("DELETE FROM result")
        db.execute("UPDATE task SET state='pending', next_try_at=?, first_try_at=?", (ahead + 30, ahead))
        db.execute("UPDATE attempt SET started=?", (ahead,))
    with contextlib.closing(Ledger(ledger_path(data, config))) as ledger:
        name = recipe_of(config).name
        ledger.start_run("{}", "{}", longest_pause_s=330.0)
        assert reading.requests_since(ledger.connection, time.time()) == 0
        assert ledger.next_due(name) == 0
        assert [task.video_id for task in ledger.claim(name, time.time(), 5)] == ["a", "b"]


def test_a_daily_quota_forgets_the_day_of_a_clock_that_was_ahead() -> None:
    clock = [1_700_000_000.0 + 2 * 86_400]
    day = DailyQuota(QuotaConfig(), lambda since: 0, now=lambda: clock[0])
    day.suspend()
    clock[0] -= 2 * 86_400
    assert day.free_at() - clock[0] <= 86_400
