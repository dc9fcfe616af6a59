"""WebVid in its usual layouts: every file is matched with its row, and nothing is guessed."""

import json
from pathlib import Path

import pytest

from sg.sources.sets.webvid import WebVidDataConfig
from tests.sources.sets.published import WEBVID, WriteFile, report, scanned, settings, table

pytestmark = pytest.mark.usefixtures("no_processes")


def test_webvid_files_are_found_by_page_number_url_or_json(tmp_path: Path, write_file: WriteFile) -> None:
    videos = tmp_path / "videos"
    url = "https://host/videos/{}/preview/stock-footage-{}.mp4"
    write_file(videos / "videos" / "000001_000050" / "101.mp4")
    write_file(videos / "videos" / "000051_000100" / "101.mp4")
    write_file(videos / "102.mp4")
    write_file(videos / "stock-footage-a-red-ball.mp4")
    write_file(videos / "stock-footage-twice.mp4")
    write_file(videos / "00000" / "000000007.mp4")
    (videos / "00000" / "000000007.json").write_text(
        json.dumps({"videoid": 106, "key": "000000007", "status": "success"})
    )
    write_file(videos / "holiday.mp4")
    rows = [
        ("101", "None", 0, "000051_000100", "PT00H00M02S", url.format(101, "x")),
        ("101", "again", 0, "000001_000050", "PT00H00M02S", url.format(101, "x")),
        ("102.0", 'a "quoted"\nname, with comma', 0, "", "PT00H00M59S", url.format(102, "y")),
        ("103", "red ball", 0, "", "", url.format(103, "a-red-ball")),
        ("104", "one", 0, "", "", url.format(104, "twice")),
        ("105", "other", 0, "", "", url.format(105, "twice")),
        ("106", "in a shard", 0, "", "", url.format(106, "z")),
        ("107", "no file", 0, "", "", url.format(107, "w")),
        ("../../etc/passwd", "hostile", 0, "../..", "", "file:///etc/passwd"),
    ]
    table(tmp_path / "notes" / "results_2M_train.csv", WEBVID, *rows)

    found = scanned(settings(WebVidDataConfig, tmp_path))

    assert {name: (row.path, row.original_caption) for name, row in found.items()} == {
        "webvid-106": ("00000/000000007.mp4", "in a shard"),
        "webvid-102": ("102.mp4", 'a "quoted"\nname, with comma'),
        "webvid-103": ("stock-footage-a-red-ball.mp4", "red ball"),
        "webvid-101": ("videos/000051_000100/101.mp4", "None"),
    }
    assert {(row.split, row.source, row.status) for row in found.values()} == {("train", "webvid", "ok")}
    numbers = report(tmp_path)
    assert numbers["counts"] == {
        "ambiguous": 2, "bad_record": 1, "extra": 1, "missing": 1, "nothing_caption": 1, "repeated_id": 1,
        "second_file": 1,
    }  # fmt: skip
    assert numbers["examples"]["extra"] == ["holiday.mp4 no video of the annotations has this file"]
    assert numbers["length_differs_from_annotation"] == 1
    text = (tmp_path / "work" / "scan_report.txt").read_text()
    assert "webvid: 4 usable of 4 videos with a file (7 files on disk), 4 with a caption" in text
    assert "withdrawn by the authors" in text


def test_the_json_beside_a_file_outranks_its_name(tmp_path: Path, write_file: WriteFile) -> None:
    write_file(tmp_path / "videos" / "01000" / "10000007.mp4")
    (tmp_path / "videos" / "01000" / "10000007.json").write_text(json.dumps({"videoid": "301"}))
    table(
        tmp_path / "notes" / "train.csv",
        WEBVID,
        ("10000007", "other", 0, "", "", ""),
        ("301", "its own", 0, "", "", ""),
    )
    found = scanned(settings(WebVidDataConfig, tmp_path))
    assert {name: row.original_caption for name, row in found.items()} == {"webvid-301": "its own"}


def test_without_annotation_files_the_json_beside_the_files_is_read(tmp_path: Path, write_file: WriteFile) -> None:
    folder = tmp_path / "videos" / "00003"
    for number, row in enumerate(
        [{"videoid": "301", "caption": "a cat"}, {"url": "http://h/videos/302/preview/x.mp4"}, []]
    ):
        write_file(folder / f"0000300{number}.mp4")
        (folder / f"0000300{number}.json").write_text(json.dumps(row))
    found = scanned(settings(WebVidDataConfig, tmp_path, annotations=None))
    assert {name: row.original_caption for name, row in found.items()} == {"webvid-301": "a cat", "webvid-302": ""}
    assert report(tmp_path)["reasons"]["bad_record"] == {"no JSON object beside the file": 1}
