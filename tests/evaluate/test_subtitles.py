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
