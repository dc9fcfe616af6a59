"""Untrusted annotations: times, names and hostile values of every kind."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sg.artefacts.names import check_video_id
from sg.sources.scan.items import (
    EMPTY_CAPTION,
    AnnotatedVideo,
    Problem,
    caption_of,
    name_keys,
    named_range,
    shown,
    sidecar_record,
    url_stem,
    youtube_id,
)
from sg.sources.scan.numbered import Numbering
from sg.sources.scan.parts import part_of
from sg.sources.scan.timestamps import DAY_MS, parse_range_ms, parse_time_ms
from sg.sources.sets.hdvila import HdVila
from sg.sources.sets.internvid import InternVid
from sg.sources.sets.kinetics400 import Kinetics400
from sg.sources.sets.sharegemini import ShareGemini
from sg.sources.sets.webvid import WebVid

SOURCES = [
    WebVid(),
    Kinetics400(),
    InternVid(Numbering(1)),
    HdVila("clip", 300),
    HdVila("window", 300),
    ShareGemini(None),
]
COLUMNS = (
    *("videoid", "name", "page_dir", "duration", "contentUrl", "url", "label", "youtube_id", "time_start", "time_end"),
    *("split", "YoutubeID", "Start_timestamp", "End_timestamp", "Caption", "UMT_Score", "video_id", "clip", "video"),
    *("id", "conversations", "set", "caption", "clips"),
)
KEYS = [*COLUMNS, "span", "clip_id", "from", "value"]
HOSTILE = [
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "",
        " ",
        "-rf",
        "--help",
        "a\0b",
        "C:\\x",
        "\\\\host\\x",
        "con",
        "NUL.mp4",
    ),
    *("http://host/x", "concat:a|b", "file:///etc/passwd", "subfile,,start,0,end,0,,:/etc/passwd", "data:,x", "pipe:0"),
    *(
        "None",
        "nan",
        "NULL",
        "1053841541.0",
        "1e400",
        "٣٤٥",
        "\ud800",
        "\u202egpj",
        "\x1b[2J",
        "a" * 100_000,
        "<script>",
    ),
    *(
        "-----------",
        "_-_-_-_-_-_",
        "dQw4w9WgXcQ",
        "dQw4w9WgXcQ\n",
        "x.",
        "%2e%2e%2f",
        "https://youtu.be/dQw4w9WgXcQ?t=1",
    ),
]
LEGAL = ("-----------", "_-_-_-_-_-_", "dQw4w9WgXcQ", "https://youtu.be/dQw4w9WgXcQ?t=1", "1053841541.0")
"""Those of the values above that a dataset may use as an id."""
SCALARS = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=30), st.integers(), st.floats(), st.booleans(), st.none()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=8,
)  # fmt: skip
RECORDS = st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=12)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@settings(max_examples=60, deadline=None)
@given(record=RECORDS)
def test_no_record_crashes_a_reader_and_no_id_is_unsafe(source: Any, record: dict[str, Any]) -> None:
    for item in source.items(sidecar_record(record), "results_2M_train.csv"):
        if isinstance(item, Problem):
            assert item.reason
            continue
        check_video_id(item.video_id)
        assert all(isinstance(key, str) for key in (*item.keys, *item.weak_keys))
        assert json.loads(json.dumps(item.extra)) == item.extra
        item.caption.encode()
        item.split.encode()


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_ids_are_a_problem_or_get_a_safe_id(value: str) -> None:
    row = {"videoid": value, "youtube_id": value, "YoutubeID": value, "video_id": value, "video": value} | {
        "time_start": "1", "time_end": "2", "Start_timestamp": "1", "End_timestamp": "2",
        "clip": [{"clip_id": value, "span": ["1", "2"]}], "conversations": [{"from": "gpt", "value": "x"}],
    }  # fmt: skip
    for source in SOURCES:
        for item in source.items(row, value):
            if isinstance(item, AnnotatedVideo):
                check_video_id(item.video_id)
                assert source.name == "sharegemini" or value in LEGAL


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{11}_\d{1,7}_\d{1,7}", fullmatch=True))
@example("-----------_000030_000040")
def test_every_file_name_has_its_own_name_as_a_key(stem: str) -> None:
    assert next(iter(name_keys(stem))) == stem


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("dQw4w9WgXcQ_000030_000040", ("dQw4w9WgXcQ", (30_000, 40_000))),
        ("a_b-c_d-e_f_000000_000010", ("a_b-c_d-e_f", (0, 10_000))),
        ("-----------_1_2", ("-----------", (1000, 2000))),
        ("dQw4w9WgXcQ_00:00:01.500_00:01:02.25", ("dQw4w9WgXcQ", (1500, 62_250))),
        ("dQw4w9WgXcQ_00-00-01.500_00-01-02.250", ("dQw4w9WgXcQ", (1500, 62_250))),
        ("dQw4w9WgXcQ_00_00_01_00_01_02", ("dQw4w9WgXcQ", (1000, 62_000))),
        ("dQw4w9WgXcQ_1.5_62.25", ("dQw4w9WgXcQ", (1500, 62_250))),
        ("dQw4w9WgXcQ.3", None),
        ("dQw4w9WgXcQ", None),
        ("dQw4w9WgXcQ_000040_000030", None),
        ("short_000030_000040", None),
    ],
)
def test_time_ranges_are_read_from_common_file_names(stem: str, expected: Any) -> None:
    assert named_range(stem) == expected


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        ("00:00:01.5", 1500), ("01:02:03.0045", 3_723_004), ("02:03", 123_000), ("PT00H00M17S", 17_000),
        ("PT1H", 3_600_000), ("17", 17_000), ("1.25", 1250), (3, 3000), (0.1, 100), ("1e1", 10_000),
        ("24:00:00", DAY_MS), ("24:00:00.1", None), ("-1", None), (-1, None), ("nan", None), (float("nan"), None),
        (float("inf"), None), ("inf", None), ("", None), ("PT", None), (True, None), (None, None), ("1:2:3:4", None),
        ("1" * 5000, None), (10**400, None), ("٣", None),
    ],
)  # fmt: skip
def test_times_in_common_formats_are_milliseconds_and_all_others_are_none(value: Any, milliseconds: int | None) -> None:
    assert parse_time_ms(value) == milliseconds
    assert parse_time_ms(10**5000) is None  # Python refuses to print such a number


@given(SCALARS, SCALARS)
def test_a_time_range_ends_after_its_start(start: Any, end: Any) -> None:
    span = parse_range_ms(start, end)
    assert span is None or 0 <= span[0] < span[1] <= DAY_MS


def test_youtube_ids_are_taken_as_they_are_or_from_urls() -> None:
    assert (
        youtube_id("dQw4w9WgXcQ") == youtube_id("https://www.youtube.com/watch?a=1&v=dQw4w9WgXcQ&t=3") == "dQw4w9WgXcQ"
    )
    assert youtube_id("https://youtu.be/-w4w9WgXcQ_") == "-w4w9WgXcQ_"
    assert [youtube_id(x) for x in ("dQw4w9WgXc", "dQw4w9WgXcQQ", "https://x/dQw4w9WgXcQ", None, 7)] == [None] * 5


@given(st.text(max_size=200))
def test_untrusted_text_in_a_report_is_short_and_printable(text: str) -> None:
    assert len(shown(text)) <= 120 and shown(text).isprintable()
    assert isinstance(url_stem(text), str)


@pytest.mark.parametrize(
    ("columns", "seconds"),
    [
        ("ts te", 10), ("s e", 10), ("st ed", 10), ("t_min t_max", 10), ("sec_start sec_end", 10), ("beg end", 10),
        ("timestamp_start timestamp_end", 10), ("start_offset end_offset", 10), ("starts_at ends_at", 10),
        ("start stop_time", 10), ("mark_in mark_out", 10), ("In Point|Out Point", 10),
        ("Start of clip|End of clip", 10),
        ("start dur", 10), ("start_ms end_ms", 0.01), ("start_us end_us", 0.00001), ("start_min end_min", 600),
        ("in out", 10), ("first last", 10), ("begin_pts end_pts", 10),
    ],
)  # fmt: skip
def test_columns_of_times_are_known_by_many_names(columns: str, seconds: float) -> None:
    first, last = columns.split("|") if "|" in columns else columns.split()
    part = part_of({"video": "a", first: 0, last: "10", "caption": "A cat"})
    assert part is not None and not isinstance(part, str) and part.duration_s == pytest.approx(seconds)
    assert part_of({first: "nan", last: None}) is None


@pytest.mark.parametrize(
    "column", ["temporal_span", "relevant_windows", "time_range_sec", "gt_times", "seg", "start_end"]
)
def test_a_range_in_one_column_is_known_by_many_names(column: str) -> None:
    parts = [
        part_of({column: value})
        for value in ("[0, 10]", "[[0, 10]]", "0s - 10s", [0, 10], "0:00-0:10", '{"start": 0, "end": 10}')
    ]
    assert {part.duration_s for part in parts if part and not isinstance(part, str)} == {10} and all(parts)


@pytest.mark.parametrize(
    "columns", ["start_idx end_index", "start_idx end_idx", "frame_in frame_out", "start_frame num_frames"]
)
def test_columns_of_frames_are_known(columns: str) -> None:
    part = part_of(dict(zip(columns.split(), (0, 10), strict=True)))
    assert part is not None and not isinstance(part, str) and part.num_frames == 10


@pytest.mark.parametrize(
    "column", ["index", "first", "s", "t", "point", "min", "length", "xmin", "time", "processing time"]
)
def test_other_columns_of_numbers_hold_no_times(column: str) -> None:
    assert part_of({column: 3}) is None
    assert part_of({"xmin": 1, "xmax": 3, "min": 1, "max": 3, "instance": 1, "outstance": 3}) is None


def test_a_number_of_webvid_may_be_a_floating_point_number() -> None:
    rows = [{"videoid": value, "name": "A cat"} for value in (1053841541.0, "1053841541.0", 1053841541)]
    (first,), *others = [list(WebVid().items(row, "")) for row in rows]
    assert isinstance(first, AnnotatedVideo) and first.video_id == "webvid-1053841541" and others == [[first], [first]]
    assert all(isinstance(*WebVid().items({"videoid": value}, ""), Problem) for value in (1.5, float("nan"), 1e300))


@pytest.mark.parametrize(
    "text",
    [
        "#NAME?",
        "<NA>",
        " (null) ",
        "#N/A",
        "n/a",
        "#SPILL!",
        "#ЗНАЧ!",
        "#¡VALOR!",
        "#NV",
        "#N/D",
        "Err:502",
        "#GETTING_DATA",
    ],
)
def test_a_published_caption_that_a_spreadsheet_wrote_for_nothing_is_a_problem(text: str) -> None:
    assert caption_of(text) == ("", EMPTY_CAPTION)


@pytest.mark.parametrize("text", ["None", "nan", "NULL", "a red ball", "#dogs!", "# 1 dog?", "#A MAN RUNS!", "#1!"])
def test_a_published_caption_that_is_a_word_is_kept(text: str) -> None:
    assert caption_of(text) == (text, "")
