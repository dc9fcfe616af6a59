import json
import subprocess
import sys
from pathlib import Path

import pytest

from sg.core.errors import ConfigError
from sg.core.tracking import LoggerConfig, Tracker
from sg.report.figures.study import draw_all
from sg.report.numbers.corpus import CaptionGroup, CoreClusters, CorpusNumbers
from sg.report.numbers.summary import Summary
from sg.report.pages.conclusion import conclude
from sg.report.wandb.dashboard import NOBODY, build_report, build_sections, build_workspace, write_specification
from sg.report.wandb.log import log_corpus, log_report
from sg.report.wandb.panels import MEDIA, TABLE, available_sections, keys_of, logged_keys, plan_sections

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def logged(summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study folder with the logs of a report and of a training run; W&B is offline for the report."""
    folder = tmp_path_factory.mktemp("runs") / "demo_scaling"
    figures = draw_all(summary, folder / "report" / "figures")
    groups = [CaptionGroup("source", HOSTILE, 3, 3, [1.0, 1, 1, 1, 1], 3)]
    logger = LoggerConfig(mode="offline")
    with Tracker(logger, folder / "report", name="r", group="g", job_type="report", settings={}) as tracker:
        log_report(tracker, summary, conclude(summary), figures, [])
        log_corpus(tracker, CorpusNumbers("tome", 3, groups, [CoreClusters(2, "50k", [[1, 2]], 0.5)]))
    run = LoggerConfig(kind="csv")
    with Tracker(run, folder / "50k-seed0", name="r", group="g", job_type="train", settings={}) as tracker:
        tracker.log({"train/caption/loss": 1.0, "train/caption/samples": 16.0})
        tracker.table("predictions", ["question_id"], [["1"]])
    return folder


def test_a_panel_is_kept_when_its_keys_were_logged_and_only_then(logged: Path) -> None:
    sections = available_sections("demo", logged_keys(logged))
    assert keys_of(sections) <= logged_keys(logged)
    titles = {panel.title for section in sections for panel in section.panels}
    shown = {"Accuracy (%) against number of captions", "caption: training loss against samples", "Answers with frames"}
    assert shown <= titles
    hidden = {
        "Model FLOPs utilisation (MFU)",
        "caption: training loss against tokens",
        "Accuracy (%) against device hours of a run",
    }
    assert not hidden & titles


def test_every_planned_section_has_panels_of_known_kinds() -> None:
    sections = plan_sections("video_mme")
    assert [section.name for section in sections][:3] == ["Scaling", "Task types", "Costs"]
    assert any(key.startswith("video_mme/with_subtitles/") for key in keys_of(sections))
    assert {panel.kind for section in sections for panel in section.panels} >= {MEDIA, TABLE}


def test_the_specification_contains_every_key_and_the_verdict(logged: Path, summary: Summary, tmp_path: Path) -> None:
    sections = build_sections(logged, "demo")
    workspace = build_workspace(sections, summary.study, "sharegemini", NOBODY)
    report = build_report(sections, summary, "sharegemini", NOBODY)
    texts = [path.read_text() for path in write_specification(tmp_path, workspace, report)]
    for text in texts:
        assert [key for key in keys_of(sections) if key not in text] == []
        assert summary.study in text
    blocks = json.loads(texts[1])["blocks"]
    grids = [block for block in blocks if block["type"] == "panel-grid"]
    assert len(grids) == len(sections)
    assert "JobType = 'report'" in grids[0]["runs"][0]["filters"]
    assert conclude(summary).verdict == json.loads(texts[1])["description"]


def test_a_study_that_logged_nothing_has_no_dashboard(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="logged nothing"):
        build_sections(tmp_path, "demo")


def test_a_hostile_text_in_a_wandb_table_is_a_string(logged: Path) -> None:
    (file,) = logged.glob("report/wandb/offline-run-*/files/media/table/tables/captions_*.table.json")
    table = json.loads(file.read_text())
    assert table["data"][0][1] == HOSTILE
    assert not list(logged.glob("report/wandb/offline-run-*/files/media/html/**/*.html"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["study=/nowhere/at/all"], "no study folder"),
        (["study=/tmp", "publish=true"], "logger.entity=TEAM"),
        ([], "value for study"),
    ],
)
def test_a_mistake_gives_one_sentence(arguments: list[str], sentence: str) -> None:
    command = [sys.executable, "-m", "sg.report", "dashboard", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode != 0 and sentence in done.stderr and "Traceback" not in done.stderr
