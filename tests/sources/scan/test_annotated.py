"""A scan opens every file once, also after a kill, and reports duplicates, broken files and benchmark videos."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg.artefacts.manifest import read_manifest, video_path
from sg.core.files import read_json
from sg.sources.files import duplicates, probing
from sg.sources.manifests import scan
from sg.sources.scan.journal import ScanJournal
from sg.sources.sets.kinetics400 import Kinetics400DataConfig
from sg.sources.sets.webvid import WebVidDataConfig

WriteFile = Callable[..., Path]
ROOT = Path(__file__).parents[3]


def webvid(tmp_path: Path, numbers: range, **values: Any) -> WebVidDataConfig:
    with (tmp_path / "train.csv").open("w", newline="") as stream:
        rows = [(number, f"caption {number}") for number in numbers]
        csv.writer(stream).writerows([("videoid", "name"), *rows])
    folders = {"dir": str(tmp_path / "work"), "videos": str(tmp_path / "videos")}
    return WebVidDataConfig(
        **({"name": "webvid", "annotations": str(tmp_path / "train.csv"), "workers": 1} | folders | values)
    )


@pytest.mark.usefixtures("no_processes")
def test_broken_linked_and_repeated_files_are_rows_with_a_reason(tmp_path: Path, write_file: WriteFile) -> None:
    videos, outside = tmp_path / "videos", tmp_path / "outside"
    good = write_file(videos / "1.mp4")
    shutil.copy(good, videos / "2.mp4")
    shutil.copy(good, tmp_path / "secret.mp4")
    (videos / "3.mp4").symlink_to(tmp_path / "secret.mp4")
    (videos / "4.mp4").touch()
    (videos / "5.mp4").write_text("<!DOCTYPE html><title>403</title>")
    same_size = good.read_bytes()[:-1] + b"x"
    (videos / "6.mp4").write_bytes(same_size)
    write_file(outside / "7.mp4")
    (videos / "linked").symlink_to(outside)
    (videos / "self").symlink_to(videos)

    manifest = read_manifest(scan(webvid(tmp_path, range(1, 8))))

    statuses = {row.video_id: row.status for row in manifest.records()}
    assert statuses.pop("webvid-6") in ("ok", "corrupt", "truncated")
    assert statuses == {
        "webvid-1": "ok", "webvid-2": "duplicate", "webvid-3": "unsafe_path", "webvid-4": "empty",
        "webvid-5": "unreadable",
    }  # fmt: skip
    assert all(row.reason for row in manifest.records() if row.status != "ok")
    numbers = read_json(tmp_path / "work" / "scan_report.json")
    assert sorted(numbers["linked_folders"]) == ["linked", "self"]
    assert numbers["counts"]["missing"] == 1
    assert numbers["reasons"]["duplicate"] == {"duplicate": 1}
    findings = pq.read_table(tmp_path / "work" / "findings.parquet").to_pylist()
    assert Counter(row["kind"] for row in findings) == numbers["counts"]
    assert [row["detail"] for row in findings if row["kind"] == "duplicate"] == ["the same bytes as webvid-1"]
    assert manifest.info["videos"] == str(videos.resolve())
    for row in manifest.usable().records():
        assert video_path(videos, row).is_file()


@pytest.mark.usefixtures("no_processes")
def test_videos_of_the_benchmark_are_left_out_by_youtube_id_and_by_bytes(tmp_path: Path, write_file: WriteFile) -> None:
    videos, benchmark = tmp_path / "videos", tmp_path / "video_mme"
    names = [letter * 11 for letter in "abcd"]
    for name in names:
        write_file(videos / f"{name}_000001_000011.mp4")
    (benchmark / "videomme").mkdir(parents=True)
    pq.write_table(
        pa.table({"videoID": [names[0], "x"], "question": ["?", "?"]}), benchmark / "videomme" / "test.parquet"
    )
    write_file(benchmark / "videos" / f"{names[1]}.mp4")
    shutil.copy(videos / f"{names[2]}_000001_000011.mp4", benchmark / "videos" / "renamed.mp4")
    with (tmp_path / "train.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("label", "youtube_id", "time_start", "time_end"), *(("x", n, 1, 11) for n in names)]
        )
    config = Kinetics400DataConfig(
        name="k",
        dir=str(tmp_path / "work"),
        videos=str(videos),
        annotations=str(tmp_path / "train.csv"),
        benchmark=str(benchmark),
    )

    rows = list(read_manifest(scan(config)).records())

    assert [row.status for row in rows] == ["in_benchmark"] * 3 + ["ok"]
    assert [row.reason for row in rows[:3]] == [
        f"part of the benchmark: YouTube id {names[0]}",
        f"part of the benchmark: YouTube id {names[1]}",
        "part of the benchmark: videos/renamed.mp4",
    ]
    assert f"benchmark: {benchmark}" in (tmp_path / "work" / "scan_report.txt").read_text()


@pytest.mark.usefixtures("no_processes")
def test_a_repeated_scan_opens_no_file_and_then_only_a_new_one(
    tmp_path: Path, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look = probing._probe_file
    monkeypatch.setattr(
        probing, "_probe_file", lambda root, name: (looked.append(Path(name).name), look(root, name))[1]
    )
    hashed: list[str] = []
    whole = duplicates._hash_whole
    monkeypatch.setattr(duplicates, "_hash_whole", lambda path: (hashed.append(path.name), whole(path))[1])
    shutil.copy(write_file(tmp_path / "videos" / "1.mp4"), tmp_path / "videos" / "2.mp4")
    config = webvid(tmp_path, range(1, 5))
    written = scan(config).stat().st_mtime_ns
    assert scan(config).stat().st_mtime_ns == written
    write_file(tmp_path / "videos" / "3.mp4")
    assert len(read_manifest(scan(config))) == 3
    assert (looked, hashed) == (["1.mp4", "2.mp4", "3.mp4"], ["1.mp4", "2.mp4"])


def test_a_scan_killed_at_any_moment_resumes_and_opens_no_file_twice(tmp_path: Path, write_file: WriteFile) -> None:
    videos = tmp_path / "videos"
    good = write_file(videos / "0.mp4").read_bytes()
    for number in range(1, 60):
        (videos / f"{number}.mp4").write_bytes(good + bytes(number))
    config = webvid(tmp_path, range(60))
    command = [sys.executable, "-m", "sg.sources", "data=webvid", "data.workers=1", "data.benchmark=null"]
    command += [f"data.{key}={getattr(config, key)}" for key in ("dir", "videos", "annotations")]
    journal = tmp_path / "work" / "scan-files.jsonl"
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if journal.is_file() and journal.read_bytes().count(b"\n") >= 5:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    before = [json.loads(line)[0] for line in journal.read_text().splitlines() if line.endswith("]")]
    assert len(before) >= 5

    killed = read_manifest(scan(config))

    after = [json.loads(line)[0] for line in journal.read_text().splitlines() if line.endswith("]")]
    assert after[: len(before)] == before and len(after) == len(set(after)) == 60
    assert [row.status for row in killed.records()] == ["ok"] * 60


@given(st.lists(st.tuples(st.text(max_size=8), st.integers()), max_size=6), st.integers(0, 200))
def test_a_journal_cut_off_at_any_byte_keeps_its_whole_lines_and_accepts_more(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, int]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    with ScanJournal(path) as journal:
        for key, value in entries:
            journal.add(key, value)
    written = path.read_bytes() if entries else b""
    path.write_bytes(written[:cut])
    whole = written[:cut].count(b"\n")
    with ScanJournal(path) as journal:
        assert all(journal.get(key) is not None for key in dict(entries[:whole]))
        journal.add("new", "value")
    with ScanJournal(path) as journal:
        assert journal.get("new") == "value"
        assert all(journal.get(key) is not None for key in dict(entries[:whole]))


def test_a_damaged_line_of_a_journal_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with ScanJournal(path) as journal:
        journal.add("a.mp4", {"duration_s": 12.5})
    whole = path.read_bytes()
    for at in range(len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 7)]) + whole[at + 1 :])
        assert len(ScanJournal(path)) == 0
    path.write_text('["a.mp4", 1]\n')
    with ScanJournal(path) as journal:
        assert journal.get("a.mp4") == 1, "a line of an earlier version"


def test_a_journal_returns_the_last_value_of_a_key_also_one_added_since_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for value in (1, 2):
        with ScanJournal(path) as journal:
            journal.add("a.mp4", value)
            journal.add("b.mp4", -value)
            assert (journal.get("a.mp4"), journal.get("b.mp4"), journal.get("c.mp4")) == (value, -value, None)
            journal.add("a.mp4", [value])
            assert journal.get("a.mp4") == [value]
    with ScanJournal(path) as journal:
        assert (journal.get("a.mp4"), journal.get("b.mp4")) == ([2], -2)
