"""Captions are bought core by core from the loopback service; the losses of the trained models are prescribed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.artefacts.dialogs import Dialog, Turn, write_dialogs
from sg.artefacts.forest import read_forest, write_forest
from sg.artefacts.held_out import CaptionLoss, mean_loss, write_caption_losses
from sg.artefacts.result import RunResult, write_result
from sg.core.errors import ConfigError
from sg.core.scales import parse_scale
from sg.curate.removals import Removals, assemble_forest
from sg.study.buying.run import buy_and_train
from sg.study.inputs import locate_inputs
from sg.study.planning.plan import check_run
from sg.study.run import StudyRun
from tests.caption.conftest import state as state
from tests.caption.conftest import url as url
from tests.caption.hosted.builder import data_folder, settings
from tests.caption.hosted.fake_gemini.state import State
from tests.repository.test_configs import composed

VIDEOS = 160
LOSSES = {10: 3.0, 20: 2.0, 40: 1.7, 80: 1.65, 160: 1.64}


def study(folder: Path, url: str, wanted: float, held_out_media: str = "h0.mp4", **values: Any) -> StudyRun:
    """A study of 160 videos with a merge forest and a held-out dialog; the first core has 10 videos."""
    ids = [f"v{number:03d}" for number in range(VIDEOS)]
    data = data_folder(folder / "work" / "folder", ids)
    work = [f"paths.work={folder / 'work'}", f"paths.runs={folder / 'runs'}"]
    config = composed("data=demo", *work)
    held_out = replace(data.held_out, dialogs=str(folder / "dialogs.json"))
    turns = (Turn("human", "<video>\nDescribe"), Turn("gpt", "text"))
    write_dialogs(folder / "dialogs.json", [Dialog("h0", "video", held_out_media, turns)])
    buying = {"buy": "adaptive", "buy_first": "10", "min_gain_per_usd": wanted} | values
    config = replace(
        config,
        data=replace(data, held_out=held_out, scale="all"),
        captioner=settings(url, **buying),
        logger=replace(config.logger, kind="csv"),
    )
    forest = assemble_forest(ids, Removals.plain(np.arange(VIDEOS)), np.full(VIDEOS, np.nan), {})
    write_forest(locate_inputs(config).forest, forest)
    return StudyRun(config, "mine", "all-seed0", folder / "runs" / "mine" / "all-seed0")


class Trainer:
    """Writes the results that trainings would, and notes them; it is killed before those of `killed`."""

    def __init__(self, killed: int | None = None) -> None:
        self.made: list[int] = []
        self.killed = killed

    def __call__(self, run: StudyRun) -> None:
        scale = parse_scale(run.study.rpartition("-")[2])
        assert scale is not None
        if scale == self.killed:
            self.killed = None
            raise KeyboardInterrupt
        self.made.append(scale)
        hard = np.random.default_rng(0).normal(0, 0.1, 20)
        rows = [CaptionLoss(f"h{n}", "x", 10, 10 * (LOSSES[scale] + one)) for n, one in enumerate(hard)]
        write_caption_losses(run.folder, rows, "made")
        plain = {"run": run.name, "study": run.study, "scale": scale, "scale_label": "all", "seed": 0, "control": None}
        write_result(run.folder, RunResult(**plain, held_out=mean_loss(rows)))


def paid(state: State) -> int:
    assert set(state.paid.values()) <= {1}, "a caption was bought twice"
    return len(state.paid)


def price(tmp_path: Path, url: str) -> float:
    """Dollars per caption of the loopback service, from a first core."""
    run = study(tmp_path / "price", url, 1e9)
    buy_and_train(run, Trainer())
    from sg.artefacts.buying import BUYING_FILE
    from sg.core.files import read_json

    cores = read_json(next((tmp_path / "price").rglob(BUYING_FILE)))["cores"]
    return float(cores[1]["spent_usd"]) / cores[1]["captions"]


def test_buying_stops_when_the_next_core_is_not_worth_it_and_nothing_is_bought_twice(
    tmp_path: Path, state: State, url: str
) -> None:
    usd = price(tmp_path, url)
    state.paid.clear()
    # The gains are 1.0, 0.3, 0.05: after 40, the next is predicted as 0.09 for 40 captions, after 80 as 0.008 for 80.
    run, trainer = study(tmp_path, url, 0.02 / (40 * usd)), Trainer()
    text = buy_and_train(run, trainer)
    assert trainer.made == [10, 20, 40, 80] and paid(state) == 80
    assert set(state.paid) == set(read_forest(locate_inputs(run.config).forest).core(80))
    assert f"${80 * usd:,.4f} spent, ${80 * usd:,.4f} saved" in text and "does not reach" in text
    again = Trainer()
    assert buy_and_train(run, again) == text and again.made == [] and paid(state) == 80
    cheaper = study(tmp_path, url, 1e-9)
    text = buy_and_train(cheaper, again)
    assert again.made == [160] and paid(state) == 160 and "$0.0000 saved: all captions are bought" in text


@pytest.mark.parametrize("killed", [10, 40, 80])
def test_a_stopped_run_continues_and_decides_the_same(tmp_path: Path, state: State, url: str, killed: int) -> None:
    run, trainer = study(tmp_path, url, 1e-9), Trainer(killed)
    with pytest.raises(KeyboardInterrupt):
        buy_and_train(run, trainer)
    buy_and_train(run, trainer)
    assert trainer.made == [10, 20, 40, 80, 160] and paid(state) == VIDEOS


def test_the_captions_of_held_out_videos_are_never_bought(tmp_path: Path, state: State, url: str) -> None:
    run = study(tmp_path, url, 1e-9)
    first = read_forest(locate_inputs(run.config).forest).core(1)[0]
    text = buy_and_train(study(tmp_path, url, 1e-9, held_out_media=f"{first}.mp4"), Trainer())
    assert first not in state.paid and paid(state) == VIDEOS - 1
    assert "core of 10: 9 captions" in text


def test_what_adaptive_buying_needs_is_one_sentence(tmp_path: Path, state: State, url: str) -> None:
    run = study(tmp_path, url, 1.0)
    none = replace(run.config.data, held_out=replace(run.config.data.held_out, dialogs=None))
    with pytest.raises(ConfigError, match=r"data\.held_out\.dialogs=FILE"):
        buy_and_train(replace(run, config=replace(run.config, data=none)), Trainer())
    with pytest.raises(ConfigError, match=r"data\.held_out\.dialogs=FILE"):
        check_run(replace(run.config, data=none))  # as a plan does
    with pytest.raises(ConfigError, match=r"captioner\.buy_first=0 has no captions"):
        buy_and_train(study(tmp_path, url, 1.0, buy_first="0"), Trainer())
    with pytest.raises(ConfigError, match="in one process"):
        buy_and_train(study(tmp_path, url, 1.0, shard="0/2"), Trainer())
    with pytest.raises(ConfigError, match="a number above 0"):
        settings(url, buy="adaptive")
    with pytest.raises(ConfigError, match=r"captioner\.buy"):
        settings(url, buy="some")
    assert not state.paid
