"""The sheet for people: blind, usable by keyboard, saved as a file, and compared with people and judge."""

from __future__ import annotations

import json
import re
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.caption.judge.agreement import kappa
from sg.caption.judge.run import judge_captions
from sg.caption.judge.sheet import compare_answers, key_path, make_sheet
from sg.caption.local.demo import DemoCaptionerConfig
from sg.core.errors import ConfigError, DataError
from sg.core.tracking import LoggerConfig
from sg.sources.config import DataConfig
from sg.video.writer import write_video
from tests.browser import Browser, check_look
from tests.caption.judge.test_facts import drawn

CSV = LoggerConfig(kind="csv")
EXACT = DemoCaptionerConfig()
GENERIC = DemoCaptionerConfig(noise="generic_text", noise_rate=1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    folder = tmp_path_factory.mktemp("sheet")
    rows = []
    for number, (name, spec) in enumerate(drawn(8).items()):
        frames = np.full((4, 48, 64, 3), 20 * number, np.uint8)
        write_video(folder / f"{name}.mp4", frames, 2)
        rows.append(VideoRecord(name, "demo", f"{name}.mp4", 2.0, 64, 48, 2.0, 4, extra=spec.to_json()))
    write_manifest(folder / "manifest.parquet", rows)
    return DataConfig(name="demo", dir=str(folder), videos=str(folder))


@pytest.fixture(scope="module")
def page(data: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "sheet.html"
    text = make_sheet(data, EXACT, GENERIC, 6, out)
    assert "6 videos" in text and str(key_path(out)) in text
    return out


def shown(page: Path) -> dict[str, dict[str, str]]:
    (data,) = re.findall(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    return {video["id"]: video for video in json.loads(data)["videos"]}


def test_the_page_is_blind_and_the_key_is_not(page: Path) -> None:
    key = json.loads(key_path(page).read_text(encoding="utf-8"))
    videos = shown(page)
    assert set(videos) == set(key["sides"]) and len(videos) == 6
    assert {tuple(order) for order in key["sides"].values()} == {(0, 1), (1, 0)}
    assert "captions.parquet" not in page.read_text(encoding="utf-8") and "generic" not in page.read_text(
        encoding="utf-8"
    )
    generic = {video[side] for name, video in videos.items() for side in ("left", "right")
               if key["sides"][name][side == "right"] == 1}  # fmt: skip
    assert len(generic) == 1


def test_the_page_is_answered_by_keyboard_and_saved_as_a_file(page: Path, browser: Browser) -> None:
    press = "document.dispatchEvent(new KeyboardEvent('keydown', { key: '%s', bubbles: true }))"
    tab = browser.open(page, 1100)
    tab.run("window.saved = []; URL.createObjectURL = (blob) => { window.saved.push(blob); return '#'; }; 0")
    for key in ("1", "a", "3", "2", "ArrowLeft", "3", "ArrowRight", "s"):
        tab.run(press % key)
    saved = json.loads(tab.run("window.saved[0].text()"))
    names = list(shown(page))
    assert [saved["answers"][name]["better"] for name in names[:3]] == ["left", "right", "right"]
    assert [saved["answers"][name]["left_false"] for name in names[:2]] == [False, True] and len(saved["answers"]) == 3
    again = browser.open(page, 1100)
    assert again.run("document.getElementById('where').textContent") == "Video 1 of 6, 3 answered"
    for width in (420, 1100):
        check_look(browser, page, width)


def answers(page: Path, path: Path, rater: str, choose: dict[int, str]) -> Path:
    """A person who always prefers the captioner of this number, if it is there."""
    sides = json.loads(key_path(page).read_text(encoding="utf-8"))
    given = {}
    for name, order in sides["sides"].items():
        better = next((("left", "right")[order.index(number)] for number in choose), "equal")
        given[name] = {"better": better, "left_false": order[0] == 1, "right_false": order[1] == 1}
    path.write_text(json.dumps({"sheet": sides["sheet"], "rater": rater, "answers": given}), encoding="utf-8")
    return path


def test_people_and_judge_are_compared(page: Path, data: DataConfig, tmp_path: Path) -> None:
    exact = answers(page, tmp_path / "a.json", "Ada", {0: "better"})
    wrong = answers(page, tmp_path / "b.json", "Bob", {1: "better"})
    text = compare_answers(page, [exact, wrong], "facts")
    assert "Ada (a.json): captioner 6, other 0, equal 0 of 6 videos" in text
    assert "no verdicts of judge facts on both" in text
    for config in (EXACT, GENERIC):
        judge_captions(data, config, None, CSV)
    text = compare_answers(page, [exact, wrong], "facts")
    assert (
        "Ada (a.json) and judge facts, which is better: kappa 1.000 [1.000, 1.000] (95 % over 6 videos), 100.0%" in text
    )
    assert "Ada (a.json) and judge facts, states something false: kappa 1.000" in text
    assert "Bob (b.json) and judge facts, which is better: kappa -" in text

    other = json.loads(exact.read_text(encoding="utf-8")) | {"sheet": "another"}
    exact.write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(ConfigError, match="answers another page"):
        compare_answers(page, [exact], "facts")
    with pytest.raises(ConfigError, match="cannot be read"):
        compare_answers(page, [tmp_path / "none.json"], "facts")


@pytest.mark.parametrize(
    "changed",
    [
        {"rater": None},
        {"answers": [1, 2]},
        {"answers": {"v0": "left"}},
        {"answers": {"of no video": {"better": "left", "left_false": False, "right_false": False}}},
        {"answers": {"v0": {"better": "Left", "left_false": False, "right_false": False}}},
        {"answers": {"v0": {"better": ["left"], "left_false": False, "right_false": False}}},
        {"answers": {"v0": {"better": "left"}}},
    ],
)
def test_an_answer_file_that_was_changed_is_one_sentence(changed: dict[str, Any], page: Path, tmp_path: Path) -> None:
    path = answers(page, tmp_path / "a.json", "Ada", {0: "better"})
    name = next(iter(json.loads(path.read_text(encoding="utf-8"))["answers"]))
    text = json.dumps(json.loads(path.read_text(encoding="utf-8")) | changed).replace("v0", name)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="has answers that the page does not save"):
        compare_answers(page, [path], "facts")
    path.write_text("not JSON", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.json cannot be read .*: expected a file that the page has saved"):
        compare_answers(page, [path], "facts")


def test_a_sheet_replaces_nothing_but_itself(page: Path, data: DataConfig, tmp_path: Path) -> None:
    before = page.read_bytes()
    make_sheet(data, EXACT, GENERIC, 6, page)
    with pytest.raises(ConfigError, match="answers to it would be lost"):
        make_sheet(data, EXACT, GENERIC, 5, page)
    assert page.read_bytes() == before


def test_equal_captions_make_no_sheet(data: DataConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has two different captions"):
        make_sheet(data, EXACT, EXACT, 6, tmp_path / "sheet.html")


def test_kappa_is_that_of_the_textbook() -> None:
    """Cohen's example of 50 proposals: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no; kappa 0.4."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    found = kappa([[pair] for pair in pairs])
    assert found.kappa == pytest.approx(0.4) and found.agreed == 0.7 and (found.count, found.videos) == (50, 50)
    # The asymptotic interval is 0.4 +- 0.253.
    assert found.low == pytest.approx(0.147, abs=0.05) and found.high == pytest.approx(0.653, abs=0.05)
    assert kappa([[pair] for pair in pairs]) == found
    halved = kappa([[one, other] for one, other in zip(pairs[::2], pairs[1::2], strict=True)])
    assert halved.kappa == pytest.approx(0.4) and halved.videos == 25


def test_kappa_without_variance_or_answers_is_not_defined() -> None:
    assert isnan(kappa([[("y", "y")]] * 9).kappa) and isnan(kappa([]).kappa)


def test_the_interval_of_kappa_covers_its_value_as_often_as_it_says() -> None:
    """400 studies of 60 videos whose kappa is 0.5: 95 % intervals should cover it in about 95 % of them."""
    rng, covered = np.random.default_rng(5), 0
    for study in range(400):
        true = rng.random(60) < 0.5
        other = np.where(rng.random(60) < 0.5, true, rng.random(60) < 0.5)
        found = kappa([[(bool(one), bool(two))] for one, two in zip(true, other, strict=True)], seed=study)
        covered += found.low <= 0.5 <= found.high
    assert 0.90 <= covered / 400 <= 0.985
