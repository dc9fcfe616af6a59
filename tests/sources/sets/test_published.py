"""Each published dataset in its usual layouts: every file is matched with its row, and nothing is guessed."""

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
WriteFile = Callable[..., Path]
CASES = Path(__file__).parents[1] / "cases"
pytestmark = pytest.mark.usefixtures("no_processes")


def settings(kind: type[AnnotatedDataConfig], tmp_path: Path, **values: Any) -> Any:
    given = {"dir": str(tmp_path / "work"), "videos": str(tmp_path / "videos"), "annotations": str(tmp_path / "notes")}
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


def test_kinetics_files_are_found_by_id_and_start(tmp_path: Path, write_file: WriteFile) -> None:
    videos = tmp_path / "videos"
    write_file(videos / "train" / "-a_b-c_d-e._000030_000040.mp4".replace(".", "f", 1))
    write_file(videos / "train" / "bbbbbbbbbbb_000010_000020.mp4")
    write_file(videos / "replacement" / "replacement_for_corrupted_k400" / "bbbbbbbbbbb_000010_000020.mp4")
    write_file(videos / "videos" / "playing kickball" / "ccccccccccc_000010_000021.webm".replace("webm", "mkv"))
    write_file(videos / "ddddddddddd.mp4")
    write_file(videos / "eeeeeeeeeee_000001_000011.mp4")
    write_file(videos / "eeeeeeeeeee_000050_000060.mp4")
    write_file(videos / "val" / "fffffffffff_000001_000011.mp4")
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
    numbers = report(tmp_path)
    assert numbers["counts"] == {"ambiguous": 1, "bad_record": 1, "extra": 3, "other_split": 1, "second_file": 1}
    assert numbers["reasons"]["bad_record"] == {"no time range": 1}


def test_the_official_kinetics_json_is_read(tmp_path: Path, write_file: WriteFile) -> None:
    write_file(tmp_path / "videos" / "aaaaaaaaaaa_000030_000040.mp4")
    rows = scanned(settings(Kinetics400DataConfig, tmp_path, annotations=str(CASES / "kinetics_train.json")))
    row = rows["kinetics400-aaaaaaaaaaa@30000-40000"]
    assert (row.split, json.loads(row.extra)["label"]) == ("train", "yawning")


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


def test_a_record_with_a_key_twice_or_under_the_key_of_another_video_is_a_problem(
    tmp_path: Path, write_file: WriteFile
) -> None:
    names = ["aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc"]
    for name in names:
        write_file(tmp_path / "videos" / f"{name}_000030_000040.mp4")
    notes = {"annotations": {"segment": [30.0, 40.0], "label": "yawning"}, "subset": "train"}
    urls = [f"https://www.youtube.com/watch?v={name}" for name in (names[0], names[2], names[2])]
    texts = [json.dumps({**notes, "url": url}) for url in urls]
    texts[2] = texts[2][:-1] + ', "url": "https://www.youtube.com/watch?v=aaaaaaaaaaa"}'
    (tmp_path / "notes").mkdir()
    pairs = zip(names, texts, strict=True)
    (tmp_path / "notes" / "train.json").write_text("{" + ",".join(f'"{name}": {text}' for name, text in pairs) + "}")
    assert list(scanned(settings(Kinetics400DataConfig, tmp_path))) == ["kinetics400-aaaaaaaaaaa@30000-40000"]
    assert report(tmp_path)["reasons"]["bad_record"] == {
        "a key and a value that name different videos": 1, "a key that is there twice": 1,
    }  # fmt: skip


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


def test_hdvila_rows_are_clips_windows_or_whole_videos(tmp_path: Path, write_file: WriteFile) -> None:
    videos = tmp_path / "videos"
    name = "-bcdefghijk"
    spans = [("00:00:00.000", "00:00:01.000"), ("00:00:01.000", "00:00:01.500"), ("00:00:10.000", "00:00:12.000")]
    clips = [{"clip_id": f"{name}.{number}.mp4", "span": list(span)} for number, span in enumerate(spans)]
    for number in range(2):
        write_file(videos / "video_clips" / name / f"{name}.{number}.mp4")
    write_file(videos / "download_videos" / f"{name}.mp4")
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
    by_video = scanned(settings(HdVilaDataConfig, tmp_path, unit="video"))
    assert list(by_video) == [f"hdvila-{name}"]

    long_videos = str(videos / "download_videos")
    windows = settings(
        HdVilaDataConfig, tmp_path, unit="window", window_s=5, long_videos=long_videos, videos=str(tmp_path / "cuts")
    )
    by_window = scanned(windows)
    assert [(video_id, row.num_frames) for video_id, row in by_window.items()] == [(f"hdvila-{name}@0-1500", 3)]
    assert report(tmp_path)["counts"] == {"bad_record": 4, "missing": 1, "not_cut": 1}
    with pytest.raises(ConfigError, match="should be one of clip, window, video"):
        settings(HdVilaDataConfig, tmp_path, unit="minute")


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


def test_an_incomplete_annotation_array_is_an_error(tmp_path: Path, write_file: WriteFile) -> None:
    write_file(tmp_path / "videos" / "1.mp4")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "sharegemini_webvid.json").write_text('[{"video": "1.mp4", "conversations": [{"from')
    with pytest.raises(DataError, match="is not JSON"):
        scan(settings(ShareGeminiDataConfig, tmp_path))


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
