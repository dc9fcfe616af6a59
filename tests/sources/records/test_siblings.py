"""Captions that stand where a reader does not look are never left out or given to another video without a word."""

import json
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import DataError
from sg.sources.records.listed_videos import NO_FILE
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
        {"data": [A], "test": [{"video": "b.mp4", "text": "two"}]},
        {"data": [A], "test": {"x": {"file": "b.mp4", "description": "two"}}},
        {"data": [A], "extra": {"test": [B]}},
        {"data": [A], "extra": {"x": {"y": [B]}}},
        {"data": [A], "extra": [{"b.mp4": "two"}]},
        {"video": "b.mp4", "caption": "two", "data": [A]},
    ],
)
def test_captions_beside_the_list_of_records_are_an_error(tmp_path: Path, value: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"has captions in '(test|videos|extra|data|caption)' beside other lists"):
        read(tmp_path / "c.json", value)


@pytest.mark.parametrize(
    "value",
    [{"b.mp4": "two", "data": [A]}, {"columns": ["video", "caption"], "data": [["a.mp4", "one"]], "test": [B]}],
)
def test_captions_beside_a_table_or_list_are_an_error(tmp_path: Path, value: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"has captions in '(test|b.mp4)' beside other lists"):
        read(tmp_path / "c.json", value)


def test_licences_and_titles_beside_the_records_are_none(tmp_path: Path) -> None:
    video = {"id": 1.0, "file_name": "a.mp4", "name": "n", "description": "d"}
    licence = {"id": 1, "name": "cc", "url": "u", "text": "t"}
    info = {"description": "x", "file": "c.json", "splits": {"train": ["a.mp4"]}}
    value = {"info": info, "licenses": [licence], "videos": [video]}
    found = read(tmp_path / "c.json", {**value, "annotations": [{"video_id": 1, "caption": "one"}]})
    assert found == ([("a.mp4", "one")], {})


def test_a_number_of_a_video_is_not_the_name_of_another_file(tmp_path: Path) -> None:
    videos = [{"id": 1, "file_name": "a.mp4"}, {"id": 2, "file_name": "b.mp4"}, {"id": 2, "file_name": "c.mp4"}]
    rows = [{"video_id": number, "caption": f"of {number}"} for number in (1, 2, 7)]
    found = read(tmp_path / "c.json", {"videos": videos, "annotations": rows})
    assert found == ([("a.mp4", "of 1")], {"a number of a video whose file is not named": 2})


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("videos", {"id": 1, "file_name": "b.mp4"}),
        ("videos", {"video_id": 1, "coco_url": "https://host/b.mp4"}),
        ("clips", {"clip_id": "1", "path": "b.mp4"}),
        ("images", {"id": 1, "title": "Title", "video_name": "b.mp4"}),
        ("media", {"id": 1, "name": "b.mp4"}),
    ],
)
@pytest.mark.parametrize("key", ["video_id", "image_id", "clip_id", "video"])
def test_a_number_is_that_of_the_listed_video_whatever_its_keys_are_called(
    tmp_path: Path, name: str, video: dict[str, Any], key: str
) -> None:
    value = {name: [video], "annotations": [{"id": 1, key: 1, "caption": "two"}]}
    ((found, caption),), problems = read(tmp_path / "c.json", value)
    assert (found.rpartition("/")[2].removesuffix(".mp4"), caption, problems) == ("b", "two", {})


def test_numbers_of_several_lists_are_kept_apart(tmp_path: Path) -> None:
    videos = [{"id": 1, "video_id": "abc", "file_name": "a.mp4"}, {"id": 2, "file_name": "b.mp4"}]
    clips = [{"id": 1, "video_id": 2, "file_name": "c.mp4"}]
    keys: list[tuple[str, Any]] = [("video_id", 1), ("clip_id", 1), ("video_id", "abc"), ("clip_id", 2), ("id", 1)]
    rows = [{key: number, "caption": f"of {number}"} for key, number in keys]
    found = read(tmp_path / "c.json", {"videos": videos, "clips": clips, "annotations": rows})
    assert found == ([("a.mp4", "of 1"), ("c.mp4", "of 1"), ("a.mp4", "of abc")], {NO_FILE: 2})


@pytest.mark.parametrize(
    "other",
    [
        {"movies": [{"id": 1, "file_name": "b.mp4"}]},
        {"videos": {"1": {"file_name": "b.mp4"}}},
        {"names": {"1": "b.mp4"}},
        {"numbers": {"b.mp4": 1}},
    ],
)
def test_a_number_is_no_name_where_other_parts_name_files(tmp_path: Path, other: dict[str, Any]) -> None:
    rows = [{"video_id": 1, "caption": "one"}, {"video": "a.mp4", "caption": "two"}]
    assert read(tmp_path / "c.json", {**other, "annotations": rows}) == ([("a.mp4", "two")], {NO_FILE: 1})


def test_what_is_counted_by_file_and_settings_are_no_captions(tmp_path: Path) -> None:
    value = {"data": [A], "sizes": {"a.mp4": 7}, "facts": {"a.mp4": {"fps": 2}}, "config": {"caption": {"model": "m"}}}
    assert read(tmp_path / "c.json", value) == ([("a.mp4", "one")], {})


def test_a_column_that_is_there_twice_is_not_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 a key that is there twice"):
        read(tmp_path / "c.json", '{"video": {"0": "a.mp4"}, "caption": {"0": "one"}, "caption": {"0": "two"}}')


@pytest.mark.parametrize("video", [{"id": 1.0, "name": "b", "split": "train"}, {"video_id": "1", "path": "b"}])
def test_files_of_listed_videos_need_no_suffix(tmp_path: Path, video: dict[str, Any]) -> None:
    value = {
        "videos": [video],
        "annotations": [{"video_id": 1, "caption": "two"}],
        "licenses": [{"id": 1, "name": "l"}],
    }
    assert read(tmp_path / "c.json", value) == ([("b", "two")], {})


def test_a_number_is_a_name_where_the_listed_videos_have_only_numbers(tmp_path: Path) -> None:
    value = {"videos": [{"id": 1, "split": "train"}], "annotations": [{"video_id": 1, "caption": "one"}]}
    assert read(tmp_path / "c.json", value) == ([("1", "one")], {})


@pytest.mark.parametrize("name", ["", "Unnamed: 2"])
def test_text_below_a_column_without_a_name_may_be_the_end_of_a_caption(tmp_path: Path, name: str) -> None:
    rows = f"video,caption,{name}\na.mp4,one,\nb.mp4,a man, a dog\nc.mp4,two,\n"
    found = read(tmp_path / "c.csv", rows)
    assert found == ([("a.mp4", "one"), ("c.mp4", "two")], {"more fields than the header": 1})
    rows = f"video,caption,{name},score\na.mp4,one,,1\nb.mp4,a man, a dog,1\nc.mp4,two,,1\n"
    assert read(tmp_path / "d.csv", rows) == found


def test_the_index_of_pandas_has_no_name(tmp_path: Path) -> None:
    rows = "Unnamed: 0.1,Unnamed: 0,video,caption,Unnamed: 0.2\n0,4,a.mp4,one,\n1,5,b.mp4,two, three\n"
    assert read(tmp_path / "c.csv", rows) == ([("a.mp4", "one")], {"more fields than the header": 1})
