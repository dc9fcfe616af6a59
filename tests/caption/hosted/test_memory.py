"""No memory of a run grows with the number of its videos."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import tracemalloc
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import pytest

from sg.artefacts.manifest import VideoRecord, hash_manifest, read_manifest, scan_manifest, write_manifest
from sg.caption.hosted import asking as hosted
from sg.caption.hosted.engine.items import item_of, new_tasks
from sg.caption.hosted.engine.run import CaptioningRun
from sg.caption.hosted.records import write_results
from sg.caption.hosted.run import ledger_path, recipe_of
from sg.caption.ledger.ledger import Ledger, TaskEnd
from sg.core.errors import DataError
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini.answers import caption_text
from tests.caption.hosted.fake_gemini.state import State

_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, asyncio.AbstractEventLoop, logging.Logger)


def objects_held(start: Any) -> int:
    """The number of objects that are reachable from `start`, without those that the whole process shares."""
    seen, waiting = {id(start)}, [start]
    while waiting:
        for found in gc.get_referents(waiting.pop()):
            if id(found) not in seen and not isinstance(found, _SHARED):
                seen.add(id(found))
                waiting.append(found)
    return len(seen)


def test_a_run_has_no_more_objects_after_more_videos(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    class Counted(CaptioningRun):
        async def go(self) -> None:
            await super().go()
            held.append(objects_held(self))

    monkeypatch.setattr(hosted, "CaptioningRun", Counted)
    few, many = 205, 405  # the forecast keeps the last 200 answers
    for videos in (few, many):
        data = data_folder(tmp_path / str(videos), [f"v{number}" for number in range(videos)])
        config = settings(url, min_concurrency=8, max_concurrency=8)
        caption(data, config)
    assert len(state.arrivals) == few + many
    assert held[0] > 200 and held[1] - held[0] < 0.5 * (many - few)


def test_start_and_output_take_few_bytes_per_video(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_folder(tmp_path, ["a"])
    caption(data, settings(url))
    with contextlib.closing(Ledger(ledger_path(data, settings(url)))) as ledger:
        (record,) = ledger.connection.execute("SELECT record FROM result").fetchone()
    monkeypatch.setattr("sg.artefacts.manifest._ROWS_PER_SCAN", 100)
    monkeypatch.setattr("sg.artefacts.tables.ROWS_PER_BATCH", 50)
    monkeypatch.setattr("sg.caption.hosted.records._ROWS_PER_BATCH", 20)
    few, many = 200, 500
    tracemalloc.start()
    try:
        peaks = [peak_bytes(tmp_path / str(videos), videos, record, url) for videos in (few, many)]
    finally:
        tracemalloc.stop()
    begin, write_out = ((last - first) / (many - few) for first, last in zip(*peaks, strict=True))
    # Python keeps up to 2,000 freed tuples of each length, 150 bytes each; a list of captions takes 2,000 per video.
    assert begin < 400 and write_out < 400


def peak_bytes(folder: Path, videos: int, record: str, url: str) -> tuple[int, int]:
    """Additional peak memory while the tasks of a manifest are created, and while their results are written."""
    recipe, paragraph = recipe_of(settings(url)), caption_text("any")
    rows = (VideoRecord(f"v{number}", "test", f"{number}.mp4", 18.0) for number in range(videos))
    manifest = write_manifest(folder / "manifest.parquet", rows)
    with contextlib.closing(Ledger(folder / "ledger.sqlite")) as ledger:
        before = _from_here()
        ledger.set_tasks(recipe.name, new_tasks(map(item_of, scan_manifest(manifest)), recipe.name, (0, 1)))
        begin = tracemalloc.get_traced_memory()[1] - before
        with ledger.transaction():
            while claimed := ledger.claim(recipe.name, 0.0, 100):
                for task in claimed:
                    text = f"Video {task.video_id}. {paragraph}"
                    ledger.end_task(task, TaskEnd("succeeded", text=text, record=record))
        before = _from_here()
        write_results(ledger.connection, recipe, folder, hash_manifest(manifest))
        write_out = tracemalloc.get_traced_memory()[1] - before
    return begin, write_out


def _from_here() -> int:
    gc.collect()
    tracemalloc.reset_peak()
    return tracemalloc.get_traced_memory()[0]


def test_scanning_a_manifest_yields_the_same_rows_as_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows_at_once in (("_ROWS_PER_SCAN", 3), ("ROWS_PER_BATCH", 4)):
        monkeypatch.setattr(f"sg.artefacts.manifest.{name}", rows_at_once)
    rows = [
        VideoRecord(
            f"v{i}",
            "test",
            f"{i}.mp4",
            i / 7,
            original_caption="\u00fc" * (i % 4),
            status=("ok", "missing")[i % 3 == 1],
        )
        for i in range(10)
    ]
    path = write_manifest(tmp_path / "manifest.parquet", rows)
    whole = read_manifest(path)
    assert list(scan_manifest(path)) == list(whole.usable().records())
    assert hash_manifest(path) == whole.content_hash
    for twice in (rows[0], rows[9]):
        with pytest.raises(DataError, match=f"'{twice.video_id}' appears twice"):
            write_manifest(tmp_path / "twice.parquet", [*rows, twice])
    write_manifest(path, [])
    assert list(scan_manifest(path)) == [] and hash_manifest(path) == read_manifest(path).content_hash
