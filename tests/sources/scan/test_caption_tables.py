"""Tables of captions in every dialect are read; a row that cannot be read is counted with its line."""

from pathlib import Path

import pytest

from sg.core.errors import ConfigError, DataError
from sg.sources.scan.caption_files import CaptionEntry
from tests.sources.scan.caption_files import pairs, problems, read, written

CASES = Path(__file__).parents[1] / "cases"


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


def test_a_comma_of_a_caption_never_moves_its_end_into_an_empty_column(tmp_path: Path) -> None:
    path = written(tmp_path / "c.csv", "video,caption,note\na.mp4,A man, a dog,\nb.mp4,A cow,\n")
    assert pairs(path) == [("b.mp4", "A cow")]
    assert problems(path) == {"more fields than the header": ["c.csv, line 2"]}


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


def test_columns_that_differ_in_case_only_are_told_apart(tmp_path: Path) -> None:
    path = written(tmp_path / "c.csv", "video,Caption,caption,TEXT\na,upper,lower,other\n")
    assert pairs(path) == [("a", "lower")]
    assert pairs(path, caption_key="Caption") == [("a", "upper")]
    assert pairs(path, caption_key="text") == [("a", "other")]
