"""`evaluate.py explain=[...]`: the parts of a difference add up to the whole, and work is shared."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from sg.artefacts.predictions import Prediction
from sg.core.errors import ConfigError
from sg.evaluate.benchmarks.video_mme import VideoMmeConfig
from sg.models.student import STUDENTS
from sg.study.evaluation import EvaluateConfig, asking
from sg.study.explain.changes import changed, parse
from sg.study.explain.run import explain
from sg.study.explain.waterfall import waterfall, waterfall_text, write_waterfall
from tests.study.test_evaluation import settings_of, world  # noqa: F401  # the fixture `world`


def rows(marks: str) -> list[Prediction]:
    return [
        Prediction(
            f"q{at}", "without_subtitles", f"v{at // 3}", "short", "A", letter={"1": "A", "0": "B", "-": ""}[mark]
        )
        for at, mark in enumerate(marks)
    ]


def test_the_parts_add_up_to_the_whole_and_the_page_shows_them(tmp_path: Path) -> None:
    steps = [rows("110010110110"), rows("100010100110"), rows("1000101001-0"), rows("111110111110")]
    start, *parts, whole = waterfall("without_subtitles", ["num_frames:8", "prompt:x", "answer_reader:y"], steps)
    assert start.difference is None and whole.difference is not None
    values = [part.difference.value for part in parts if part.difference is not None]
    assert len(values) == 3
    assert sum(values) == pytest.approx(whole.difference.value)
    assert start.score + whole.difference.value == pytest.approx(whole.score) == parts[-1].score
    page = write_waterfall(tmp_path, [start, *parts, whole])
    text = page.read_text()
    assert "<svg" in text and "num_frames:8" in text
    assert waterfall_text([start, *parts, whole]) == (tmp_path / "explain.txt").read_text()
    with (tmp_path / "explain.csv").open() as stream:
        assert [row["change"] for row in csv.DictReader(stream)][-1] == "altogether"


def test_a_change_that_leaves_no_answer_is_shown_and_hides_no_later_one(tmp_path: Path) -> None:
    steps = [rows("110010"), rows("------"), rows("1-0000")]
    start, silent, after, whole = waterfall("without_subtitles", ["x:1", "y:2"], steps)
    assert (silent.score, silent.difference, silent.answered, silent.questions) == (None, None, 0, 6)
    assert (after.difference, after.answered) == (None, 5)
    assert whole.difference is not None and start.score is not None
    assert start.score + whole.difference.value == pytest.approx(whole.score)
    text = waterfall_text([start, silent, after, whole])
    assert "0 of 6 answered" in text and "5 of 6 answered" in text
    assert "no question is answered" in write_waterfall(tmp_path, [start, silent, after, whole]).read_text()
    nothing = waterfall("without_subtitles", ["x:1"], [rows("---"), rows("---")])
    assert [part.score for part in nothing] == [None] * 3
    write_waterfall(tmp_path, nothing)


def test_changes_are_checked_like_settings() -> None:
    config = VideoMmeConfig("demo", "folder")
    assert changed(config, *parse("subtitles:transcript")).subtitles == "transcript"
    assert changed(config, *parse("answering.max_new_tokens:4")).answering.max_new_tokens == 4
    assert changed(config, *parse("prompt:official")).prompt == config.prompt
    for change, message in (
        ("frames=8", "write each change as KEY:VALUE"),
        ("subtitels:transcript", "did you mean subtitles"),
        ("subtitles:never", "should be one of"),
        ("answering.max_new_tokens:many", "expected a value such as 16"),
        ("subtitles:Reply:", "should be one of"),  # no YAML: a text
        ("subtitles:${oc.env:HOME}", "should be one of"),  # no interpolation
        ("answering:5", "answering has keys of its own"),
        ("answering.settings:with_subtitles", "expected a list such as"),
        ("answering.settings:[]", "expected a list such as"),
        ("subtitles.x:1", "has no keys of its own"),
    ):
        with pytest.raises(ConfigError, match=message):
            changed(config, *parse(change))
    with pytest.raises(ConfigError, match="asks a checkpoint"):
        EvaluateConfig(predictions="a", explain=["x:1"], benchmark=config)


def test_a_checkpoint_is_asked_once_per_change_that_needs_it(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    config = settings_of(world, tmp_path, probes=[])
    asked, ask_all = [], asking(config)

    def ask(own: EvaluateConfig) -> list:  # type: ignore[type-arg]
        asked.append(own.benchmark.subtitles)
        return ask_all(own)

    loaded = []
    load = type(STUDENTS.of(config.model)).load
    monkeypatch.setattr(
        type(STUDENTS.of(config.model)), "load", lambda *words, **more: loaded.append(words) or load(*words, **more)
    )

    changes = ["subtitles:transcript", "answer_reader:official_2024_06_18"]
    page = explain(replace(config, explain=changes), ask)
    assert asked == ["at_frames", "transcript"]  # another answer rule reads the same responses again
    assert len(loaded) <= 2  # what encodes videos, and what is asked: not once more per change
    assert page.is_file()
    shown = capsys.readouterr().out
    assert shown.count("altogether") == 2  # without and with subtitles
    assert "Without subtitles" in shown
