"""Annotations of published datasets in all their formats: every file is matched with its row."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from sg.artefacts.manifest import read_manifest
from sg.core.errors import DataError, MissingInputError
from sg.sources.manifests import make_manifest, scan
from sg.sources.sets.internvid import InternVidDataConfig
from sg.sources.sets.kinetics400 import Kinetics400DataConfig
from sg.sources.sets.webvid import WebVidDataConfig
from tests.sources.sets.published import KINETICS, WEBVID, WriteFile, report, scanned, settings, table

CASES = Path(__file__).parents[1] / "cases"
pytestmark = pytest.mark.usefixtures("no_processes")


def test_captions_that_cannot_be_used_are_counted_and_their_videos_are_kept(
    tmp_path: Path, write_file: WriteFile
) -> None:
    captions = {"101": "x" * 20_001, "102": "caf\ufffd", "103": "a cat", "104": "NaN"}
    for number in captions:
        write_file(tmp_path / "videos" / f"{number}.mp4")
    rows = [(number, caption, 0, "", "", "") for number, caption in captions.items()]
    table(tmp_path / "notes" / "results_2M_train.csv", WEBVID, *rows)
    found = scanned(settings(WebVidDataConfig, tmp_path))
    assert [row.original_caption for row in found.values()] == ["", "", "a cat", "NaN"]
    numbers = report(tmp_path)
    assert numbers["counts"] == {"bad_caption": 2, "nothing_caption": 1}
    assert numbers["reasons"]["bad_caption"] == {
        "caption longer than 20,000 characters": 1, "caption holds replacement characters": 1,
    }  # fmt: skip
    text = (tmp_path / "work" / "scan_report.txt").read_text()
    assert "2 captions that cannot be used" in text and "1 captions such as None or NULL" in text


def test_gzip_annotations_are_read_and_an_incomplete_file_is_an_error(tmp_path: Path, write_file: WriteFile) -> None:
    notes = tmp_path / "notes"
    write_file(tmp_path / "videos" / "aaaaaaaaaaa_000030_000040.mp4")
    plain = table(notes / "train.csv", KINETICS, ("juggling", "aaaaaaaaaaa", 30, 40, "train", 0))
    packed = notes / "train.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    config = settings(Kinetics400DataConfig, tmp_path)
    scanned(config)
    assert report(tmp_path)["annotations"] == {"train.csv": 1}
    plain.unlink()
    assert list(scanned(config)) == ["kinetics400-aaaaaaaaaaa@30000-40000"]
    assert report(tmp_path)["annotations"] == {"train.csv.gz": 1}
    (notes / "part_0.tar.gz").write_bytes(b"no annotations")
    assert len(scanned(config)) == 1
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-12])
    with pytest.raises(DataError, match="is a compressed file that is damaged or cut off"):
        scan(config)
    packed.write_bytes(gzip.decompress(whole))  # by a program that unpacks what it downloads
    assert len(scanned(config)) == 1
    packed.unlink()
    record = {"YoutubeID": "a" * 11, "Start_timestamp": 30, "End_timestamp": 40, "Caption": "a cat"}
    for name, text in (("a.jsonl.gz", json.dumps(record)), ("a.json.gz", json.dumps([record]))):
        (notes / name).write_bytes(gzip.compress(text.encode()))
        internvid = settings(InternVidDataConfig, tmp_path, annotations=str(notes / name))
        assert [row.original_caption for row in scanned(internvid).values()] == ["a cat"]


def test_folders_of_frames_are_reported_and_not_read(tmp_path: Path, write_file: WriteFile) -> None:
    for folder in ("101", "shard"):
        (tmp_path / "videos" / folder).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "videos" / folder / f"{number}.jpg").touch()
    table(tmp_path / "notes" / "results_2M_train.csv", WEBVID, ("102", "a", 0, "", "", ""))
    with pytest.raises(MissingInputError, match="folders of frames are not read"):
        scan(settings(WebVidDataConfig, tmp_path))
    write_file(tmp_path / "videos" / "shard" / "102.mp4")
    scanned(settings(WebVidDataConfig, tmp_path))
    assert report(tmp_path)["frame_folders"] == 1
    assert "1 folders of frames" in (tmp_path / "work" / "scan_report.txt").read_text()


def test_parquet_annotations_are_read(tmp_path: Path, write_file: WriteFile) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_file(tmp_path / "videos" / "401.mp4")
    (tmp_path / "notes").mkdir()
    pq.write_table(pa.table({"videoid": [401], "caption": ["a cat"]}), tmp_path / "notes" / "00000.parquet")
    (tmp_path / "notes" / "00001.parquet").write_bytes(b"PAR1 no table")
    first = settings(WebVidDataConfig, tmp_path, annotations=str(tmp_path / "notes" / "00000.parquet"))
    assert scanned(first)["webvid-401"].original_caption == "a cat"
    with pytest.raises(DataError, match="is not a Parquet file"):
        scan(settings(WebVidDataConfig, tmp_path))


def test_mistakes_of_the_user_are_one_sentence(tmp_path: Path, write_file: WriteFile) -> None:
    config = settings(WebVidDataConfig, tmp_path)
    with pytest.raises(MissingInputError, match=r"no folder .*data\.videos=DIR"):
        scan(config)
    (tmp_path / "videos").mkdir()
    with pytest.raises(MissingInputError, match="holds no video files"):
        scan(config)
    made = write_file(tmp_path / "videos" / "x.mp4")
    with pytest.raises(MissingInputError, match=r"no annotation files .*data\.annotations=FILE"):
        scan(config)
    with pytest.raises(MissingInputError, match="There are no annotations"):
        scan(settings(WebVidDataConfig, tmp_path, annotations=None))
    table(tmp_path / "notes" / "a.csv", WEBVID, ("1", "a", 0, "", "", ""))
    with pytest.raises(DataError, match="None of the 1 video files"):
        scan(config)
    shutil.copy(made, tmp_path / "videos" / "1.mp4")
    first = make_manifest(config)
    shutil.copy(made, tmp_path / "videos" / "2.mp4")
    assert make_manifest(config) == first and len(read_manifest(first)) == 1
