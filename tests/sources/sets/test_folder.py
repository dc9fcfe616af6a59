"""A folder of video files becomes a manifest: one row per video, with a reason where it cannot be used."""

import csv
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.artefacts.manifest import Manifest, VideoRecord, read_manifest, video_path
from sg.core.errors import ConfigError, MissingInputError
from sg.sources.files import probing
from sg.sources.manifests import make_manifest
from sg.sources.sets.folder import FolderDataConfig, scan_folder
from sg.video.writer import write_video


def write_file(path: Path, frames: int = 4) -> Path:
    return write_video(path, np.full((frames, 48, 64, 3), 90, np.uint8), fps=2)


def config(tmp_path: Path, **values: Any) -> FolderDataConfig:
    settings = {"name": "mine", "dir": str(tmp_path / "work"), "videos": str(tmp_path / "clips"), "workers": 1}
    return FolderDataConfig(**(settings | values))


def captions(tmp_path: Path, rows: dict[str, str]) -> str:
    with (tmp_path / "captions.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("video", "caption"), *rows.items()])
    return str(tmp_path / "captions.csv")


def scanned(settings: FolderDataConfig) -> Manifest:
    return read_manifest(scan_folder(settings))


def by_id(manifest: Manifest) -> dict[str, VideoRecord]:
    return {record.video_id: record for record in manifest.records()}


def test_rows_have_captions_and_the_facts_of_their_files(tmp_path: Path) -> None:
    for name in ("b.mp4", "sub/a clip.mkv", "c.mp4"):
        write_file(tmp_path / "clips" / name)
    (tmp_path / "clips" / "notes.txt").write_text("no clip")
    file = captions(tmp_path, {"b.mp4": "a cat", "a clip": "a dog"})

    manifest = scanned(config(tmp_path, captions=file))

    rows = by_id(manifest)
    assert list(rows) == ["b", "c", "sub%2Fa%20clip"]
    assert [row.original_caption for row in rows.values()] == ["a cat", "", "a dog"]
    row = rows["sub%2Fa%20clip"]
    assert (row.path, row.width, row.height, row.num_frames, row.fps) == ("sub/a clip.mkv", 64, 48, 4, 2.0)
    assert row.duration_s == pytest.approx(2.0, abs=0.01)
    assert (row.status, row.source, json.loads(row.extra)["bytes"] > 0) == ("ok", "folder", True)


@pytest.mark.usefixtures("no_processes")
def test_unusable_files_and_captions_without_a_file_are_rows_with_a_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = tmp_path / "clips"
    good = write_file(clips / "good.mp4")
    (clips / "zero.mp4").touch()
    (clips / "page.mp4").write_text("<html>404</html>")
    (clips / "cut.mp4").write_bytes(good.read_bytes()[:-300])
    shutil.copy(good, tmp_path / "secret.mp4")
    (clips / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (clips / "loop.mp4").symlink_to("loop.mp4")
    (clips / "gone.mp4").symlink_to("nothing.mp4")
    write_file(clips / "x" / "twin.mp4")
    write_file(clips / "y" / "twin.mp4")
    rows = {"good": "a cat", "lost.mp4": "a dog", "../secret.mp4": "x", "/etc/passwd": "y", "twin.mp4": "z"}

    with caplog.at_level(logging.INFO):
        manifest = scanned(config(tmp_path, captions=captions(tmp_path, rows | {"good.mp4": "again"})))

    found = {record.video_id: record.status for record in manifest.records()}
    assert found == {
        "cut": "truncated",
        "gone": "missing",
        "good": "ok",
        "link": "unsafe_path",
        "loop": "unsafe_path",
        "page": "unreadable",
        "x%2Ftwin": "ok",
        "y%2Ftwin": "ok",
        "zero": "empty",
        "missing%3Alost.mp4": "missing",
        "missing%3A..%2Fsecret.mp4": "unsafe_path",
        "missing%3A%2Fetc%2Fpasswd": "unsafe_path",
        "missing%3Atwin.mp4": "ambiguous",
    }
    assert all(record.reason for record in manifest.records() if record.status != "ok")
    assert by_id(manifest)["good"].original_caption == "a cat"
    assert "folder: 3 usable videos, 1 with a caption; left out: 1 ambiguous" in caplog.text
    assert "captions left out: 1 second caption of a video" in caplog.text


@pytest.mark.usefixtures("no_processes")
@pytest.mark.parametrize(
    ("columns", "ranges"),
    [
        (("start", "end"), [("0", "5"), ("5", "10"), ("0", "2.0"), ("30", "40"), ("", "")]),
        (
            ("Start time", "End time"),
            [("0:00", "0:05"), ("0:05", "0:10"), ("1:00", "1:02"), ("0:30", "0:40"), ("", "")],
        ),
        (("clip_start_ms", "clip_end_ms"), [(0, 5000), (5000, 10_000), (100_000, 102_000), (30_000, 40_000), (0, 0)]),
        (("start_frame", "end_frame"), [(0, 10), (10, 20), (60, 64), (60, 80), (0, -1)]),
        (("timestamp", "note"), [("[0, 5]", ""), ("[5, 10]", ""), ("0.5-2.5", ""), ("00:30 - 00:40", ""), ("", "x")]),
        (("start", "end"), [("0,0", "5,0"), ("5,0", "10,0"), ("0,0", "2,0"), ("30,0", "40,0"), ("", "")]),
        (("segment", "note"), [("[0. 5.]", ""), ("(5; 10)", ""), ("0:00 --> 0:02", ""), ("[30 40]", ""), ("", "x")]),
        (("start", "duration"), [(0, 5), (5, 6), (7, 2), (30, 10), ("", "")]),
        (("T0", "t_1"), [(0, 5), (5, 10), (7, 9), (30, 40), ("", "")]),
        (("in", "out"), [(0, 5), (5, 10), (7, 9), (30, 40), ("", "")]),
        (("begin", "note"), [(0, ""), (5, ""), (60, ""), ("", ""), ("", "")]),
        (("start", "dur"), [(0, 5), (5, 6), (7, 2), (30, 10), ("", "")]),
        (("first_frame", "last_frame"), [(0, 10), (10, 20), (60, 64), (60, 80), (0, -1)]),
        (("start_us", "stop_us"), [(0, 5e6), (5e6, 10e6), (100e6, 102e6), (30e6, 40e6), (0, 0)]),
        (("ts", "te"), [(0, 5), (5, 10), (7, 9), (30, 40), ("", "")]),
    ],
)
def test_a_caption_of_a_part_of_a_video_is_not_one_of_the_whole_file(
    tmp_path: Path, columns: tuple[str, str], ranges: list[tuple[Any, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "part", "long", "whole"):
        write_file(tmp_path / "clips" / f"{name}.mp4")  # of 2 s and 4 frames
    names = ["a.mp4", "a.mp4", "part.mp4", "long.mp4", "whole.mp4"]
    with (tmp_path / "c.csv").open("w", newline="") as stream:
        rows = [(name, *span, f"caption {place}") for place, (name, span) in enumerate(zip(names, ranges, strict=True))]
        csv.writer(stream).writerows([("video", *columns, "caption"), *rows])

    with caplog.at_level(logging.INFO):
        rows_by_id = by_id(scanned(config(tmp_path, captions=str(tmp_path / "c.csv"))))

    is_part = columns[0] != "begin"  # a start alone does not say where the part ends
    assert {name: row.original_caption for name, row in rows_by_id.items() if row.status == "ok"} == {
        "a": "", "part": "caption 2", "long": "" if is_part else "caption 3", "whole": "caption 4",
    }  # fmt: skip
    ambiguous = {name: row.reason for name, row in rows_by_id.items() if row.status == "ambiguous"}
    assert set(ambiguous) == {"missing%3Aa.mp4", *(["missing%3Along.mp4"] if is_part else [])}
    assert "the file 'a.mp4' has captions of 2 parts, e.g. " in ambiguous["missing%3Aa.mp4"]
    assert "captions left out: 1 second caption of a video" in caplog.text
    if is_part:
        assert "the file 'long.mp4' lasts 2.0 s, but its caption is about" in ambiguous["missing%3Along.mp4"]


@pytest.mark.usefixtures("no_processes")
@pytest.mark.parametrize(
    "span", [("10", "0"), ("x", "y"), ("00:00:00:00", "00:00:03:00"), ("2024-01-01", "2024-01-02")]
)
def test_a_time_range_that_cannot_be_read_is_a_problem(tmp_path: Path, span: tuple[str, str]) -> None:
    write_file(tmp_path / "clips" / "a.mp4")
    write_file(tmp_path / "clips" / "b.mp4")
    text = f"video,start,end,caption\na.mp4,{span[0]},{span[1]},A cat\nb.mp4,0,2,A dog\n"
    (tmp_path / "c.csv").write_text(text)

    path = scanned(config(tmp_path, captions=str(tmp_path / "c.csv")))

    assert {name: row.original_caption for name, row in by_id(path).items()} == {"a": "", "b": "A dog"}
    assert path.info["report"]["captions_left_out"] == {"a time range that cannot be read": 1}


@pytest.mark.usefixtures("no_processes")
def test_the_scan_prints_rows_captions_problems_examples_and_links(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_file(tmp_path / "clips" / "val" / "0001.mp4")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "clips" / "linked").symlink_to(tmp_path / "elsewhere")
    shutil.copy(Path(__file__).parents[1] / "cases" / "basename.csv", tmp_path / "c.csv")
    with (tmp_path / "c.csv").open("a") as stream:
        stream.write("val/0003.mp4,NaN\n")

    with caplog.at_level(logging.INFO):
        rows = by_id(scanned(config(tmp_path, captions=str(tmp_path / "c.csv"))))

    assert {name: (row.status, row.original_caption) for name, row in rows.items()} == {
        "val%2F0001": ("ok", "VAL caption one"),
        "missing%3Atrain%2F0001.mp4": ("missing", "TRAIN caption one"),
        "missing%3Aval%2F0002.mp4": ("missing", "VAL caption two"),
    }
    assert "4 rows read = 3 captions + 1 problems (1 empty caption, e.g. c.csv, line 5)" in caplog.text
    assert "there is no video file 'train/0001.mp4' in the folder (nearest name: 'val/0001.mp4')" in caplog.text
    assert "link to a folder, not followed: linked" in caplog.text


@pytest.mark.usefixtures("no_processes")
def test_the_links_of_the_hubs_cache_are_read_and_links_out_of_it_are_reported(tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "datasets--a--b"
    snapshot = cache / "snapshots" / "0123abc"
    (snapshot / "clips").mkdir(parents=True)
    write_file(cache / "blobs" / "made.mp4").rename(cache / "blobs" / "f00d")
    write_file(tmp_path / "hub" / "secret.mp4")
    (snapshot / "clips" / "a.mp4").symlink_to("../../../blobs/f00d")
    (snapshot / "b.mp4").symlink_to("../../../secret.mp4")

    rows = by_id(scanned(config(tmp_path, videos=str(snapshot))))

    assert {name: row.status for name, row in rows.items()} == {"clips%2Fa": "ok", "b": "unsafe_path"}
    assert "'b.mp4' is a link that leads out of" in rows["b"].reason
    assert str(tmp_path / "hub" / "secret.mp4") in rows["b"].reason
    assert video_path(snapshot, rows["clips%2Fa"]).is_file()


@pytest.mark.usefixtures("no_processes")
def test_hostile_file_names_get_safe_ids_or_a_reason(tmp_path: Path) -> None:
    good = write_file(tmp_path / "good.mp4")
    clips = tmp_path / "clips"
    clips.mkdir()
    names = ["-rf.mp4", "a\nb.mp4", "a\\b.mp4", "con.mp4", "<script>.mp4", "é.mp4", " .mp4", "..a.mp4", "C:x.mp4"]
    for name in names:
        shutil.copy(good, clips / name)
    shutil.copy(good, os.fsencode(clips) + b"/\xff.mp4")

    manifest = scanned(config(tmp_path))

    statuses = {record.video_id: record.status for record in manifest.records()}
    assert len(statuses) == len(names) + 1
    unsafe = {video_id for video_id, status in statuses.items() if status != "ok"}
    assert unsafe == {"a%0Ab", "a%5Cb", "C%3Ax", "%ED%B3%BF"}
    assert {"-rf", "%63on", "%3Cscript%3E", "%C3%A9", "%20", "%2E.a"} <= set(statuses)


@pytest.mark.usefixtures("no_processes")
def test_files_that_differ_in_the_suffix_only_keep_it_in_their_id(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "b.mp4"):
        write_file(tmp_path / "clips" / name)
    assert scanned(config(tmp_path)).video_ids == ["a.mkv", "a.mp4", "b"]


@pytest.mark.usefixtures("no_processes")
def test_later_commands_know_the_folder_of_the_last_scan_and_a_run_prints_its_report_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match=r"needs a value for data\.videos: give it as data\.videos=DIR"):
        config(tmp_path, videos="")
    write_file(tmp_path / "clips" / "a.mp4")
    settings = config(tmp_path)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            make_manifest(settings)
    assert caplog.text.count("1 usable videos") == 1
    assert config(tmp_path, videos="").videos == str(tmp_path / "clips")


@pytest.mark.usefixtures("no_processes")
def test_later_commands_know_the_columns_of_the_last_scan_and_a_plan_names_wrong_ones(tmp_path: Path) -> None:
    write_file(tmp_path / "clips" / "a.mp4")
    (tmp_path / "c.csv").write_text("Datei,Satz,Note\na.mp4,A cat,x\n")
    named = {"video_column": "Datei", "caption_column": "Satz"}
    with pytest.raises(ConfigError, match=r"no column for the video \(it has Datei, Satz, Note\)"):
        config(tmp_path, captions=str(tmp_path / "c.csv")).check_place()
    with pytest.raises(ConfigError, match=r"no column for the caption .*data\.caption_column=NAME"):
        config(tmp_path, captions=str(tmp_path / "c.csv"), video_column="Datei").check_place()
    path = scan_folder(config(tmp_path, captions=str(tmp_path / "c.csv"), **named))
    written = path.stat().st_mtime_ns

    later = config(tmp_path)

    later.check_place()
    assert (later.video_column, later.caption_column) == ("Datei", "Satz")
    assert scan_folder(later) == path and path.stat().st_mtime_ns == written
    assert config(tmp_path, captions=str(tmp_path / "c.csv")).video_column is None


@pytest.mark.usefixtures("no_processes")
def test_a_finished_scan_is_kept_and_after_a_change_only_changed_files_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look = probing._probe_file
    monkeypatch.setattr(
        probing, "_probe_file", lambda root, name: (looked.append(Path(name).name), look(root, name))[1]
    )
    for name in ("a.mp4", "b.mp4"):
        write_file(tmp_path / "clips" / name)
    settings = config(tmp_path)

    path = make_manifest(settings)
    written = path.stat().st_mtime_ns
    make_manifest(settings)
    assert (looked, path.stat().st_mtime_ns) == (["a.mp4", "b.mp4"], written)

    write_file(tmp_path / "clips" / "b.mp4", frames=6)
    write_file(tmp_path / "clips" / "c.mp4")
    manifest = read_manifest(make_manifest(settings))
    assert looked == ["a.mp4", "b.mp4", "b.mp4", "c.mp4"]
    assert by_id(manifest)["b"].num_frames == 6

    first = manifest.content_hash
    make_manifest(config(tmp_path, captions=captions(tmp_path, {"a": "a cat"})))
    assert len(looked) == 4
    assert read_manifest(path).content_hash != first


@pytest.mark.usefixtures("no_processes")
def test_an_interrupted_scan_resumes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_file(tmp_path / "clips" / name)
    whole = scanned(config(tmp_path)).content_hash
    journal = tmp_path / "work" / "scan.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(lines[0] + lines[1][:20])  # killed while it wrote the second line
    (tmp_path / "work" / "manifest.parquet").unlink()

    assert scanned(config(tmp_path)).content_hash == whole


def test_mistakes_of_the_user_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"no folder .*data\.videos=DIR"):
        scan_folder(config(tmp_path))
    (tmp_path / "clips").mkdir()
    with pytest.raises(MissingInputError, match="holds no video files"):
        scan_folder(config(tmp_path))
    for wrong, message in (
        ({"name": "../x"}, "names a folder"),
        ({"control": "none "}, "should be one of none, equal_steps, random"),
        ({"scale": "many"}, "is not a scale"),
        ({"captions_per_k": 0}, "should be at least 1"),
        ({"timeout_s": 0.0}, "timeout_s=0.0 above 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            config(tmp_path, **wrong)
