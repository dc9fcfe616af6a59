"""Kinetics-400 in its usual layouts: every file is matched with its row, and nothing is guessed."""

import json
from pathlib import Path

import pytest

from sg.sources.sets.kinetics400 import Kinetics400DataConfig
from tests.sources.sets.published import KINETICS, WriteFile, report, scanned, settings, table

CASES = Path(__file__).parents[1] / "cases"
pytestmark = pytest.mark.usefixtures("no_processes")


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
