"""Texts that a caption file holds and the reader does not take appear in the report; ids of listed videos are found."""

import json
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import DataError
from sg.sources.records.listed_videos import NO_FILE
from sg.sources.records.record_lists import BESIDE
from sg.sources.scan.caption_files import CaptionFile

A = {"video": "a.mp4", "caption": "one"}
V = [{"uid": "v1", "file_name": "a.mp4"}, {"uid": "v2", "file_name": "b.mp4"}]


def read(path: Path, content: Any) -> tuple[list[tuple[str, str]], CaptionFile]:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    file = CaptionFile(path)
    return [(entry.video, entry.caption) for entry in file.entries()], file


@pytest.mark.parametrize(
    ("value", "where", "count"),
    [
        ({"data": [A], "extra": {"b": "A dog runs"}}, "extra", 1),
        ({"data": [A], "b": "A dog runs"}, "b", 1),
        ({"data": [A], "captions": {"b": "A dog runs", "c": "A cat", "n": 3}}, "captions", 2),
        ({"data": [A], "extra": [["b.mp4", "A dog runs"], ["c.mp4", "A cat"]]}, "extra", 2),
        ({"data": [A], "extra": [["b", "犬が走っている"]]}, "extra", 1),
        ({"data": [A], "files": ["b.mp4"], "texts": ["A dog runs"]}, "texts", 1),
        ({"data": [A], "splits": {"test": {"b": ["A dog runs", "It runs"]}}}, "splits", 2),
        ({"data": [A], "test": [{"vid": "b", "cap": "A dog runs"}]}, "test", 1),
        ({"data": [A], "test": [{"video_id": "b", "name": "A dog runs"}]}, "test", 1),
        ({"videos": [{"id": 1, "file_name": "a.mp4", "description": "A dog"}], "annotations": [A]}, "videos", 1),
        ({"columns": ["video", "caption"], "data": [["a.mp4", "one"]], "extra": {"b": "A dog runs"}}, "extra", 1),
        ({"info": {"description": "A set of videos", "b": "A dog runs"}, "data": [A]}, "info", 1),
    ],
)
def test_texts_beside_the_list_that_is_read_are_counted_with_their_place(
    tmp_path: Path, value: dict[str, Any], where: str, count: int
) -> None:
    captions, file = read(tmp_path / "c.json", value)
    assert captions == [("a.mp4", "one")]
    assert (file.problems, file.examples[BESIDE][0]) == ({BESIDE: count}, f"c.json, {where!r}")


def test_the_texts_of_a_data_card_are_no_captions(tmp_path: Path) -> None:
    info = {"description": "A set of videos", "contributor": "Some Body", "version": "1 a"}
    licences = [{"id": 1, "name": "CC BY", "text": "Do as you like"}]
    value = {"info": info, "licenses": licences, "title": "My captions", "data": [A], "files": ["my clip.mp4"]}
    captions, file = read(tmp_path / "c.json", value)
    assert (captions, file.problems) == ([("a.mp4", "one")], {})


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("c.csv", "video,caption,title,n\na.mp4,one,A dog runs,3\n", "'title'"),
        ("c.jsonl", json.dumps({**A, "clips": [{"video": "b.mp4", "caption": "A dog runs"}]}), "'clips'"),
        ("c.json", {**A, "more": {"b": "A dog runs"}, "title": "A dog runs"}, "'more', 'title'"),
        ("c.json", [A, {**A, "video": "b.mp4", "text": "A dog runs"}], "'text'"),
        ("c.json", {"a.mp4": {"caption": "one", "note": "A dog runs"}}, "'note'"),
    ],
)
def test_columns_with_texts_that_are_not_read_are_named(tmp_path: Path, name: str, content: Any, columns: str) -> None:
    _, file = read(tmp_path / name, content)
    assert file.summary().endswith(f"captions + 0 problems; columns with further texts, which are not read: {columns}")


def test_many_keys_do_not_make_the_report_long(tmp_path: Path) -> None:
    rows = [{**A, f"key {number}": "A dog runs"} for number in range(100)]
    assert len(read(tmp_path / "c.json", rows)[1].summary()) < 300


@pytest.mark.parametrize(
    ("videos", "captions"), [("videos", "captions"), ("video", "caption"), ("file_name", "text"), ("ids", "texts")]
)
def test_lists_of_videos_and_captions_side_by_side_are_a_table(tmp_path: Path, videos: str, captions: str) -> None:
    table = {videos: ["a.mp4", "b.mp4"], captions: ["one", "A dog"], "n": 2}
    found, file = read(tmp_path / "c.json", table)
    assert (found, file.problems) == ([("a.mp4", "one"), ("b.mp4", "A dog")], {})
    with pytest.raises(DataError, match="lists of different lengths"):
        read(tmp_path / "d.json", {videos: ["a.mp4", "b.mp4"], captions: ["one"]})


@pytest.mark.parametrize("listed", ["uid", "video_uid", "uuid", "id", "vid", "key", "youtube_id"])
@pytest.mark.parametrize("key", ["uid", "video_uid", "uuid", "video_id", "video", "vid", "youtube_id", "id"])
def test_a_text_id_of_a_listed_video_leads_to_its_file(tmp_path: Path, listed: str, key: str) -> None:
    videos = [{listed: "v1", "file_name": "a.mp4"}, {listed: "v2", "file_name": "b.mp4"}]
    rows = [{key: "v2", "caption": "two"}, {key: "v1", "caption": "one"}]
    found, file = read(tmp_path / "c.json", {"videos": videos, "annotations": rows})
    assert (found, file.problems) == ([("b.mp4", "two"), ("a.mp4", "one")], {})


def test_the_id_of_a_record_itself_is_not_that_of_its_video(tmp_path: Path) -> None:
    videos = [{"id": "v1", "file_name": "a.mp4", "category_id": "v2"}, {"id": "v2", "file_name": "b.mp4"}]
    rows = [{"uid": "v1", "video_id": "v2", "caption": "two"}, {"id": "v2", "video": "a.mp4", "caption": "one"}]
    found, _ = read(tmp_path / "c.json", {"videos": videos, "annotations": rows})
    assert found == [("b.mp4", "two"), ("a.mp4", "one")]


def test_the_id_of_a_clip_counts_before_that_of_its_video(tmp_path: Path) -> None:
    videos, clips = [{"id": "v", "path": "v.mp4"}], [{"id": "c", "video_id": "v", "path": "a.mp4"}]
    row = {"video_id": "v", "clip_id": "c", "caption": "one"}
    value = {"videos": videos, "clips": clips, "annotations": [row]}
    assert read(tmp_path / "c.json", value)[0] == [("a.mp4", "one")]
    assert read(tmp_path / "d.json", {"videos": videos, "annotations": [row]})[0] == [("v.mp4", "one")]


def test_lists_of_lists_and_of_names_are_no_records(tmp_path: Path) -> None:
    rows = [["video", "caption"], ["b.mp4", "A dog"]]
    assert read(tmp_path / "c.json", {"a.mp4": "one", "rows": rows})[1].problems == {"not an object": 2}
    value = {"videos": ["a.mp4", "b.mp4"], "data": [{"video": 0, "caption": "one"}, {"video": "b.mp4", "caption": "x"}]}
    captions, file = read(tmp_path / "d.json", value)
    assert (captions, file.problems) == ([("b.mp4", "x")], {NO_FILE: 1})


@pytest.mark.parametrize(
    "value",
    [
        {"videos": V, "clips": [{"uid": "v1", "file_name": "c.mp4"}], "annotations": [{"uid": "v1", "caption": "one"}]},
        {"videos": [*V, {"uid": "v1", "file_name": "c.mp4"}], "annotations": [{"uid": "v1", "caption": "one"}]},
        {"videos": [*V, {"uid": "x", "file_name": "v1.mp4"}], "annotations": [{"video": "v1", "caption": "one"}]},
    ],
)
def test_an_id_that_fits_several_listed_videos_is_counted(tmp_path: Path, value: dict[str, Any]) -> None:
    value["annotations"].append({"uid": "v2", "caption": "two"})
    found, file = read(tmp_path / "c.json", value)
    assert (found, file.problems) == ([("b.mp4", "two")], {NO_FILE: 1})


@pytest.mark.parametrize(
    ("header", "rows", "kept"),
    [
        ("video,caption", "a.mp4,A cat\nsleeps, well\nb.mp4,A cow\n", ["A cow"]),
        ("video,caption", "a.mp4,A cat\nthat sleeps, well\nb.mp4,A cow\n", ["A cow"]),
        ("video,caption", "a.mp4,A cat\nsleeps, well\nand eats, too\nb.mp4,A cow\n", ["A cow"]),
        ("video,caption", "a.mp4,Cat\nsleeps.\nb.mp4,A cow\n", ["A cow"]),
        ("video,caption", "a.mp4,Cats\nit's two cats\nb.mp4,A cow\n", ["A cow"]),
        ("video,caption", "a.mp4,A number\n7\nb.mp4,A cow\n", ["A cow"]),
        ("video,caption", "a.mp4,A cat\n2 dogs, a cow\nb.mp4,A cow\n", ["A cow"]),
        ("video,caption,note", "a.mp4,A cat,x\ny, z, w\nb.mp4,A cow,x\n", ["A cow"]),
        ("n,video,caption", "1,a.mp4,A cat\nsleeps, well, there\n2,b.mp4,A cow\n", ["A cow"]),
        ("caption,video", "A tall, big\nman,a.mp4\nA cow,b.mp4\n", ["A cow"]),
        ("caption,video", "A tall, very big\nman,a.mp4\nA cow,b.mp4\n", ["A cow"]),
        ("video,caption", "v_1,A cat\nsleeps, well\nv_2,A cow\n", ["A cow"]),
        ("video,caption", "1001,A cat\nsleeps, well\n1002,A cow\n", ["A cow"]),
        ("caption,video,n", "A man, tall\nsits,a.mp4,1\nA cow,b.mp4,2\n", ["A cow"]),
        ("video,caption", "a.mp4,A cat\nhttp://x.com, see\nb.mp4,A cow\n", ["A cow"]),
        ("video,caption", "dQw4w9WgXcQ,A cat\nabcdefghijk,A dog\nx_w4w9WgXcQ,A cow\n", ["A cat", "A dog", "A cow"]),
        ("user,caption,video", "u1,A cat,a.mp4\nanna,A dog,b.mp4\nu2,A cow,c.mp4\n", ["A cat", "A dog", "A cow"]),
        ("video,caption", "a.mp4,A cat\n“Hi”, he says\nb.mp4,A cow\n", ["A cow"]),
        # Names without a suffix beside others, and values that are missing, divide no row.
        ("video,caption", "a.mp4,A cat\nclip_7,A dog\nb.mp4,A cow\n", ["A cat", "A dog", "A cow"]),
        ("video,caption", "a,A cat\nsleeps,A dog\nb,A cow\n", ["A cat", "A dog", "A cow"]),
        ("video,caption,url", "a,A cat,none\nb,A dog,https://x/b.mp4\n", ["A cat", "A dog"]),
        ("video,caption,url", "a.mp4,A cat,https://x/a.mp4\nb.mp4,A dog,none\n", ["A cat", "A dog"]),
        ("video,caption", "a.mp4,See www.x.com\nb.mp4,A dog sleeps\n", ["See www.x.com", "A dog sleeps"]),
    ],
)  # fmt: skip
def test_the_rest_of_a_divided_row_may_be_a_word_or_two(
    tmp_path: Path, header: str, rows: str, kept: list[str]
) -> None:
    captions, file = read(tmp_path / "c.csv", f"{header}\n{rows}")
    assert [caption for _, caption in captions] == kept
    assert file.rows == rows.count("\n")
