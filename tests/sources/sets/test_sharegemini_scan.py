"""The ShareGemini release beside its videos: every record is matched with its file, and nothing is guessed."""

import json
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import DataError
from sg.sources.manifests import scan
from sg.sources.sets.sharegemini import ShareGeminiDataConfig
from tests.sources.sets.published import WriteFile, report, scanned, settings

CASES = Path(__file__).parents[1] / "cases"
pytestmark = pytest.mark.usefixtures("no_processes")


@pytest.mark.parametrize(
    ("names", "files", "kept", "counts"),
    [
        # The names of WebVid are not unique: two records of one name may be two videos.
        (["x.mp4", "x.mp4"], ["x.mp4"], {}, {"ambiguous": 2}),
        (["x.mp4", "x.mp4", "x.mp4"], ["x.mp4"], {}, {"ambiguous": 3}),
        (["a/x.mp4", "a/x.mp4"], ["a/x.mp4"], {}, {"ambiguous": 2}),
        (["a/x.mp4", "b/x.mp4"], ["x.mp4"], {}, {"ambiguous": 2}),
        (["a/x.mp4", "b/x.mp4"], ["a/x.mp4", "b/x.mp4"], {"a/x.mp4": 0, "b/x.mp4": 1}, {}),
        (["a/x.mp4", "b/x.mp4"], ["v/b/x.mp4"], {"v/b/x.mp4": 1}, {"ambiguous": 1}),
        (["a/x.mp4", "y.mp4"], ["v/x.mp4", "w/y.mp4"], {"v/x.mp4": 0, "w/y.mp4": 1}, {}),
        (["x.mp4"], ["a/x.mp4", "b/x.mp4"], {}, {"ambiguous": 1, "extra": 2}),
        # A number is that of one video.
        (["77.mp4", "77.mp4"], ["77.mp4"], {"77.mp4": 0}, {"repeated_id": 1}),
    ],
)
def test_sharegemini_records_of_one_name_are_ambiguous_unless_a_folder_or_number_decides(
    tmp_path: Path, write_file: WriteFile, names: list[str], files: list[str], kept: dict[str, int], counts: Any
) -> None:
    for file in (*files, "1.mp4"):
        write_file(tmp_path / "videos" / file)

    def record(name: str, caption: str) -> dict[str, Any]:
        return {"id": caption, "video": name, "conversations": [{"from": "gpt", "value": caption}]}

    records = [record(name, f"caption {number}") for number, name in enumerate(names)]
    (tmp_path / "notes").mkdir()
    for rows in (records, [*records, records[0]]):
        (tmp_path / "notes" / "a.json").write_text(json.dumps([*rows, record("1.mp4", "one")]))
        found = scanned(settings(ShareGeminiDataConfig, tmp_path))
        assert {row.path: row.original_caption for row in found.values()} == {
            "1.mp4": "one",
            **{name: f"caption {number}" for name, number in kept.items()},
        }
        counted = report(tmp_path)["counts"]
        counted.pop("extra", None)
        assert sum(counted.values()) == len(rows) - len(kept)
        if rows is records:
            assert counted == {key: count for key, count in counts.items() if key != "extra"}


@pytest.mark.parametrize("numbers_first", [True, False])
def test_sharegemini_records_are_linked_by_a_name_map_in_either_direction(
    tmp_path: Path, write_file: WriteFile, numbers_first: bool
) -> None:
    videos = tmp_path / "videos"
    write_file(videos / "webvid" / "201.mp4")
    write_file(videos / "webvid" / "202.mp4")
    write_file(videos / "k400" / "aaaaaaaaaaa_000001_000011.mp4")

    def record(video: Any, *turns: Any) -> dict[str, Any]:
        values = [{"from": who, "value": text} for who, text in turns]
        return {"id": "1", "set": "webvid", "video": video, "conversations": values}

    asked = ("human", "<video>\nDescribe.")
    records = [
        record("stock-footage-a-cat.mp4", asked, ("gpt", "a cat")),
        record("202.mp4", asked, ("gpt", "a dog")),
        record("k400/train/aaaaaaaaaaa_000001_000011.mp4", asked, ("gpt", "a yawn")),
        record("stock-footage-lost.mp4", asked, ("gpt", "nothing")),
        record("203.mp4", asked, ("gpt", " ")),
        record(["x"], asked, ("gpt", "x")),
    ]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "sharegemini_webvid_core100k.json").write_text(json.dumps(records, indent=1))
    pair = ("201", "stock-footage-a-cat.mp4")
    (tmp_path / "map.json").write_text(json.dumps(dict([pair if numbers_first else pair[::-1]])))

    found = scanned(settings(ShareGeminiDataConfig, tmp_path, name_map=str(tmp_path / "map.json")))

    assert {name: row.original_caption for name, row in found.items()} == {
        "kinetics400-aaaaaaaaaaa@1000-11000": "a yawn", "webvid-201": "a cat", "webvid-202": "a dog",
    }  # fmt: skip
    assert report(tmp_path)["reasons"]["bad_record"] == {"no caption": 1, "no video": 1}
    (tmp_path / "map.json").write_text('{"a": "b"}')
    with pytest.raises(DataError, match="maps no names of videos to numbers"):
        scan(settings(ShareGeminiDataConfig, tmp_path, name_map=str(tmp_path / "map.json")))


def test_a_caption_of_a_time_range_never_goes_to_another_part_of_the_video(
    tmp_path: Path, write_file: WriteFile
) -> None:
    videos, answer = tmp_path / "videos", {"from": "gpt", "value": "a caption of seconds 1 to 11"}
    config = settings(ShareGeminiDataConfig, tmp_path, annotations=str(CASES / "sg.json"))
    for name in ("aaaaaaaaaaa_000090_000100", "aaaaaaaaaaa_000001_000005"):
        made = write_file(videos / f"{name}.mp4")
        with pytest.raises(DataError, match="None of the 1 video files"):
            scan(config)
        assert report(tmp_path)["counts"] == {"extra": 1, "missing": 1}
        made.unlink()
    # A file without times in its name has to be as long as the range: this one has 2 of 10 seconds.
    write_file(videos / "aaaaaaaaaaa.mp4")
    with pytest.raises(DataError, match="None of the 1 video files"):
        scan(config)
    assert report(tmp_path)["counts"] == {"ambiguous": 1}
    (tmp_path / "short.json").write_text(
        json.dumps([{"video": "k400/aaaaaaaaaaa_000001_000003.mp4", "conversations": [answer]}])
    )
    found = scanned(settings(ShareGeminiDataConfig, tmp_path, annotations=str(tmp_path / "short.json")))
    assert list(found) == ["kinetics400-aaaaaaaaaaa@1000-3000"]


def test_an_incomplete_annotation_array_is_an_error(tmp_path: Path, write_file: WriteFile) -> None:
    write_file(tmp_path / "videos" / "1.mp4")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "sharegemini_webvid.json").write_text('[{"video": "1.mp4", "conversations": [{"from')
    with pytest.raises(DataError, match="is not JSON"):
        scan(settings(ShareGeminiDataConfig, tmp_path))
