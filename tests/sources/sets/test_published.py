"""Each published set in the layouts that people have it in: every film finds its row, and nothing is guessed."""

import csv
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.manifest import VideoRecord, read_manifest
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import read_json
from sg.sources.config import AnnotatedDataConfig
from sg.sources.manifests import make_manifest, scan
from sg.sources.sets.hdvila import HdVilaDataConfig
from sg.sources.sets.internvid import InternVidDataConfig
from sg.sources.sets.kinetics400 import Kinetics400DataConfig
from sg.sources.sets.sharegemini import ShareGeminiDataConfig
from sg.sources.sets.webvid import WebVidDataConfig

WEBVID = ("videoid", "name", "page_idx", "page_dir", "duration", "contentUrl")
KINETICS = ("label", "youtube_id", "time_start", "time_end", "split", "is_cc")
Films = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("no_processes")


def settings(kind: type[AnnotatedDataConfig], tmp_path: Path, **values: Any) -> Any:
    given = {"dir": str(tmp_path / "work"), "videos": str(tmp_path / "films"), "annotations": str(tmp_path / "notes")}
    return kind(**({"name": "set", "workers": 1} | given | values))


def table(path: Path, header: tuple[str, ...], *rows: tuple[Any, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        csv.writer(stream, lineterminator="\r\n").writerows([header, *rows])
    return path


def lines(path: Path, *values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = (value if isinstance(value, str) else json.dumps(value) for value in values)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def scanned(config: AnnotatedDataConfig) -> dict[str, VideoRecord]:
    return {row.video_id: row for row in read_manifest(scan(config)).records()}


def report(tmp_path: Path) -> dict[str, Any]:
    value: dict[str, Any] = read_json(tmp_path / "work" / "scan_report.json")
    return value


def test_webvid_films_are_found_by_page_flat_by_url_tail_and_beside_their_json(tmp_path: Path, film: Films) -> None:
    films = tmp_path / "films"
    url = "https://host/videos/{}/preview/stock-footage-{}.mp4"
    film(films / "videos" / "000001_000050" / "101.mp4")
    film(films / "videos" / "000051_000100" / "101.mp4")
    film(films / "102.mp4")
    film(films / "stock-footage-a-red-ball.mp4")
    film(films / "stock-footage-twice.mp4")
    film(films / "00000" / "000000007.mp4")
    (films / "00000" / "000000007.json").write_text(
        json.dumps({"videoid": 106, "key": "000000007", "status": "success"})
    )
    film(films / "holiday.mp4")
    rows = [
        ("101", "None", 0, "000051_000100", "PT00H00M02S", url.format(101, "x")),
        ("101", "again", 0, "000001_000050", "PT00H00M02S", url.format(101, "x")),
        ("102.0", 'a "quoted"\nname, with comma', 0, "", "PT00H00M59S", url.format(102, "y")),
        ("103", "red ball", 0, "", "", url.format(103, "a-red-ball")),
        ("104", "one", 0, "", "", url.format(104, "twice")),
        ("105", "other", 0, "", "", url.format(105, "twice")),
        ("106", "in a shard", 0, "", "", url.format(106, "z")),
        ("107", "no film", 0, "", "", url.format(107, "w")),
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
    told = report(tmp_path)
    assert told["counts"] == {
        "ambiguous": 2, "bad_record": 1, "extra": 1, "missing": 1, "repeated_id": 1, "second_file": 1,
    }  # fmt: skip
    assert told["examples"]["extra"] == ["holiday.mp4 the annotations do not speak of it"]
    assert told["length_differs_from_annotation"] == 1
    text = (tmp_path / "work" / "scan_report.txt").read_text()
    assert "webvid: 4 usable of 4 films found (7 on disk), 4 with a caption" in text
    assert "withdrawn by its authors" in text


def test_kinetics_films_are_found_by_id_and_start_and_the_replacement_wins(tmp_path: Path, film: Films) -> None:
    films = tmp_path / "films"
    film(films / "train" / "-a_b-c_d-e._000030_000040.mp4".replace(".", "f", 1))
    film(films / "train" / "bbbbbbbbbbb_000010_000020.mp4")
    film(films / "replacement" / "replacement_for_corrupted_k400" / "bbbbbbbbbbb_000010_000020.mp4")
    film(films / "videos" / "playing kickball" / "ccccccccccc_000010_000021.webm".replace("webm", "mkv"))
    film(films / "ddddddddddd.mp4")
    film(films / "eeeeeeeeeee_000001_000011.mp4")
    film(films / "eeeeeeeeeee_000050_000060.mp4")
    film(films / "val" / "fffffffffff_000001_000011.mp4")
    rows = [
        ("juggling (soccer)", "-a_b-c_d-ef", 30, 40, "train", 0),
        ("dancing", "bbbbbbbbbbb", 10, 20, "train", 0),
        ("playing kickball", "ccccccccccc", 10, 20, "train", 0),
        ("yawning", "ddddddddddd", 3, 13, "train", 0),
        ("yawning", "eeeeeeeeeee", 7, 17, "train", 0),
        ("yawning", "ggggggggggg", 9, 9, "train", 0),
    ]
    table(tmp_path / "notes" / "train.csv", KINETICS, *rows)
    table(tmp_path / "notes" / "val.csv", KINETICS[:5], ("yawning", "fffffffffff", 1, 11, "val"))

    found = scanned(settings(Kinetics400DataConfig, tmp_path, splits=["train"]))

    assert {name: row.path for name, row in found.items()} == {
        "kinetics400--a_b-c_d-ef@30000-40000": "train/-a_b-c_d-ef_000030_000040.mp4",
        "kinetics400-bbbbbbbbbbb@10000-20000": (
            "replacement/replacement_for_corrupted_k400/bbbbbbbbbbb_000010_000020.mp4"
        ),
        "kinetics400-ccccccccccc@10000-20000": "videos/playing kickball/ccccccccccc_000010_000021.mkv",
        "kinetics400-ddddddddddd@3000-13000": "ddddddddddd.mp4",
    }
    extra = json.loads(found["kinetics400--a_b-c_d-ef@30000-40000"].extra)
    assert (extra["label"], extra["youtube_id"], extra["start_ms"]) == ("juggling (soccer)", "-a_b-c_d-ef", 30_000)
    told = report(tmp_path)
    assert told["counts"] == {"ambiguous": 1, "bad_record": 1, "extra": 3, "other_split": 1, "second_file": 1}
    assert told["reasons"]["bad_record"] == {"no time range": 1}


def test_internvid_clips_are_found_however_their_range_is_written(tmp_path: Path, film: Films) -> None:
    films = tmp_path / "films"
    names = [
        "aaaaaaaaaaa_00:00:01.000_00:00:03.500", "ab/bbbbbbbbbbb_00-00-01.000_00-00-03.500",
        "ccccccccccc_1.0_3.5", "ddddddddddd_00_00_01_00_00_03", "internvid-eeeeeeeeeee@1000-3500",
    ]  # fmt: skip
    for name in names:
        film(films / f"{name}.mp4")
    film(films / "part7~fffffffffff~1~3.5.mp4")
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


def test_internvid_clips_that_are_numbered_are_the_ranges_of_their_film_in_order(tmp_path: Path, film: Films) -> None:
    films = tmp_path / "films"

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
        film(films / f"{name}.mp4")
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
    told = report(tmp_path)
    assert told["counts"] == {"ambiguous": 1, "extra": 2, "missing": 4}
    assert "its length is not" in told["examples"]["ambiguous"][0]

    (films / "aaaaaaaaaaa" / "0.mp4").rename(films / "aaaaaaaaaaa" / "1.mp4")
    (films / "ccccccccccc" / "0.mp4").unlink()
    (films / "other" / "0.mp4").unlink()
    found = scanned(settings(InternVidDataConfig, tmp_path))
    assert {row.path: row.original_caption for row in found.values()} == {
        "aaaaaaaaaaa/1.mp4": "0.0", "aaaaaaaaaaa/2.mp4": "10.0", "ab/bbbbbbbbbbb/000001.mp4": "0.0",
    }  # fmt: skip


def test_packed_annotations_are_read_and_a_cut_off_file_is_an_error(tmp_path: Path, film: Films) -> None:
    notes = tmp_path / "notes"
    film(tmp_path / "films" / "aaaaaaaaaaa_000030_000040.mp4")
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
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(DataError, match="is no whole gzip file"):
        scan(config)
    packed.write_text("not packed at all")
    with pytest.raises(DataError, match="is no whole gzip file"):
        scan(config)
    packed.unlink()
    record = {"YoutubeID": "a" * 11, "Start_timestamp": 30, "End_timestamp": 40, "Caption": "a cat"}
    for name, text in (("a.jsonl.gz", json.dumps(record)), ("a.json.gz", json.dumps([record]))):
        (notes / name).write_bytes(gzip.compress(text.encode()))
        internvid = settings(InternVidDataConfig, tmp_path, annotations=str(notes / name))
        assert [row.original_caption for row in scanned(internvid).values()] == ["a cat"]


def test_folders_of_frames_are_told_not_read(tmp_path: Path, film: Films) -> None:
    for folder in ("101", "shard"):
        (tmp_path / "films" / folder).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "films" / folder / f"{number}.jpg").touch()
    table(tmp_path / "notes" / "results_2M_train.csv", WEBVID, ("102", "a", 0, "", "", ""))
    with pytest.raises(MissingInputError, match="folders of frames are not read"):
        scan(settings(WebVidDataConfig, tmp_path))
    film(tmp_path / "films" / "shard" / "102.mp4")
    scanned(settings(WebVidDataConfig, tmp_path))
    assert report(tmp_path)["frame_folders"] == 1
    assert "1 folders of frames" in (tmp_path / "work" / "scan_report.txt").read_text()


def test_hdvila_gives_clips_windows_or_films(tmp_path: Path, film: Films) -> None:
    films = tmp_path / "films"
    name = "-bcdefghijk"
    spans = [("00:00:00.000", "00:00:01.000"), ("00:00:01.000", "00:00:01.500"), ("00:00:10.000", "00:00:12.000")]
    clips = [{"clip_id": f"{name}.{number}.mp4", "span": list(span)} for number, span in enumerate(spans)]
    for number in range(2):
        film(films / "video_clips" / name / f"{name}.{number}.mp4")
    film(films / "download_videos" / f"{name}.mp4")
    bad = {"video_id": "llllllllllm", "clip": [{"clip_id": "../../x.mp4", "span": ["1", "2"]}, {"span": [5]}, None]}
    lines(
        tmp_path / "notes" / "part0.jsonl",
        repr({"video_id": name, "url": "x", "clip": clips}),
        bad,
        "{'a': __import__('os')}",
    )

    by_clip = scanned(settings(HdVilaDataConfig, tmp_path))
    assert {video_id: row.path.rsplit("/")[-1] for video_id, row in by_clip.items()} == {
        f"hdvila-{name}.0": f"{name}.0.mp4", f"hdvila-{name}.1": f"{name}.1.mp4",
    }  # fmt: skip
    assert report(tmp_path)["counts"] == {"bad_record": 4, "extra": 1, "missing": 1}
    by_film = scanned(settings(HdVilaDataConfig, tmp_path, unit="video"))
    assert list(by_film) == [f"hdvila-{name}"]

    long_videos = str(films / "download_videos")
    windows = settings(
        HdVilaDataConfig, tmp_path, unit="window", window_s=5, long_videos=long_videos, videos=str(tmp_path / "cuts")
    )
    by_window = scanned(windows)
    assert [(video_id, row.num_frames) for video_id, row in by_window.items()] == [(f"hdvila-{name}@0-1500", 3)]
    assert report(tmp_path)["counts"] == {"bad_record": 4, "missing": 1, "not_cut": 1}
    with pytest.raises(ConfigError, match="should be one of clip, window, video"):
        settings(HdVilaDataConfig, tmp_path, unit="minute")


@pytest.mark.parametrize("numbers_first", [True, False])
def test_sharegemini_records_are_linked_by_the_name_map_whichever_way_it_points(
    tmp_path: Path, film: Films, numbers_first: bool
) -> None:
    films = tmp_path / "films"
    film(films / "webvid" / "201.mp4")
    film(films / "webvid" / "202.mp4")
    film(films / "k400" / "aaaaaaaaaaa_000001_000011.mp4")

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
    with pytest.raises(DataError, match="maps no names of films to numbers"):
        scan(settings(ShareGeminiDataConfig, tmp_path, name_map=str(tmp_path / "map.json")))


def test_a_cut_off_annotation_array_is_an_error_not_a_smaller_set(tmp_path: Path, film: Films) -> None:
    film(tmp_path / "films" / "1.mp4")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "sharegemini_webvid.json").write_text('[{"video": "1.mp4", "conversations": [{"from')
    with pytest.raises(DataError, match="is no JSON"):
        scan(settings(ShareGeminiDataConfig, tmp_path))


def test_without_annotation_files_the_json_beside_the_films_is_read(tmp_path: Path, film: Films) -> None:
    folder = tmp_path / "films" / "00003"
    for number, row in enumerate(
        [{"videoid": "301", "caption": "a cat"}, {"url": "http://h/videos/302/preview/x.mp4"}, []]
    ):
        film(folder / f"0000300{number}.mp4")
        (folder / f"0000300{number}.json").write_text(json.dumps(row))
    found = scanned(settings(WebVidDataConfig, tmp_path, annotations=None))
    assert {name: row.original_caption for name, row in found.items()} == {"webvid-301": "a cat", "webvid-302": ""}
    assert report(tmp_path)["reasons"]["bad_record"] == {"no JSON object beside the film": 1}


def test_parquet_annotations_are_read(tmp_path: Path, film: Films) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    film(tmp_path / "films" / "401.mp4")
    (tmp_path / "notes").mkdir()
    pq.write_table(pa.table({"videoid": [401], "caption": ["a cat"]}), tmp_path / "notes" / "00000.parquet")
    (tmp_path / "notes" / "00001.parquet").write_bytes(b"PAR1 no table")
    first = settings(WebVidDataConfig, tmp_path, annotations=str(tmp_path / "notes" / "00000.parquet"))
    assert scanned(first)["webvid-401"].original_caption == "a cat"
    with pytest.raises(DataError, match="is no Parquet file"):
        scan(settings(WebVidDataConfig, tmp_path))


def test_what_the_user_got_wrong_is_told(tmp_path: Path, film: Films) -> None:
    config = settings(WebVidDataConfig, tmp_path)
    with pytest.raises(MissingInputError, match=r"no folder .*data\.videos=DIR"):
        scan(config)
    (tmp_path / "films").mkdir()
    with pytest.raises(MissingInputError, match="holds no films"):
        scan(config)
    made = film(tmp_path / "films" / "x.mp4")
    with pytest.raises(MissingInputError, match=r"no annotation files .*data\.annotations=FILE"):
        scan(config)
    with pytest.raises(MissingInputError, match="There are no annotations"):
        scan(settings(WebVidDataConfig, tmp_path, annotations=None))
    with pytest.raises(MissingInputError, match=r"no folder of shards"):
        scan(settings(WebVidDataConfig, tmp_path, shards=str(tmp_path / "none")))
    table(tmp_path / "notes" / "a.csv", WEBVID, ("1", "a", 0, "", "", ""))
    with pytest.raises(DataError, match="None of the 1 films"):
        scan(config)
    shutil.copy(made, tmp_path / "films" / "1.mp4")
    first = make_manifest(config)
    shutil.copy(made, tmp_path / "films" / "2.mp4")
    assert make_manifest(config) == first and len(read_manifest(first)) == 1
