from dataclasses import replace
from pathlib import Path

import pytest

from sg.artefacts.arms import REGISTRATION_FILE, Registration, read_registration, write_registration
from sg.report.numbers.measure import measure
from sg.report.numbers.study import read_study
from sg.report.numbers.summary import Summary, read_summary, write_summary
from sg.report.pages.conclusion import conclude

from ..study_builder import World


def registered(folder: Path, **changes: object) -> Summary:
    """A study that registered 0 and 530k with two seeds, and added 800k, a third seed of 530k, and a control."""
    values: dict[str, object] = {
        "contrast": "caption effect", "metric": "accuracy", "benchmark": "demo", "setting": "without_subtitles",
        "arms": ["0", "530k"], "seeds": [0, 1], "equivalence_points": 0.5, "rule": "found if ...", "date": "2026-11-29",
    } | changes  # fmt: skip
    plan = Registration(**values)  # type: ignore[arg-type]
    world = World(folder / "study", videos=120, registration=plan.fingerprint)
    for seed in (0, 1):
        world.run(0, seed)
        world.run(530_000, seed, gain=1.5)
    world.run(530_000, 2, gain=9.0)
    world.run(800_000, 0, gain=9.0)
    world.run(50_000, 0, "equal_steps", gain=1.0)
    write_registration(folder / "study", plan)
    return measure(read_study(folder / "study"))


def text(summary: Summary) -> str:
    return " ".join(item.text for item in conclude(summary).statements if item.topic == "Registered")


def test_the_registered_contrast_uses_registered_arms_and_seeds_only(tmp_path: Path) -> None:
    summary = registered(tmp_path)
    alone = World(tmp_path / "alone", videos=120)
    for seed in (0, 1):
        alone.run(0, seed)
        alone.run(530_000, seed, gain=1.5)
    expected = measure(read_study(tmp_path / "alone")).tables[0].rows[1].cells["overall"].delta
    assert summary.registered is not None and summary.registered.difference == expected
    assert summary.registered.pair == ["530k (5,300)", "no captions"]


def test_the_report_says_what_was_registered_and_what_was_added(tmp_path: Path) -> None:
    summary = registered(tmp_path)
    found = text(summary)
    assert (
        "Registered on 2026-11-29, before the first run: caption effect in accuracy on demo, without subtitles" in found
    )
    assert "Added after the registration, and therefore exploratory: 530k seed 2, 800k seed 0 and " in found
    assert "50k/equal_steps seed 0" in found
    assert "The registered contrast (caption effect: 530k (5,300) minus no captions, without subtitles) is +" in (
        conclude(summary).verdict
    )
    assert summary.equivalence == 0.5


def test_registered_runs_without_a_result_are_named(tmp_path: Path) -> None:
    summary = registered(tmp_path, arms=["0", "100k", "530k"])
    assert "Registered, but without a result: 100k seed 0 and 100k seed 1." in text(summary)


def test_a_registered_contrast_without_its_runs_has_no_result(tmp_path: Path) -> None:
    summary = registered(tmp_path, contrast="control")
    assert summary.registered is not None and summary.registered.difference is None
    assert "it has no result yet" in text(summary)


def test_a_study_without_a_registration_says_nothing_about_one(summary: Summary) -> None:
    assert summary.registered is None and text(summary) == ""


def test_a_registered_summary_is_read_back(tmp_path: Path) -> None:
    summary = registered(tmp_path)
    write_summary(tmp_path / "summary.json", summary)
    assert read_summary(tmp_path) == summary


@pytest.mark.parametrize(("gain", "words"), [(3.0, "points: found."), (0.0, "points: neither found nor excluded.")])
def test_the_result_is_worded_by_the_rule(tmp_path: Path, gain: float, words: str) -> None:
    plan = Registration(
        "caption effect", "accuracy", "demo", "without_subtitles", ["0", "530k"], [0, 1, 2], 1.0, "rule"
    )
    world = World(tmp_path / "study", videos=60, registration=plan.fingerprint)
    for seed in (0, 1, 2):
        world.run(0, seed)
        world.run(530_000, seed, gain=gain)
    write_registration(tmp_path / "study", plan)
    assert words in conclude(measure(read_study(tmp_path / "study"))).verdict


def test_a_registration_that_was_changed_after_the_runs_counts_for_nothing(tmp_path: Path) -> None:
    registered(tmp_path)
    folder = tmp_path / "study"
    plan = read_registration(folder)
    assert plan is not None
    write_registration(folder, replace(plan, setting="with_subtitles", equivalence_points=5.0))
    summary = measure(read_study(folder))
    assert summary.equivalence == 1.0
    assert text(summary).startswith("registration.json is not the one that 0 seed 0, 0 seed 1, 530k seed 0")
    assert "this report treats no contrast as registered" in text(summary)
    assert "registered contrast" not in conclude(summary).verdict


def test_a_registration_that_was_written_after_the_runs_counts_for_nothing(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=60)
    for scale in (0, 530_000):
        world.run(scale, gain=scale / 1e6)
    plan = Registration("caption effect", "accuracy", "demo", "without_subtitles", ["0", "530k"], [0], 1.0, "rule")
    write_registration(tmp_path / "study", plan)
    found = text(measure(read_study(tmp_path / "study")))
    assert "is not the one that 0 seed 0 and 530k seed 0 recorded when they began" in found
    assert "Registered on" not in found


def test_a_registration_that_was_deleted_is_missed(tmp_path: Path) -> None:
    registered(tmp_path)
    (tmp_path / "study" / REGISTRATION_FILE).unlink()
    (note,) = [note for note in measure(read_study(tmp_path / "study")).notes if "registration.json" in note]
    assert note.startswith("registration.json, which 7 runs such as scale=0,control=None,seed=0 recorded")
