"""Caption files of every common format are read; unusable entries are counted and are not fatal."""

import json
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.sources.scan.caption_files import MAX_CAPTION, CaptionEntry, read_caption_file


def written(path: Path, content: str | bytes | list[Any]) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def pairs(path: Path, **columns: str) -> list[tuple[str, str]]:
    return [(entry.video, entry.caption) for entry in read_caption_file(path, **columns).entries]


def dialog(video: Any, *turns: tuple[str, Any]) -> dict[str, Any]:
    return {"id": "1", "video": video, "conversations": [{"from": who, "value": text} for who, text in turns]}


def test_a_csv_is_read_with_quotes_new_lines_and_any_line_ending(tmp_path: Path) -> None:
    text = '\ufeffcaption,video\r\n"a ""red"" ball,\r\nrolling",a.mp4\r\nNone,b.mp4\r\nnan,1053841541.0\r\n'
    path = written(tmp_path / "captions.csv", text.encode())

    assert read_caption_file(path).entries == [
        CaptionEntry("a.mp4", 'a "red" ball,\r\nrolling'),
        CaptionEntry("b.mp4", "None"),
        CaptionEntry("1053841541.0", "nan"),
    ]


@pytest.mark.parametrize(
    "header",
    ["video,caption", "path,text", "Filename,Description", "videoid,name,page_dir", "id,sentence", "clip , caption"],
)
def test_columns_are_found_by_their_usual_names(tmp_path: Path, header: str) -> None:
    path = written(tmp_path / "captions.csv", f"{header}\na,a cat{',x' * (header.count(',') - 1)}\n")
    assert pairs(path) == [("a", "a cat")]


def test_the_columns_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path / "captions.tsv", "title\twords\na.mp4\ta cat\n")
    assert pairs(path, video_key="title", caption_key="words") == [("a.mp4", "a cat")]
    with pytest.raises(ConfigError, match=r"no column for the video \(it has title, words\).*data\.video_column=NAME"):
        read_caption_file(path)
    with pytest.raises(ConfigError, match=r"no column for the caption \(it has title, words\)"):
        read_caption_file(path, video_key="title")


@pytest.mark.parametrize("name", ["captions.jsonl", "captions.json"])
def test_json_lines_are_read_with_either_suffix(tmp_path: Path, name: str) -> None:
    lines = [{"video": "a.mp4", "caption": "a cat"}, {"video": 7, "caption": "a dog"}]
    path = written(tmp_path / name, "\n".join(json.dumps(line) for line in lines) + "\n\n")
    assert pairs(path) == [("a.mp4", "a cat"), ("7", "a dog")]


def test_json_may_be_a_list_or_a_mapping(tmp_path: Path) -> None:
    assert pairs(written(tmp_path / "list.json", [{"path": "a.mp4", "text": "a cat"}])) == [("a.mp4", "a cat")]
    mapping = written(tmp_path / "mapping.json", json.dumps({"a.mp4": "a cat", "b.mp4": "a dog"}, indent=1))
    assert pairs(mapping) == [("a.mp4", "a cat"), ("b.mp4", "a dog")]


def test_the_first_answer_of_a_conversation_is_the_caption(tmp_path: Path) -> None:
    dialogs = [
        dialog("a.mp4", ("human", "<video>\nDescribe."), ("gpt", "a cat"), ("human", "More?"), ("gpt", "no")),
        dialog("b.mp4", ("human", "Describe.")),
        dialog(["c.mp4"], ("human", "Describe."), ("gpt", "a dog")),
        dialog("d.mp4", ("human", "Describe."), ("gpt", ["a dog"])),
    ]
    file = read_caption_file(written(tmp_path / "dialogs.json", dialogs))
    assert file.entries == [CaptionEntry("a.mp4", "a cat")]
    assert file.problems == {"caption is not text": 2, "video is not text": 1}


def test_unusable_entries_are_counted(tmp_path: Path) -> None:
    rows = [
        {"video": "a.mp4", "caption": "a cat"},
        *({"video": "b.mp4", "caption": caption} for caption in (" \n", None, 3, ["x"])),
        *({"video": video, "caption": "x"} for video in ("", None, 1.5, True)),
        {"caption": "x"},
        {"video": "c.mp4"},
        "text",
        None,
    ]
    file = read_caption_file(written(tmp_path / "captions.json", rows))
    assert len(file.entries) == 1
    assert file.problems.total() == len(rows) - 1
    assert file.problems["empty caption"] == 1


def test_very_long_captions_are_shortened(tmp_path: Path) -> None:
    path = written(tmp_path / "captions.json", [{"video": "a", "caption": "x" * 2_000_000}])
    assert [len(caption) for _, caption in pairs(path)] == [MAX_CAPTION]
    table = written(tmp_path / "captions.csv", "video,caption\na," + "x" * 2_000_000 + "\n")
    assert [len(caption) for _, caption in pairs(table)] == [MAX_CAPTION]


def test_invalid_utf8_and_nul_bytes_do_not_stop_the_reading(tmp_path: Path) -> None:
    path = written(tmp_path / "captions.csv", b"video,caption\na.mp4,caf\xe9 \x00 noir\n")
    assert pairs(path) == [("a.mp4", "caf\ufffd \ufffd noir")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[" * 100_000, "nested too deeply|no JSON"),
        ("a.json", '{"a": ' * 20_000 + "\n", "nested too deeply|no JSON"),
        ("a.json", "[1, 2", "is not JSON"),
        ("a.json", "3", "holds a int: expected a list"),
        ("a.jsonl", '{"video": "a", "caption": "b"}\n{"video"', "line 2 is not JSON"),
    ],
)
def test_broken_json_is_one_sentence(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_caption_file(written(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_suffix_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"data\.captions=FILE"):
        read_caption_file(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match=r"expected a file that ends in \.csv"):
        read_caption_file(written(tmp_path / "captions.xlsx", "x"))
