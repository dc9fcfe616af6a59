"""Captions that stand where a reader does not look are never left out or given to another video without a word."""

import json
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import DataError
from sg.sources.scan.caption_files import CaptionFile

A, B = {"video": "a.mp4", "caption": "one"}, {"video": "b.mp4", "caption": "two"}
TURNS = {"video": "b.mp4", "conversations": [{"from": "gpt", "value": "two"}]}


def read(path: Path, content: Any) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """The captions of a file of this content by video, and the problems by kind."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    file = CaptionFile(path)
    return [(entry.video, entry.caption) for entry in file.entries()], dict(file.problems)


@pytest.mark.parametrize(
    "value",
    [
        {"data": [A], "test": [B]},
        {"test": [B], "data": [A]},
        {"data": [A], "test": [TURNS]},
        {"videos": [A], "sentences": [B]},
        {"annotations": [A], "extra": {"b.mp4": "two"}},
        {"annotations": [A], "data": {"x": {"caption": "two"}}},
    ],
)
def test_captions_beside_the_list_of_records_are_an_error(tmp_path: Path, value: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"has captions in '(test|videos|extra|data)' beside other lists"):
        read(tmp_path / "c.json", value)


def test_licences_and_titles_beside_the_records_are_none(tmp_path: Path) -> None:
    video = {"id": 1.0, "file_name": "a.mp4", "name": "n", "description": "d"}
    value = {"info": {"description": "x"}, "licenses": [{"name": "cc"}], "videos": [video]}
    found = read(tmp_path / "c.json", {**value, "annotations": [{"video_id": 1, "caption": "one"}]})
    assert found == ([("a.mp4", "one")], {})


def test_a_number_of_a_video_is_not_the_name_of_another_file(tmp_path: Path) -> None:
    videos = [{"id": 1, "file_name": "a.mp4"}, {"id": 2, "file_name": "b.mp4"}, {"id": 2, "file_name": "c.mp4"}]
    rows = [{"video_id": number, "caption": f"of {number}"} for number in (1, 2, 7)]
    found = read(tmp_path / "c.json", {"videos": videos, "annotations": rows})
    assert found == ([("a.mp4", "of 1")], {"a number of a video whose file is not named": 2})


@pytest.mark.parametrize("name", ["", "Unnamed: 2"])
def test_text_below_a_column_without_a_name_may_be_the_end_of_a_caption(tmp_path: Path, name: str) -> None:
    rows = f"video,caption,{name}\na.mp4,one,\nb.mp4,a man, a dog\nc.mp4,two,\n"
    found = read(tmp_path / "c.csv", rows)
    assert found == ([("a.mp4", "one"), ("c.mp4", "two")], {"more fields than the header": 1})
