"""What holds for caption files of every format; unusable entries are counted and are not fatal."""

import json
from pathlib import Path

import pytest

from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.sources.scan.items import MAX_CAPTION
from tests.sources.scan.caption_files import pairs, problems, read, written

CASES = Path(__file__).parents[1] / "cases"


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


def test_the_summary_counts_rows_captions_and_problems_with_their_lines() -> None:
    assert read(CASES / "commas.csv")[1].summary() == (
        "2 rows read = 1 captions + 1 problems (1 more fields than the header, e.g. commas.csv, line 2)"
    )


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


def test_a_missing_file_and_an_unknown_suffix_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"data\.captions=FILE"):
        read(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match=r"expected a file that ends in \.csv"):
        read(written(tmp_path / "captions.xlsx", "x"))
