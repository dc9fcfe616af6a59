"""InternVid in its usual layouts: every clip is matched with its row, and nothing is guessed."""

import json
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import ConfigError
from sg.sources.sets.internvid import InternVidDataConfig
from tests.sources.sets.published import WriteFile, lines, report, scanned, settings

pytestmark = pytest.mark.usefixtures("no_processes")


def test_internvid_clips_are_found_in_every_notation_of_their_time_range(tmp_path: Path, write_file: WriteFile) -> None:
    videos = tmp_path / "videos"
    names = [
        "aaaaaaaaaaa_00:00:01.000_00:00:03.500", "ab/bbbbbbbbbbb_00-00-01.000_00-00-03.500",
        "ccccccccccc_1.0_3.5", "ddddddddddd_00_00_01_00_00_03", "internvid-eeeeeeeeeee@1000-3500",
    ]  # fmt: skip
    for name in names:
        write_file(videos / f"{name}.mp4")
    write_file(videos / "part7~fffffffffff~1~3.5.mp4")
    rows = [
        {"YoutubeID": letter * 11, "Start_timestamp": "00:00:01.000", "End_timestamp": "00:00:03.500",
         "Caption": f"a {letter}", "UMT_Score": "0.41", "Aesthetic_Score": 4.5}
        for letter in "abcdef"
    ]  # fmt: skip
    lines(tmp_path / "notes" / "InternVid-10M-flt.jsonl", *rows, "{broken", "[" * 20_000, '{"YoutubeID": NaN}', "3")

    found = scanned(settings(InternVidDataConfig, tmp_path))
    assert [row.original_caption for row in found.values()] == ["a a", "a b", "a c", "a d", "a e"]
    assert json.loads(found["internvid-aaaaaaaaaaa@1000-3500"].extra)["umt_score"] == 0.41
    assert report(tmp_path)["counts"] == {"bad_record": 4, "extra": 1, "missing": 1}

    pattern = r"part\d+~(?P<id>[\w-]{11})~(?P<start>[\d.]+)~(?P<end>[\d.]+)"
    found = scanned(settings(InternVidDataConfig, tmp_path, pattern=pattern))
    assert found["internvid-fffffffffff@1000-3500"].path == "part7~fffffffffff~1~3.5.mp4"
    for wrong in ("(", "(?P<id>x)"):
        with pytest.raises(ConfigError, match=r"data\.pattern="):
            settings(InternVidDataConfig, tmp_path, pattern=wrong)


def test_numbered_internvid_files_are_time_ranges_in_order(tmp_path: Path, write_file: WriteFile) -> None:
    videos = tmp_path / "videos"

    def rows(name: str, *lengths: float) -> list[dict[str, Any]]:
        ranges = [(10.0 * place, 10.0 * place + length) for place, length in enumerate(lengths)]
        return [
            {"YoutubeID": name, "Start_timestamp": start, "End_timestamp": end, "Caption": f"{start}"}
            for start, end in ranges
        ]

    for name in (
        "aaaaaaaaaaa/0",
        "aaaaaaaaaaa/2",
        "ab/bbbbbbbbbbb/000001",
        "ccccccccccc/0",
        "other/0",
        "eeeeeeeeeee/9",
    ):
        write_file(videos / f"{name}.mp4")
    lines(
        tmp_path / "notes" / "InternVid-10M-flt.jsonl",
        *rows("aaaaaaaaaaa", 2, 2, 2.5),
        *rows("ccccccccccc", 60),
        *rows("bbbbbbbbbbb", 2, 2),
        *rows("bbbbbbbbbbb", 2),
        *rows("eeeeeeeeeee", 2),
    )
    found = scanned(settings(InternVidDataConfig, tmp_path))
    assert {row.path: row.original_caption for row in found.values()} == {
        "aaaaaaaaaaa/0.mp4": "0.0", "aaaaaaaaaaa/2.mp4": "20.0", "ab/bbbbbbbbbbb/000001.mp4": "10.0",
    }  # fmt: skip
    numbers = report(tmp_path)
    assert numbers["counts"] == {"ambiguous": 1, "extra": 2, "missing": 4}
    assert "the durations differ" in numbers["examples"]["ambiguous"][0]

    (videos / "aaaaaaaaaaa" / "0.mp4").rename(videos / "aaaaaaaaaaa" / "1.mp4")
    (videos / "ccccccccccc" / "0.mp4").unlink()
    (videos / "other" / "0.mp4").unlink()
    found = scanned(settings(InternVidDataConfig, tmp_path))
    assert {row.path: row.original_caption for row in found.values()} == {
        "aaaaaaaaaaa/1.mp4": "0.0", "aaaaaaaaaaa/2.mp4": "10.0", "ab/bbbbbbbbbbb/000001.mp4": "0.0",
    }  # fmt: skip


@pytest.mark.parametrize("caption", ["A0", "another"])
def test_a_doubled_row_shifts_no_numbered_clip_and_is_counted(
    tmp_path: Path, write_file: WriteFile, caption: str
) -> None:
    def row(start: int, caption: str, name: str = "aaaaaaaaaaa") -> dict[str, Any]:
        return {"YoutubeID": name, "Start_timestamp": start, "End_timestamp": start + 2, "Caption": caption}

    for name in ("aaaaaaaaaaa/0", "aaaaaaaaaaa/1", "aaaaaaaaaaa/2", "bbbbbbbbbbb/0", "ccccccccccc_0.5_2.5"):
        write_file(tmp_path / "videos" / f"{name}.mp4")
    rounded = row(0, "C0", "ccccccccccc") | {"Start_timestamp": 0.5, "End_timestamp": 2.5}
    rows = [row(0, "A0"), row(0, caption), row(10, "A1"), row(0, "B0", "bbbbbbbbbbb"), rounded]
    lines(tmp_path / "notes" / "InternVid-10M-flt.jsonl", *rows, rounded | {"Caption": caption.replace("A", "C")})
    found = scanned(settings(InternVidDataConfig, tmp_path))
    assert {row.path: row.original_caption for row in found.values()} == {
        "aaaaaaaaaaa/0.mp4": "A0", "bbbbbbbbbbb/0.mp4": "B0", "ccccccccccc_0.5_2.5.mp4": "C0",
    }  # fmt: skip
    numbers = report(tmp_path)
    assert numbers["counts"] == {"extra": 2, "missing": 1, "repeated_id": 2}
    kind = "the same caption" if caption == "A0" else "another caption"
    assert numbers["reasons"]["repeated_id"] == {kind: 2}


def test_every_row_is_a_video_or_a_finding(tmp_path: Path, write_file: WriteFile) -> None:
    """A row that is found by a weak key only is counted too."""
    write_file(tmp_path / "videos" / "ccccccccccc_00_00_01_00_00_03.mp4")
    row = {"YoutubeID": "c" * 11, "Start_timestamp": 1.0, "End_timestamp": 3.2, "Caption": "C0"}
    lines(tmp_path / "notes" / "InternVid-10M-flt.jsonl", row, row, row | {"Caption": "other"})
    assert [row.original_caption for row in scanned(settings(InternVidDataConfig, tmp_path)).values()] == ["C0"]
    assert report(tmp_path)["reasons"]["repeated_id"] == {"the same caption": 1, "another caption": 1}


@pytest.mark.parametrize(
    ("lost", "kept"),
    [
        ("{broken", {"aaaaaaaaaaa/0.mp4": "A0"}),
        ({"YoutubeID": "aaaaaaaaaaa", "Start_timestamp": "x"}, {"aaaaaaaaaaa/0.mp4": "A0", "bbbbbbbbbbb/0.mp4": "B0"}),
    ],
)
def test_after_a_lost_record_no_numbered_clip_gets_the_caption_of_another(
    tmp_path: Path, write_file: WriteFile, lost: Any, kept: dict[str, str]
) -> None:
    def row(name: str, start: int, caption: str) -> dict[str, Any]:
        return {"YoutubeID": name, "Start_timestamp": start, "End_timestamp": start + 2, "Caption": caption}

    for name in ("aaaaaaaaaaa/0", "aaaaaaaaaaa/1", "aaaaaaaaaaa/2", "bbbbbbbbbbb/0"):
        write_file(tmp_path / "videos" / f"{name}.mp4")
    first, third, other = row("aaaaaaaaaaa", 0, "A0"), row("aaaaaaaaaaa", 20, "A2"), row("bbbbbbbbbbb", 0, "B0")
    lines(tmp_path / "notes" / "InternVid-10M-flt.jsonl", first, lost, third, other)
    found = scanned(settings(InternVidDataConfig, tmp_path))
    assert {row.path: row.original_caption for row in found.values()} == kept
