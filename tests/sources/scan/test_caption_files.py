"""Caption files of every common format are read; unusable entries are counted and are not fatal."""

import json
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.sources.scan.caption_files import CaptionEntry, CaptionFile
from sg.sources.scan.items import MAX_CAPTION

CASES = Path(__file__).parents[1] / "cases"


def written(path: Path, content: str | bytes | list[Any]) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(path: Path, **columns: str) -> tuple[list[CaptionEntry], CaptionFile]:
    file = CaptionFile(path, **columns)
    return list(file.entries()), file


def pairs(path: Path, **columns: str) -> list[tuple[str, str]]:
    return [(entry.video, entry.caption) for entry in read(path, **columns)[0]]


def dialog(video: Any, *turns: tuple[str, Any]) -> dict[str, Any]:
    return {"id": "1", "video": video, "conversations": [{"from": who, "value": text} for who, text in turns]}


def problems(path: Path) -> dict[str, list[str]]:
    entries, file = read(path)
    assert file.rows == len(entries) + file.problems.total()
    return dict(file.examples)


def test_a_csv_is_read_with_quotes_new_lines_and_any_line_ending(tmp_path: Path) -> None:
    text = '\ufeffcaption,video\r\n"a ""red"" ball,\r\nrolling",a.mp4\r\nA cat,1053841541.0\r\n'
    path = written(tmp_path / "captions.csv", text.encode())

    assert read(path)[0] == [
        CaptionEntry("a.mp4", 'a "red" ball,\r\nrolling'),
        CaptionEntry("1053841541.0", "A cat"),
    ]


@pytest.mark.parametrize("header", ["'video','caption'", "video,caption", "'video';'caption'"])
def test_a_file_may_quote_with_single_quotation_marks(tmp_path: Path, header: str) -> None:
    mark = ";" if ";" in header else ","
    rows = ["'a.mp4','A ball, red'", "'b.mp4','It''s a \"big\" dog'", r"'c.mp4','It\'s here'", "d.mp4,A cat's tail"]
    text = "\n".join([header, *(row.replace("',", f"'{mark}").replace("4,A", f"4{mark}A") for row in rows)])
    assert pairs(written(tmp_path / "captions.csv", f"{text}\n".encode())) == [
        ("a.mp4", "A ball, red"),
        ("b.mp4", 'It\'s a "big" dog'),
        ("c.mp4", "It's here"),
        ("d.mp4", "A cat's tail"),
    ]


def test_single_quotation_marks_of_some_texts_are_their_own(tmp_path: Path) -> None:
    text = "video,caption\na.mp4,'Welcome' says a sign\nb.mp4,'Open'\n"
    assert pairs(written(tmp_path / "captions.csv", text.encode())) == [
        ("a.mp4", "'Welcome' says a sign"),
        ("b.mp4", "'Open'"),
    ]


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


def test_a_quote_that_does_not_close_swallows_no_row() -> None:
    assert pairs(CASES / "quotes.tsv") == [
        ("a.mp4", '"Hello" she says and waves.'),
        ("b.mp4", '"Do you know Dartmoor? he asks.'),
        ("c.mp4", "A red car drives."),
        ("d.mp4", "A cat sleeps."),
        ("e.mp4", 'A "big" dog.'),
    ]
    assert pairs(CASES / "wq.csv") == [("1", '"Hello world'), ("2", "B"), ("3", "C")]


@pytest.mark.parametrize(
    ("rows", "captions", "kinds"),
    [
        # The quote of the next row closes the one of the first: the strict reader refuses the text behind it.
        ('a,"A cat\nb,"A dog, asleep"\nc,A cow\n', ['"A cat', "A dog, asleep", "A cow"], {}),
        # Both readings are possible: two rows, or one caption of two lines.
        ('a,"A tall man\nb,a screen of 40"\nc,A cow\n', ["A cow"], {"a quote that may not close in its row": [2, 3]}),
        ('a,"He says ""hi"",\nand waves"\nb,A cow\n', ['He says "hi",\nand waves', "A cow"], {}),
        (
            'a,"He says "hi"\nand waves"\nb,A cow\n',
            ["A cow"],
            {"a quote that may not close in its row": [2], "fewer fields than the header": [3]},
        ),
        ('a,"' + "\n".join("x" for _ in range(1500)) + '"\n', None, {}),
        ("a,A man, a dog\nb,A cow,,\n", ["A cow"], {"more fields than the header": [2]}),
        ("a\nb,A cow\n", ["A cow"], {"fewer fields than the header": [2]}),
        # A line break without quotes: half of a caption is not the caption.
        (
            "a.mp4,A cat\nthat sleeps\nor not\nb,A cow\n",
            ["A cow"],
            {"a row that may continue in another line": [2], "fewer fields than the header": [3, 4]},
        ),
        (
            "a.mp4,A cat\rsleeps\nb,A cow\n",
            ["A cow"],
            {"a row that may continue in another line": [2], "fewer fields than the header": [3]},
        ),
        (
            "a.mp4,A cat\nthat sleeps there, well\nb.mp4,A cow\n",
            ["A cow"],
            {"a row that may continue in another line": [2, 3]},
        ),
        (
            "a.mp4,猫が\n寝ている\nb.mp4,A cow\n",
            ["A cow"],
            {"a row that may continue in another line": [2], "fewer fields than the header": [3]},
        ),
        ("a.mp4,A cat\n# see, here\nb.mp4,A cow\n", ["A cat", "here", "A cow"], {}),
        ("a,A cat\nb\nc,A cow\n", ["A cat", "A cow"], {"fewer fields than the header": [3]}),
        ("a,A cat\n# the second part\nc,A cow\n", ["A cat", "A cow"], {"fewer fields than the header": [3]}),
        ('a,"A man, a dog"\n\n,\nb,"5"" wide"\n', ["A man, a dog", '5" wide'], {"video is not text": [4]}),
    ],
)  # fmt: skip
def test_every_row_of_a_table_is_a_caption_or_a_problem_with_its_line(
    tmp_path: Path, rows: str, captions: list[str] | None, kinds: dict[str, list[int]]
) -> None:
    path = written(tmp_path / "c.csv", "video,caption\n" + rows)
    if captions is None:
        with pytest.raises(DataError, match="has no usable caption: 1,500 rows read = 0 captions"):
            read(path)
        return
    assert [caption for _, caption in pairs(path)] == captions
    assert problems(path) == {kind: [f"c.csv, line {line}" for line in lines] for kind, lines in kinds.items()}


@pytest.mark.parametrize(
    ("row", "caption"),
    [
        # A quote that a backslash escapes: in a quoted field, before its end, beside a delimiter, and in a plain field.
        (r'a.mp4,"a \"red\" ball"', 'a "red" ball'),
        (r'a.mp4,"a ball called \"red\""', 'a ball called "red"'),
        (r'a.mp4,"\"Red\", a ball, and \"blue\", a cube"', '"Red", a ball, and "blue", a cube'),
        (r"a.mp4,a \"red\" ball", 'a "red" ball'),
        (r"a.mp4,A man\, a dog\, and a ball", "A man, a dog, and a ball"),
        # Quotes that were doubled keep a backslash before them.
        (r'a.mp4,"a \""red\"" ball"', r'a \"red\" ball'),
        (r'a.mp4,"C:\"', "C:\\"),
        # Spaces around a quoted field.
        ('a.mp4, "a man, a dog"', "a man, a dog"),
        ('a.mp4,   "a ""red"" ball" ', 'a "red" ball'),
        ('"a.mp4" , "a man, a dog"', "a man, a dog"),
        ("a.mp4, a man and a dog", "a man and a dog"),
        (r'"a.mp4", "a \"red\", round ball" ', 'a "red", round ball'),
        ('a.mp4, "Hello" she says', '"Hello" she says'),
    ],
)  # fmt: skip
def test_quotes_in_the_styles_of_other_programs_are_read(tmp_path: Path, row: str, caption: str) -> None:
    for after in ("", '\nb.mp4,"A cow, asleep"\n'):
        path = written(tmp_path / "c.csv", f"video,caption\n{row}{after}")
        assert pairs(path) == [("a.mp4", caption), ("b.mp4", "A cow, asleep")][: 1 + bool(after)]
    path = written(tmp_path / "c.csv", f"note,video,caption\n,{row}\nx,b.mp4,A cow\n")
    assert pairs(path) == [("a.mp4", caption), ("b.mp4", "A cow")]


def test_a_quoted_field_behind_a_space_is_not_divided_to_fit_the_header(tmp_path: Path) -> None:
    path = written(tmp_path / "c.csv", 'video,caption,note\na.mp4, "A man, a dog"\nb.mp4,A cow,x\n')
    assert pairs(path) == [("b.mp4", "A cow")]
    assert problems(path) == {"fewer fields than the header": ["c.csv, line 2"]}


def test_a_row_that_lacks_the_beginning_of_its_caption_is_a_problem(tmp_path: Path) -> None:
    path = written(tmp_path / "c.csv", "caption,video\nA cat\nthat sleeps,a.mp4\nA tall\nman,b.mp4\nA cow,c.mp4\n")
    assert pairs(path) == [("c.mp4", "A cow")]
    assert problems(path) == {
        "fewer fields than the header": ["c.csv, line 2", "c.csv, line 4"],
        "a row that may continue in another line": ["c.csv, line 3", "c.csv, line 5"],
    }


def test_a_header_that_is_repeated_is_a_problem_and_no_caption(tmp_path: Path) -> None:
    text = "\ufeffvideo,caption\na.mp4,A cat\n"
    path = written(tmp_path / "c.csv", text + text)
    assert pairs(path) == [("a.mp4", "A cat")] * 2
    assert problems(path) == {"the header again": ["c.csv, line 3"]}


def test_json_in_a_field_of_a_table_is_no_caption(tmp_path: Path) -> None:
    rows = """video,caption\na,"[{""caption"": ""A cat""}]"\nb,"{'en': 'A cat'}"\nc,"['A cat']"\nd,[music] A cat}\n"""
    path = written(tmp_path / "c.csv", rows)
    assert pairs(path) == [("c", "A cat"), ("d", "[music] A cat}")]
    assert problems(path) == {"caption is not text": ["c.csv, line 2", "c.csv, line 3"]}


def test_files_of_json_lines_may_be_appended_to_each_other(tmp_path: Path) -> None:
    line = '{"video": "a", "caption": "A cat"}\n'
    assert pairs(written(tmp_path / "c.jsonl", f"\ufeff{line}\ufeff{line}")) == [("a", "A cat")] * 2


def test_a_text_that_was_decoded_wrongly_before_is_a_problem(tmp_path: Path) -> None:
    rows = [{"video": "a", "caption": "caf\ufffd"}, {"video": "b", "caption": "A cat"}]
    forms = {
        "c.csv": "video,caption\na,caf\ufffd\nb,A cat\n",
        "c.jsonl": "\n".join(map(json.dumps, rows)),
        "c.json": json.dumps(rows),
    }
    for name, text in forms.items():
        path = written(tmp_path / name, text)
        assert pairs(path) == [("b", "A cat")]
        place = {"c.csv": "line 2", "c.jsonl": "line 1", "c.json": "record 1"}[name]
        assert problems(path) == {"caption holds replacement characters": [f"{name}, {place}"]}


def test_a_comma_of_a_caption_never_moves_its_end_into_an_empty_column(tmp_path: Path) -> None:
    path = written(tmp_path / "c.csv", "video,caption,note\na.mp4,A man, a dog,\nb.mp4,A cow,\n")
    assert pairs(path) == [("b.mp4", "A cow")]
    assert problems(path) == {"more fields than the header": ["c.csv, line 2"]}


def test_the_summary_counts_rows_captions_and_problems_with_their_lines() -> None:
    assert read(CASES / "commas.csv")[1].summary() == (
        "2 rows read = 1 captions + 1 problems (1 more fields than the header, e.g. commas.csv, line 2)"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_in_every_unicode_encoding_and_with_any_delimiter_are_read(
    tmp_path: Path, encoding: str, delimiter: str
) -> None:
    rows = ["video,caption,note", 'è.mp4,"Un café, crème",x', "b.mp4,一只猫,y"]
    text = "\r\n".join(rows).replace(",", delimiter).replace(f"café{delimiter}", "café,")
    path = written(tmp_path / "c.csv", text.encode(encoding))
    assert pairs(path) == [("è.mp4", "Un café, crème"), ("b.mp4", "一只猫")]
    marked = written(tmp_path / "excel.csv", f"sep={delimiter}\r\n{text}".encode(encoding))
    assert pairs(marked) == pairs(path)


def test_texts_in_other_encodings_are_refused_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 rows read = 0 captions .* not UTF-8 text, e\.g\. gbk\.csv, line 2"):
        read(CASES / "gbk.csv")
    mixed = written(tmp_path / "c.csv", b"video,caption\na.mp4,caf\xe9\nb.mp4,A cat\nc.mp4,a\x00b\n")
    assert pairs(mixed) == [("b.mp4", "A cat")]
    assert problems(mixed) == {"not UTF-8 text": ["c.csv, line 2"], "a NUL character": ["c.csv, line 4"]}
    bad, good = b'{"video": "a.mp4", "caption": "caf\xe9"}', b'{"video": "b.mp4", "caption": "A cat"}'
    forms = {
        "c.jsonl": (bad + b"\n" + good, "c.jsonl, line 1"),
        "c.json": (b"[" + bad + b"," + good + b"]", "c.json, record 1"),
        "map.json": (b'{"a.mp4": "caf\xe9", "b.mp4": "A cat"}', "map.json, record 1"),
    }
    for name, (text, where) in forms.items():
        path = written(tmp_path / name, text)
        assert (pairs(path), problems(path)) == ([("b.mp4", "A cat")], {"not UTF-8 text": [where]})
    with pytest.raises(DataError, match="the header holds not UTF-8 text"):
        read(written(tmp_path / "c.csv", b"video,l\xe9gende\na,b\n"))


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "nan",
        "None",
        "null",
        "NULL",
        "N/A",
        "#N/A",
        "<NA>",
        " ",
        "#REF!",
        "nan ",
        "\u200b",
        "\ufeff ",
        "-",
        "...",
        "?",
        "[]",
    ],
)
def test_what_other_programs_write_for_nothing_is_not_a_caption(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "c.csv", f"video,caption\na,{text}\nb,A cat\n")
    assert pairs(path) == [("b", "A cat")]
    assert problems(path) == {"empty caption": ["c.csv, line 2"]}


def test_a_column_that_is_named_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two columns are called 'caption'"):
        read(written(tmp_path / "c.csv", "video,caption,caption\na,x,y\n"))


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
        read(path)
    with pytest.raises(ConfigError, match=r"no column for the caption \(it has title, words\)"):
        read(path, video_key="title")


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


def test_unusable_entries_are_counted(tmp_path: Path) -> None:
    rows = [
        {"video": "a.mp4", "caption": "a cat"},
        *({"video": "b.mp4", "caption": caption} for caption in (" \n", None, 3, [])),
        *({"video": video, "caption": "x"} for video in ("", None, 1.5, True, float("inf"))),
        {"caption": "x"},
        {"video": "c.mp4"},
        "text",
        None,
    ]
    entries, file = read(written(tmp_path / "captions.json", rows))
    assert len(entries) == 1
    assert file.problems.total() == len(rows) - 1
    assert file.problems["empty caption"] == 1


def test_a_very_long_caption_is_a_problem_and_not_shortened(tmp_path: Path) -> None:
    longest, too_long = "x" * MAX_CAPTION, "x" * (MAX_CAPTION + 1)
    path = written(tmp_path / "c.json", [{"video": "a", "caption": too_long}, {"video": "b", "caption": longest}])
    assert pairs(path) == [("b", longest)]
    assert problems(path) == {"caption longer than 20,000 characters": ["c.json, record 1"]}
    table = written(tmp_path / "c.csv", f"video,caption\na,{too_long}\nb,A cat\n")
    assert pairs(table) == [("b", "A cat")]
    assert problems(table) == {"caption longer than 20,000 characters": ["c.csv, line 2"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.csv", ""),
        ("c.csv", "video,caption\n"),
        ("c.json", "[]"),
        ("c.jsonl", "\n"),
    ],
)
def test_a_file_without_a_row_is_an_error(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(DataError, match="has no usable caption: 0 rows read"):
        read(written(tmp_path / name, text))


def test_columns_that_differ_in_case_only_are_told_apart(tmp_path: Path) -> None:
    path = written(tmp_path / "c.csv", "video,Caption,caption,TEXT\na,upper,lower,other\n")
    assert pairs(path) == [("a", "lower")]
    assert pairs(path, caption_key="Caption") == [("a", "upper")]
    assert pairs(path, caption_key="text") == [("a", "other")]


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


def test_a_missing_file_and_an_unknown_suffix_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"data\.captions=FILE"):
        read(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match=r"expected a file that ends in \.csv"):
        read(written(tmp_path / "captions.xlsx", "x"))
