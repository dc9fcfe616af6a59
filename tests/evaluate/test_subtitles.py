import json
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import DataError
from sg.evaluate.subtitles import SubtitleCue, lines_at_frames, parse_srt, read_srt, transcript_lines

GOLDENS = Path(__file__).parents[1] / "goldens" / "video_mme"
CASES: list[dict[str, Any]] = json.loads((GOLDENS / "subtitles.json").read_text())["cases"]


def cut(case: dict[str, Any], frame_indices: list[int], folder: Path) -> str:
    path = folder / "subtitle.srt"
    path.write_bytes(case["srt"].encode("utf-8"))
    return "\n".join(lines_at_frames(read_srt(path), frame_indices, case["fps_opencv"]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_golden_files_have_the_lines_of_the_official_slicer(case: dict[str, Any], tmp_path: Path) -> None:
    for expected in case["by_frames"].values():
        official = expected["official_slicer"]
        assert cut(case, official["frame_indices"], tmp_path) == official["text"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_golden_files_have_the_official_lines_at_the_frames_of_chat_univi(case: dict[str, Any], tmp_path: Path) -> None:
    expected = case["chatunivi_64_at_1fps"]
    assert cut(case, expected["frame_indices"], tmp_path) == expected["text_by_official_matching"]


def test_a_frame_on_a_boundary_gets_nothing_and_a_long_cue_repeats() -> None:
    cues = [SubtitleCue(0, 1000, "first"), SubtitleCue(1000, 4000, "second")]
    assert lines_at_frames(cues, [0, 1, 2, 3, 4], fps=1.0) == ["second", "second"]


def test_a_blank_cue_hides_a_later_one_that_is_on_screen_too() -> None:
    assert lines_at_frames([SubtitleCue(0, 3000, " "), SubtitleCue(0, 3000, "text")], [1], fps=1.0) == []


def test_the_transcript_has_every_cue_once_on_one_line() -> None:
    cues = parse_srt("1\n00:00:01,000 --> 00:00:02,000\ntwo\nlines\n\n2\n00:00:02,000 --> 00:00:03,000\n\n")
    assert transcript_lines(cues) == ["two lines"]


def test_style_tags_become_codes_and_other_tags_are_removed() -> None:
    cues = parse_srt("1\n00:00:01,000 --> 00:00:02,000\n<i>a</i> <font color='x'>b</font> {\\an8} &amp; 1 < 2\n")
    assert cues[0].text == "{\\i1}a{\\i0} b {\\an8} &amp; 1 < 2"


A = [(62500, 63250, "a")]
FORMS = {  # each with the cues that pysubs2 1.8.1 reads
    "0:1:2,5 --> 0:1:3.25\na\n": A,
    "1:02:3.004 --> 01:2:04,9 X1:100\na\n": [(3723004, 3724900, "a")],
    "00:00:01,000 --> 00:00:02,000\nb\n\n2\n0:1:2,5 --> 0:1:3,25\na\n": [(1000, 2000, "b"), *A],
    "0:1:2,5 --> 0:1:3,25\na\\Nb\\nc\\hd\n": [(62500, 63250, "a\nb\\nc\\hd")],
    "0:1:2,5 --> 0:1:3,25\n\n\n 7 \n": [(62500, 63250, "")],
    "0:1:2,5 --> 0:1:3,25\na\n\n\n  7\n": A,
    "0:1:2,5 --> 0:1:3,25\n< I >a</ i >< b\n> c\n": [(62500, 63250, "a{\\i0} c")],
    "0:1:2,5 --> 0:1:3,25\n< i >a< / i > <c <d>e < f\n": [(62500, 63250, "{\\i1}a{\\i0} e < f")],
    "0:1:2 --> 0:1:3\n0:1:2,5 --> 0:1:3,25\r\na\r\n": A,
    "WEBVTT\n\n01:02.500 --> 00:01:03.250 align:start\na\n": A,
}


@pytest.mark.parametrize("text", FORMS)
def test_every_form_of_times_and_texts_is_read_as_by_pysubs2(text: str) -> None:
    assert [(cue.start_ms, cue.end_ms, cue.text) for cue in parse_srt(text)] == FORMS[text]


@pytest.mark.parametrize("piece", ["<", "<a", "< ", " ", "1", "\n 1", "<i", "1:", "</", "> <"])
def test_a_line_of_a_megabyte_takes_linear_time(piece: str) -> None:
    text = "0:1:2,5 --> 0:1:3,25\nx<" + piece * (2**20 // len(piece))
    assert len(parse_srt(text)) == 1  # quadratic time would be hours


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ass.srt"
    path.write_text("[Script Info]\n[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,text\n")
    with pytest.raises(DataError, match="convert it to SubRip"):
        read_srt(path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.srt"
    path.write_bytes(b"\x00\xff\xfe\x80")
    with pytest.raises(DataError, match="not a UTF-8 subtitle file"):
        read_srt(path)


def test_a_file_without_any_cue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.srt"
    path.write_text("<html>not found</html>")
    with pytest.raises(DataError, match="holds no subtitle cue"):
        read_srt(path)


def test_an_empty_file_has_no_cues(tmp_path: Path) -> None:
    path = tmp_path / "empty.srt"
    path.write_text("")
    assert read_srt(path) == []
