import csv
import subprocess
import sys
from pathlib import Path

import pytest

from sg.core.tracking import LoggerConfig, Tracker
from sg.report.config import GalleryConfig
from sg.report.numbers.summary import Summary, read_summary
from sg.report.pages.conclusion import Conclusion, conclude
from sg.report.write import ReportPaths, log_report, write_report
from tests.wandb_file import read_offline_run

from .study_builder import World, record_inputs, write_corpus, write_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "demo_scaling"
    write_study(path, videos=15, seeds=1)
    inputs = write_corpus(path.parent / "corpus")
    record_inputs(path, inputs)
    return path


@pytest.fixture(scope="module")
def paths(folder: Path) -> ReportPaths:
    return write_report(folder)


def test_the_report_of_a_study_is_complete(folder: Path, paths: ReportPaths) -> None:
    assert paths.page == folder / "report" / "index.html"
    assert {path.name for path in paths.tables} == {
        "tables.csv", "runs.csv", "topics.csv", "costs.csv", "report.md", "report.txt",
    }  # fmt: skip
    assert all(path.is_file() for path in (paths.page, paths.summary, *paths.tables, *paths.sheets))
    assert len(paths.sheets) == 6
    assert "Without subtitles" in paths.text and str(paths.page) in paths.text


def test_the_report_is_the_same_when_it_is_written_again(folder: Path, paths: ReportPaths) -> None:
    files = [
        paths.page,
        paths.summary,
        *paths.tables,
        *paths.sheets,
        *(f for pair in paths.figures.values() for f in pair),
    ]
    first = [path.read_bytes() for path in files]
    write_report(folder)
    assert [path.read_bytes() for path in files] == first


def test_a_gallery_that_cannot_be_made_does_not_stop_the_report(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = write_report(folder, gallery=GalleryConfig(core_size=10_000))
    assert paths.sheets == []
    assert "no gallery" in caplog.text


def test_a_study_where_everything_failed_is_still_reported(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=9)
    world.run(0, reason="no disk")
    world.run(50_000, reason="no disk")
    found = write_report(tmp_path / "study", gallery=GalleryConfig(clusters_per_kind=0))
    assert "no disk" in found.text and "No verdict" in found.text
    assert "Clusters of the core" not in found.page.read_text()


def test_the_summary_run_contains_the_curve_and_the_final_values(summary: Summary, tmp_path: Path) -> None:
    with Tracker(
        LoggerConfig(kind="csv"), tmp_path, name="report", group="demo", job_type="report", settings={}
    ) as tracker:
        log_report(tracker, summary, conclude(summary), {}, [])
    rows = list(csv.reader((tmp_path / "metrics.csv").open()))
    keys = {item for row in rows for item in row}
    assert {
        "captions",
        "demo/with_subtitles/overall/delta_low",
        "control/equal_steps/without_subtitles/difference",
    } <= keys
    assert "probe/zeroed_video" in keys


@pytest.mark.slow
def test_the_summary_run_is_in_the_offline_files_of_wandb(folder: Path, paths: ReportPaths, tmp_path: Path) -> None:
    with Tracker(
        LoggerConfig(mode="offline"), tmp_path, name="report", group="demo", job_type="report", settings={}
    ) as tracker:
        log_report(
            tracker, read_summary(paths.summary), Conclusion("A verdict.", "gain", []), paths.figures, paths.sheets
        )
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    content = read_offline_run(file)
    for key in ("demo/without_subtitles/overall", "figures/scaling", "tables/scores", "verdict"):
        assert key in content


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sg.report", *arguments], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_the_command_prints_the_tables(folder: Path) -> None:
    done = _command(f"study={folder}", "logger=csv")
    assert done.returncode == 0, done.stderr
    assert "With subtitles" in done.stdout
    assert (folder / "report" / "metrics.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "value for study"),
        (["study=/nowhere/at/all"], "no study folder"),
        (["study=/tmp", "gallery.forest=a"], "gallery.forest needs the other files"),
        (["study=/tmp", "gallery.core_size=0"], "gallery.core_size=0"),
        (["study=/tmp", "+foo=1"], "no key 'foo'"),
    ],
)
def test_a_mistake_gives_one_sentence(arguments: list[str], sentence: str) -> None:
    done = _command(*arguments)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
