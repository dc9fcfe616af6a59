"""A changed ledger never loses an answer, gives it to another video, or lets one be bought twice without a word."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from sg.caption.hosted.run import ledger_path
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import AttemptEnd, Ledger, NewTask, TaskEnd
from sg.core.errors import DataError, disk_problem
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini.state import State
from tests.core.disks import closed, folder_for_all

KEYS = [letter * 20 for letter in "ABC"]


def tasks() -> list[NewTask]:
    return [NewTask(key, f"item {key}", f"video {key}", place) for place, key in enumerate(KEYS)]


def answered(path: Path) -> Path:
    with contextlib.closing(Ledger(path)) as ledger:
        ledger.start_run("{}", "{}")
        ledger.set_tasks("r", tasks())
        for task in ledger.claim("r", time.time(), 3):
            ledger.end_attempt(ledger.begin_attempt(task, "inline", 100, 0.02), AttemptEnd(200, cost_usd=0.01))
            ledger.end_task(task, TaskEnd("succeeded", text=f"of {task.video_id}", record="{}"))
    return path


def change(path: Path, statement: str) -> None:
    with contextlib.closing(Ledger(path)) as ledger:
        ledger.connection.execute(statement)


def texts(path: Path) -> dict[str, str]:
    with contextlib.closing(Ledger(path)) as ledger:
        ledger.set_tasks("r", tasks())
        return {row.video_id: row.text for row in reading.results(ledger.connection, "r")}


def test_a_changed_bit_in_a_key_or_state_is_reported_or_changes_nothing(tmp_path: Path) -> None:
    path = answered(tmp_path / "ledger.sqlite")
    whole, expected = path.read_bytes(), texts(path)
    assert expected == {f"video {key}": f"of video {key}" for key in KEYS}
    places = [found.start() for word in (KEYS[1], "succeeded") for found in re.finditer(word.encode(), whole)]
    outcomes = []
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(data)
        try:
            assert texts(path) == expected
        except DataError as error:
            assert re.search(r"ledger\.sqlite, .*is damaged .*: restore it from a backup", str(error))
            outcomes.append(place)
    assert outcomes


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE task SET state='pending' WHERE position=1",
        "UPDATE task SET state='rejected' WHERE position=1",
        "DELETE FROM result WHERE task_key LIKE 'B%'",
        "UPDATE result SET task_key='other' WHERE task_key LIKE 'B%'",
        "DELETE FROM task WHERE position=1",
    ],
)
def test_tasks_and_answers_that_disagree_are_damage(tmp_path: Path, statement: str) -> None:
    path = answered(tmp_path / "ledger.sqlite")
    change(path, statement)
    with pytest.raises(DataError, match=r"the states of [12] tasks and their answers disagree"):
        Ledger(path)
    with pytest.raises(DataError, match=r"the states of [12] tasks and their answers disagree"):
        reading.open_for_reading(path)


def test_an_answer_stays_with_the_video_whose_key_it_has(tmp_path: Path) -> None:
    path = answered(tmp_path / "ledger.sqlite")
    expected = texts(path)
    change(path, "UPDATE task SET video_id='another', item_key='x', recipe='s' WHERE position=1")
    assert texts(path) == expected


def test_the_larger_sum_of_two_that_disagree_counts_as_spent(
    tmp_path: Path, state: State, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url)
    caption(data, config)
    path = ledger_path(data, config)
    with contextlib.closing(Ledger(path)) as ledger:
        spent = reading.spent_usd(ledger.connection)
    assert spent > 0
    assert "disagree" not in caplog.text
    for statement, larger in (("UPDATE spend SET usd=usd/2", spent), ("UPDATE spend SET usd=usd*8", 4 * spent)):
        caplog.clear()
        change(path, statement)
        caption(data, config)
        assert f"{path}: the costs of its requests and of its minutes disagree" in caplog.text
        with contextlib.closing(Ledger(path)) as ledger:
            assert reading.spent_usd(ledger.connection) == pytest.approx(larger)
    assert len(state.bodies) == 2


def test_a_ledger_on_a_read_only_disk_is_read_and_never_written_without_its_name() -> None:
    with folder_for_all() as folder:
        path = answered(folder / "ledger #1?.sqlite")
        with closed(folder, path), contextlib.closing(reading.open_for_reading(path)) as db:
            assert {row.video_id for row in reading.results(db, "r")} == {f"video {key}" for key in KEYS}
        for files in ((folder, path), (folder,)):
            with closed(*files), pytest.raises((OSError, sqlite3.OperationalError)) as caught:
                Ledger(path)
            assert str(path) in (disk_problem(caught.value) or "")


@pytest.mark.parametrize("mode", [0o000, 0o555])
def test_a_ledger_of_another_user_is_named(mode: int) -> None:
    with folder_for_all() as folder:
        path = answered(folder / "ledger.sqlite")
        if mode:  # its log is there, as after a kill, and nothing can be written beside it
            with contextlib.closing(sqlite3.connect(path)) as db:
                db.execute("UPDATE task SET attempts=1")
                db.commit()
                shutil.copy(f"{path}-wal", f"{path}-copy")
            shutil.move(f"{path}-copy", f"{path}-wal")
        closed_ones = (folder, path) if mode else (path,)
        with closed(*closed_ones, mode=mode or 0), pytest.raises((OSError, sqlite3.OperationalError)) as caught:
            reading.open_for_reading(path)
        assert str(path) in (disk_problem(caught.value) or "")
