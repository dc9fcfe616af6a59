"""The held-out loss resolves a difference between arms that accuracy does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.arms import EQUAL_STEPS, RANDOM
from sg.artefacts.held_out import CaptionLoss, mean_loss, write_caption_losses
from sg.artefacts.result import read_result, write_result
from sg.report.figures.held_out import draw_held_out, held_out_figure
from sg.report.numbers.held_out import held_out_table, loss_score
from sg.report.numbers.measure import measure
from sg.report.numbers.statistics import holm
from sg.report.numbers.study import read_study
from sg.report.numbers.summary import ControlRow, LossTable, Summary, read_summary, write_summary
from sg.report.pages.conclusion import conclude
from sg.report.pages.exports import losses_csv, markdown
from sg.report.pages.held_out import loss_sentences
from sg.report.pages.study import page_html
from sg.report.pages.tables import terminal_text

from ..study_builder import World

CAPTIONS = 120


def rows(level: float, seed: int, source: str = "demo") -> list[CaptionLoss]:
    """Losses around `level` nats per token; captions differ in length and difficulty, alike for all runs."""
    shared, own = np.random.default_rng(7), np.random.default_rng([seed, int(1000 * level)])
    tokens = shared.integers(8, 40, CAPTIONS)
    difficulty = shared.normal(0, 0.3, CAPTIONS)
    return [
        CaptionLoss(f"v{at:03d}", source if at % 3 else "other", int(count), float(count * (level + hard + noise)))
        for at, (count, hard, noise) in enumerate(zip(tokens, difficulty, own.normal(0, 0.05, CAPTIONS), strict=True))
    ]


def give(run: Path, losses: list[CaptionLoss]) -> None:
    write_caption_losses(run, losses, "made")
    write_result(run, replace(read_result(run), held_out=mean_loss(losses)))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(tmp_path_factory.mktemp("study"), probes=False)
    for seed in range(2):
        for scale, level in ((0, 2.0), (50_000, 1.6), (100_000, 1.5), (200_000, 1.42), (530_000, 1.2)):
            give(world.run(scale, seed), rows(level, seed))
        give(world.run(50_000, seed, control=EQUAL_STEPS, steps=331), rows(1.35, seed))
    return world.folder


def table(study: Path) -> LossTable:
    found, notes = held_out_table(read_study(study))
    assert found is not None
    assert not notes
    return found


def test_the_loss_is_per_token_and_its_difference_has_an_interval(study: Path) -> None:
    found = table(study)
    by_arm = {row.arm: row for row in found.rows}
    expected = [mean_loss(rows(1.2, seed)) for seed in range(2)]
    assert by_arm["530k"].loss.value == pytest.approx(np.mean([one.per_token for one in expected if one]), abs=1e-12)
    assert by_arm["530k"].per_caption == pytest.approx(np.mean([one.per_caption for one in expected if one]))
    delta = by_arm["530k"].delta
    assert delta is not None
    assert -0.83 < delta.low < -0.8 < delta.high < -0.77
    assert by_arm["0"].delta is None


def test_the_control_is_compared_with_the_arm_of_equal_steps(study: Path) -> None:
    (control,) = table(study).controls
    assert (control.headline, control.control) == ("530k", "50k/equal_steps")
    assert control.difference.is_negative
    assert control.difference.value == pytest.approx(-0.15, abs=0.02)


def test_the_interval_of_a_ratio_is_that_of_the_linearised_items() -> None:
    generator = np.random.default_rng(0)
    tokens = np.tile(generator.integers(5, 50, 400), (1, 1))
    nats = tokens * generator.normal(1.5, 0.4, tokens.shape)
    score = loss_score(nats, tokens, np.arange(400), (0,))
    assert score.means[0] == pytest.approx(nats.sum() / tokens.sum())
    assert score.influence.sum() == pytest.approx(0, abs=1e-12)
    draws = generator.integers(400, size=(4000, 400))
    bootstrap = nats[0][draws].sum(axis=1) / tokens[0][draws].sum(axis=1)
    assert np.sqrt((score.influence**2).sum()) == pytest.approx(bootstrap.std(), rel=0.05)


def test_groups_are_sources_and_thirds_by_length(study: Path) -> None:
    groups = {(group.kind, group.name): group.captions for group in table(study).groups}
    assert groups == {
        ("source", "demo"): 80, ("source", "other"): 40,
        ("length", "short captions"): 40, ("length", "medium captions"): 40, ("length", "long captions"): 40,
    }  # fmt: skip


def test_every_form_of_the_report_shows_the_losses(study: Path, tmp_path: Path) -> None:
    summary = measure(read_study(study))
    conclusion = conclude(summary)
    sentences = [item.text for item in conclusion.statements if item.topic == "Held-out loss"]
    assert any("the loss is lower with more distinct captions" in text for text in sentences)
    text = terminal_text(summary, conclusion)
    assert "Held-out captions" in text
    assert "530k - 50k equal-step: -0.1" in text
    assert "## Held-out captions" in markdown(summary, conclusion)
    assert len(losses_csv(summary).splitlines()) == 1 + 6 * (1 + 5)
    assert 'id="held-out"' in page_html(summary, conclusion, {})
    write_summary(tmp_path / "summary.json", summary)
    assert read_summary(tmp_path).held_out == summary.held_out


def test_p_of_scales_and_controls_is_corrected_together(study: Path) -> None:
    found = table(study)
    (control,) = found.controls
    deltas = [row.delta for row in found.rows if row.control is None and row.delta is not None]
    family = [*(delta.p or 0.0 for delta in deltas), control.difference.p or 0.0]
    assert control.p_holm == pytest.approx(holm(family)[-1])
    assert [row.p_holm is None for row in found.rows] == [True, False, False, False, False, True]


def test_a_loss_is_attributed_only_as_far_as_the_control_carries_it(study: Path) -> None:
    found = table(study)
    (control,) = found.controls

    def text(row: ControlRow) -> str:
        return " ".join(text for text, _ in loss_sentences(replace(found, controls=[row])))

    assert "nats per token, p < .001 after Holm: the loss is lower with more distinct captions." in text(control)
    assert "more distinct captions." not in text(replace(control, p_holm=0.06))
    assert "neither resolved nor excluded" in text(replace(control, p_holm=0.06))
    assert "the steps differ" in text(replace(control, control_steps=100))
    random = text(replace(control, kind=RANDOM))
    assert "lower with the curated core than with a random subset of the same size" in random
    assert "described" not in random


def test_a_control_that_overfits_its_captions_is_named(study: Path) -> None:
    found = table(study)
    assert "overfits" not in " ".join(text for text, _ in loss_sentences(found))
    rows = [
        replace(row, loss=replace(row.loss, value=2.6, low=2.5, high=2.7)) if row.control else row for row in found.rows
    ]
    sentences = [(text, limits) for text, limits in loss_sentences(replace(found, rows=rows)) if "overfits" in text]
    ((text, limits),) = sentences
    shown = "50k equal-step has a loss of 2.600 [2.500, 2.700] nats per token, 50k (500) with fewer steps 1.557"
    assert text.startswith(shown) and limits


def test_the_figure_shows_the_sweep_and_its_controls(study: Path, tmp_path: Path) -> None:
    summary = measure(read_study(study))
    (paths,) = draw_held_out(summary, tmp_path).values()
    assert all(path.stat().st_size > 0 for path in paths)
    figure = held_out_figure(table(study))
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert names == ["none", "50k", "100k", "200k", "530k", "50k equal-step"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "as many passes over every subset",
        "equal-step control",
    ]


def test_a_study_without_held_out_captions_has_no_section(tmp_path: Path) -> None:
    world = World(tmp_path, probes=False)
    world.run(0)
    world.run(50_000)
    summary: Summary = measure(read_study(tmp_path))
    assert summary.held_out is None
    assert "held-out" not in page_html(summary, conclude(summary), {})


def test_lost_or_changed_losses_are_a_note_and_not_a_number(tmp_path: Path) -> None:
    world = World(tmp_path, probes=False)
    for scale, level in ((0, 2.0), (50_000, 1.6), (530_000, 1.2)):
        give(world.run(scale), rows(level, 0))
    changed, lost = (next(tmp_path.glob(f"scale={label},*")) for label in ("530k", "50k"))
    write_caption_losses(changed, rows(0.5, 0), "made")
    (lost / "held_out.json").unlink()
    summary = measure(read_study(tmp_path))
    assert summary.held_out is not None
    assert [row.arm for row in summary.held_out.rows] == ["0"]
    assert sum("held-out losses" in note for note in summary.notes) == 2
