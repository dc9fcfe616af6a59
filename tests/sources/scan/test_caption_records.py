"""Captions in JSON, JSON lines, conversations and Parquet are read; contradictions are problems."""

import json
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import DataError
from sg.sources.scan.caption_files import CaptionEntry
from tests.sources.scan.caption_files import dialog, pairs, problems, read, written

CASES = Path(__file__).parents[1] / "cases"


def test_a_conversation_names_its_video_in_a_list_or_in_a_part_of_a_message(tmp_path: Path) -> None:
    """The forms of LLaMA-Factory and ms-swift, and of Qwen."""
    answer = {"role": "assistant", "content": "A cat sleeps."}
    question = {"role": "user", "content": "<video>What happens?"}
    rows = [
        {"messages": [question, answer], "videos": ["a.mp4"]},
        {
            "conversations": [{"from": "human", "value": "<video>"}, {"from": "gpt", "value": "A cow."}],
            "videos": "b.mp4",
        },
        {"messages": [{"role": "user", "content": [{"type": "video", "video": "c.mp4"}]}, answer]},
        {"messages": [question, answer], "videos": ["d.mp4", "e.mp4"]},
        {"messages": [question, answer], "videos": []},
    ]
    path = written(tmp_path / "captions.jsonl", "\n".join(map(json.dumps, rows)).encode())
    assert pairs(path) == [("a.mp4", "A cat sleeps."), ("b.mp4", "A cow."), ("c.mp4", "A cat sleeps.")]
    assert list(problems(path)) == ["several videos in one row", "video is not text"]
    alone = written(tmp_path / "list.json", json.dumps(rows[:1] * 2).encode())
    assert pairs(alone, video_key="videos") == pairs(alone) == [("a.mp4", "A cat sleeps.")] * 2


def test_files_of_json_lines_may_be_appended_to_each_other(tmp_path: Path) -> None:
    line = '{"video": "a", "caption": "A cat"}\n'
    assert pairs(written(tmp_path / "c.jsonl", f"\ufeff{line}\ufeff{line}")) == [("a", "A cat")] * 2


@pytest.mark.parametrize("name", ["captions.jsonl", "captions.json"])
def test_json_lines_are_read_with_either_suffix(tmp_path: Path, name: str) -> None:
    lines = [{"video": "a.mp4", "caption": "a cat"}, {"video": 7, "caption": "a dog"}]
    path = written(tmp_path / name, "\n".join(json.dumps(line) for line in lines) + "\n\n")
    assert pairs(path) == [("a.mp4", "a cat"), ("7", "a dog")]


def test_json_may_be_a_list_or_a_mapping(tmp_path: Path) -> None:
    assert pairs(written(tmp_path / "list.json", [{"path": "a.mp4", "text": "a cat"}])) == [("a.mp4", "a cat")]
    mapping = written(tmp_path / "mapping.json", json.dumps({"a.mp4": "a cat", "b.mp4": "a dog"}, indent=1))
    assert pairs(mapping) == [("a.mp4", "a cat"), ("b.mp4", "a dog")]


def test_json_objects_are_records_or_maps_from_videos(tmp_path: Path) -> None:
    one = written(tmp_path / "one.json", '{"video": "a.mp4", "caption": "a cat"}')
    assert pairs(one) == [("a.mp4", "a cat")]
    twice = written(tmp_path / "twice.json", '{"a": "a cat", "a": "a dog", "b": null}')
    assert pairs(twice) == [("a", "a cat"), ("a", "a dog")]
    assert problems(twice) == {"caption is not text": ["twice.json, record 3"]}
    records = written(tmp_path / "records.json", '{"a": {"caption": "a cat"}, "b": {"caption": "a dog"}}')
    assert pairs(records) == [("a", "a cat"), ("b", "a dog")]


@pytest.mark.parametrize("name", ["c.json", "c.jsonl", "python.jsonl"])
def test_a_record_that_has_a_key_twice_is_a_problem_unless_both_values_are_equal(tmp_path: Path, name: str) -> None:
    rows = [
        '{"video": "a", "caption": "x", "caption": "y"}',
        '{"video": "b", "caption": "A cat", "video": "b"}',
        '{"video": "c", "conversations": [{"from": "gpt", "value": "x", "value": "y"}]}',
        '{"video": "d", "caption": "A dog"}',
    ]
    if name == "python.jsonl":
        rows = [row.replace('"', "'") for row in rows]
    path = written(tmp_path / name, f"[{','.join(rows)}]" if name.endswith("n") else "\n".join(rows))
    assert pairs(path) == [("b", "A cat"), ("d", "A dog")]
    kind = "line" if name.endswith("l") else "record"
    assert problems(path) == {"a key that is there twice": [f"{name}, {kind} {number}" for number in (1, 3)]}


def test_a_map_of_videos_takes_no_name_that_contradicts_its_key(tmp_path: Path) -> None:
    records = {
        "a.mp4": {"video": "b.mp4", "caption": "x"},
        "c.mp4": {"video_id": "c", "caption": "A cat"},
        "clips/d.mp4": {"path": "d.mp4", "id": 7, "caption": "A dog"},
        "e": {"id": 3, "caption": "x"},
        "f": {"caption": "A cow"},
    }
    path = written(tmp_path / "c.json", json.dumps(records | {"12": {"path": "x/13.mp4", "caption": "x"}}))
    assert pairs(path) == [("c.mp4", "A cat"), ("clips/d.mp4", "A dog"), ("f", "A cow")]
    kind = "a key and a value that name different videos"
    assert problems(path) == {kind: [f"c.json, record {number}" for number in (1, 4, 6)]}


def test_a_map_of_row_numbers_takes_the_names_in_its_records(tmp_path: Path) -> None:
    for numbers in ((0, 1, 2), (1, 2, 3), (4, 9, 7)):
        rows = {
            str(number): {"video": f"{name}.mp4", "caption": name} for number, name in zip(numbers, "abc", strict=True)
        }
        path = written(tmp_path / "c.json", json.dumps(rows))
        assert pairs(path) == [("a.mp4", "a"), ("b.mp4", "b"), ("c.mp4", "c")]


@pytest.mark.parametrize("behind", ['[{"video": "b", "caption": "y"}]', "x", '{"a": 1}'])
def test_text_behind_the_end_of_a_json_value_is_an_error(tmp_path: Path, behind: str) -> None:
    with pytest.raises(DataError, match="text follows the end of its first value"):
        read(written(tmp_path / "c.json", f'[{{"video": "a", "caption": "x"}}]\n{behind}'))
    with pytest.raises(DataError, match="text follows the end of its first value"):
        read(CASES / "concat.json")


def test_turns_may_have_a_role_and_content(tmp_path: Path) -> None:
    def turns(key: str, content: Any) -> dict[str, Any]:
        return {"video": "a", key: [{"role": "user", "content": "?"}, {"role": "assistant", "content": content}]}

    parts = [{"type": "text", "text": "a dog"}]
    rows = [turns("conversations", "a cat"), turns("messages", parts), turns("messages", [{"type": "video"}])]
    path = written(tmp_path / "c.json", rows)
    assert [caption for _, caption in pairs(path)] == ["a cat", "a dog"]
    assert problems(path) == {"caption is not text": ["c.json, record 3"]}


def test_parquet_captions_are_read(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"video": ["a", "b"], "caption": ["a cat", None]}), tmp_path / "c.parquet")
    assert pairs(tmp_path / "c.parquet") == [("a", "a cat")]
    assert problems(tmp_path / "c.parquet") == {"caption is not text": ["c.parquet, record 2"]}


def test_the_first_answer_of_a_conversation_is_the_caption(tmp_path: Path) -> None:
    dialogs = [
        dialog("a.mp4", ("human", "<video>\nDescribe."), ("gpt", "a cat"), ("human", "More?"), ("gpt", "no")),
        dialog("b.mp4", ("human", "Describe.")),
        dialog({"c": "mp4"}, ("human", "Describe."), ("gpt", "a dog")),
        dialog("d.mp4", ("human", "Describe."), ("gpt", {"text": "a dog"})),
    ]
    entries, file = read(written(tmp_path / "dialogs.json", dialogs))
    assert entries == [CaptionEntry("a.mp4", "a cat")]
    assert file.problems == {"caption is not text": 2, "video is not text": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[" * 100_000, "nested too deeply|no JSON"),
        ("a.json", '{"a": ' * 20_000 + "\n", "nested too deeply|no JSON"),
        ("a.json", "[1, 2", "is not JSON"),
        ("a.json", "3", "is not JSON: it should begin with"),
        ("a.jsonl", '{"video": "a", "caption": "b"}\n{"video"', "line 2 is not JSON"),
    ],
)
def test_broken_json_is_one_sentence(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(written(tmp_path / name, content))
    assert "\n" not in str(caught.value)
