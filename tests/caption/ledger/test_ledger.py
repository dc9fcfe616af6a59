"""The ledger keeps everything that was committed, whenever the process is killed, and can be merged with others."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sg.caption.hosted.run import ledger_path, recipe_of
from sg.caption.hosted.services.records import Usage
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import AttemptEnd, Ledger, NewTask, TaskEnd
from sg.caption.ledger.merge import forget, merge
from sg.core.errors import ConfigError, DataError, MissingInputError
from tests.caption.hosted.builder import caption, data_folder, settings, start_worker
from tests.caption.hosted.fake_gemini import answers, forms
from tests.caption.hosted.fake_gemini.faults import FORMS, FaultPlan
from tests.caption.hosted.fake_gemini.http import Response
from tests.caption.hosted.fake_gemini.state import State

VIDEOS, KILLS, CONCURRENCY = 400, 3, 16


def tasks(count: int) -> list[NewTask]:
    return [NewTask(f"k{i}", f"i{i}", f"v{i}", i) for i in range(count)]


def test_a_result_is_recorded_once_and_attempts_of_a_killed_run_are_lost(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with contextlib.closing(Ledger(path)) as ledger:
        ledger.start_run("{}", "{}")
        ledger.set_tasks("r", tasks(3))
        first, second = ledger.claim("r", time.time(), 2)
        number = ledger.begin_attempt(first, "inline", 100, 0.01)
        ledger.begin_attempt(second, "inline", 100, 0.02)
        ledger.end_attempt(number, AttemptEnd(200, usage=Usage(90, 10), cost_usd=0.005))
        for text in ("kept", "late"):
            ledger.end_task(first, TaskEnd("succeeded", text=text, record=json.dumps({})))
    with contextlib.closing(Ledger(path)) as ledger:
        assert ledger.start_run("{}", "{}") == 1
        db = ledger.connection
        assert reading.states(db, "r") == {"pending": 2, "succeeded": 1}
        assert [row.text for row in reading.results(db, "r")] == ["kept"]
        assert reading.spent_usd(db) == pytest.approx(0.025)  # the lost request may have been billed
        assert reading.lost_requests(db) == 1
        ledger.set_tasks("r", tasks(2))
        assert reading.states(db, "r") == {"pending": 1, "succeeded": 1, "withdrawn": 1}


def test_a_file_that_is_not_a_ledger_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(DataError, match=r"is damaged \(file is not a database\)"):
        Ledger(tmp_path / "x.sqlite")
    with pytest.raises(MissingInputError, match="no ledger"):
        reading.open_for_reading(tmp_path / "none.sqlite")


def test_a_ledger_of_an_older_version_is_migrated_and_continued(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url)
    caption(data, config)
    with contextlib.closing(sqlite3.connect(ledger_path(data, config))) as db:
        db.execute("ALTER TABLE task DROP COLUMN item")  # as in version 1
        db.execute("ALTER TABLE task RENAME COLUMN media TO film")
        db.execute("DROP TABLE recipe")
        db.execute("PRAGMA user_version=1")
    data_folder(tmp_path, ["a", "b", "c"])
    caption(data, config)
    assert dict(state.paid) == {"a": 1, "b": 1, "c": 1}
    with reading.open_for_reading(ledger_path(data, config)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
        assert db.execute("SELECT COUNT(*) FROM task WHERE item!=''").fetchone() == (3,)


def test_a_manifest_with_a_repeated_id_is_refused_before_any_request(tmp_path: Path) -> None:
    with contextlib.closing(Ledger(tmp_path / "ledger.sqlite")) as ledger:
        with pytest.raises(DataError, match="video id 'v1' appears twice"):
            ledger.set_tasks("r", [*tasks(3), NewTask("other", "item", "v1", 3)])
        assert reading.states(ledger.connection, "r") == {}


def test_kills_lose_no_caption_and_pay_twice_only_for_requests_in_flight(
    tmp_path: Path, state: State, url: str
) -> None:
    """The small version of `benchmarks/caption/hundred_thousand.py`."""
    state.settings.plan, state.settings.max_per_s = FaultPlan(rate=0.1), 400.0
    data = data_folder(tmp_path, [f"v{i}" for i in range(VIDEOS)])
    config = settings(url, max_concurrency=CONCURRENCY)
    for kill in range(KILLS):
        moment = len(state.paid) + VIDEOS // (KILLS + 2)
        child = start_worker(tmp_path, url, CONCURRENCY)
        while len(state.paid) < moment and child.poll() is None:
            time.sleep(0.005)
        assert child.poll() is None, f"the process ended before kill {kill}"
        child.send_signal(signal.SIGKILL)
        child.wait()
    caption(data, config)

    with reading.open_for_reading(ledger_path(data, config)) as db:
        counts, lost = reading.states(db, recipe_of(config).name), reading.lost_requests(db)
    assert sum(counts.get(name, 0) for name in ("succeeded", "blocked", "rejected", "failed_permanent")) == VIDEOS
    assert counts.get("succeeded", 0) == len(state.paid), "no caption that was paid is missing"
    assert state.summary()["second_paid"] <= lost <= KILLS * CONCURRENCY


def test_a_second_captioner_is_refused_while_one_writes_and_pays_for_nothing(
    tmp_path: Path, state: State, url: str
) -> None:
    """It starts while the first one waits for an answer; afterwards it finds every answer bought."""
    ids = [f"v{number}" for number in range(20)]
    data, config, refused = data_folder(tmp_path, ids), settings(url), list[str]()

    def while_the_first_waits(item: str, model: str) -> Response:
        for prompt in (config.prompt, "dense_en_structured"):
            with pytest.raises(ConfigError, match="Another process is captioning") as caught:
                caption(data, replace(config, prompt=prompt))
            refused.append(str(caught.value))
        return Response(200, answers.encoded(forms.good(item, model)))

    FORMS["ok_second"] = while_the_first_waits
    state.settings.plan = FaultPlan({"v7": ["ok_second"]})
    caption(data, config)
    caption(data, config)
    assert len(refused) == 2 and dict(state.paid) == dict.fromkeys(ids, 1)


def test_shards_share_nothing_and_a_repeated_merge_changes_nothing(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, [f"v{i}" for i in range(20)])
    shards = [settings(url, shard=f"{which}/2") for which in range(2)]
    paths = [ledger_path(data, config) for config in shards]
    for config in shards:
        caption(data, config)
    assert state.summary()["requests"] == 20 and paths[0] != paths[1]
    whole = ledger_path(data, settings(url))
    for _ in range(2):
        merge(whole, paths)
        with reading.open_for_reading(whole) as db:
            assert reading.states(db, recipe_of(shards[0]).name) == {"succeeded": 20}
            assert reading.spent_usd(db) == pytest.approx(sum(_spent(path) for path in paths))
    caption(data, settings(url))
    assert state.summary()["requests"] == 20
    with pytest.raises(MissingInputError, match="no ledger"):
        merge(whole, [tmp_path / "none.sqlite"])


def test_a_forgotten_video_leaves_no_text_and_is_not_asked_for_again(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url)
    caption(data, config)
    with reading.open_for_reading(ledger_path(data, config)) as db:
        (text,) = [row.text for row in reading.results(db, recipe_of(config).name) if row.video_id == "a"]
    assert forget(ledger_path(data, config), ["a"]) == 1
    caption(data, config)
    assert state.requests["a"] == 1
    folder = ledger_path(data, config).parent
    assert not [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def _spent(path: Path) -> float:
    with reading.open_for_reading(path) as db:
        return reading.spent_usd(db)


@pytest.mark.parametrize("written", ["nothing", "header"])
def test_a_kill_during_the_creation_of_the_first_ledger_does_not_damage_it(
    tmp_path: Path, state: State, url: str, written: str
) -> None:
    data, config = data_folder(tmp_path, ["a"]), settings(url)
    path = ledger_path(data, config)
    path.parent.mkdir(parents=True)
    path.touch()
    if written == "header":
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode=WAL")
    with pytest.raises(MissingInputError, match="There is no ledger"):
        reading.open_for_reading(path)
    caption(data, config)
    assert state.paid["a"] == 1


def test_a_changed_letter_of_an_answer_is_reported(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url)
    caption(data, config)
    path, recipe = ledger_path(data, config), recipe_of(config).name
    with contextlib.closing(reading.open_for_reading(path)) as db:
        good = list(reading.results(db, recipe))
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    place = whole.index(good[0].text.encode()[:20])
    for flipped in (place, place + 3, place + 15):
        for bit in (1, 128):
            path.write_bytes(whole[:flipped] + bytes([whole[flipped] ^ bit]) + whole[flipped + 1 :])
            with contextlib.closing(reading.open_for_reading(path)) as db, pytest.raises(DataError, match="damaged"):
                list(reading.results(db, recipe))


def test_work_does_not_begin_with_a_ledger_of_damaged_structure(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, [f"v{i}" for i in range(40)]), settings(url)
    caption(data, config)
    path = ledger_path(data, config)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + bytes(4096) + whole[12288:])
    for use in (lambda: caption(data, config), lambda: reading.open_for_reading(path), lambda: Ledger(path)):
        with pytest.raises(DataError, match="ledger of what was bought, is damaged"):
            use()
