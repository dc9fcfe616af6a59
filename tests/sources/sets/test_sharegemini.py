"""The files of the ShareGemini release in all formats: arrays, lines, gzip; the name map in either direction."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import DataError
from sg.sources.records.reading import read_records
from sg.sources.scan.items import Problem
from sg.sources.sets.sharegemini import PublishedCaption, published_caption, read_name_map

SLUG = "stock-footage-a-dog-runs"


def record(video: str, caption: Any = "A dog runs.", **values: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<video>\nDescribe the video."}, {"from": "gpt", "value": caption}]
    return {"id": 7, "video": f"{video}.mp4", "conversations": turns, **values}


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_the_published_formats_are_read(tmp_path: Path, name: str) -> None:
    rows = [record(SLUG, set="webvid"), record("b", ""), record("c", None), {"id": "d"}, {"conversations": []}]
    text = "\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows, indent=1)
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    first, *others = [published_caption(row) for row in read_records(tmp_path / name) if isinstance(row, Mapping)]
    assert first == PublishedCaption("7", f"{SLUG}.mp4", "Describe the video.", "A dog runs.", "webvid")
    assert first.stem == SLUG
    reasons = [other.reason for other in others if isinstance(other, Problem)]
    assert reasons == ["no caption", "no caption", "no caption", "no video"]


@pytest.mark.parametrize("raw", [{f"{SLUG}.mp4": 1053841541}, {"1053841541": SLUG}, [[SLUG, "1053841541"], ["x"], 3]])
def test_the_name_map_is_read_in_either_direction(tmp_path: Path, raw: Any) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    assert read_name_map(path) == {SLUG: "1053841541"}
    path.write_text(json.dumps([[SLUG, "1"], [SLUG, "2"], ["b", "3"]]), encoding="utf-8")
    assert read_name_map(path) == {"b": "3"}
    path.write_text(f'{{"{SLUG}": 1, "b": 3, "{SLUG}": 2}}', encoding="utf-8")
    assert read_name_map(path) == {"b": "3"}
    path.write_text('{"a": "b"}', encoding="utf-8")
    with pytest.raises(DataError, match="maps no names of videos to numbers"):
        read_name_map(path)
