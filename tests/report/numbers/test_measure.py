import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.predictions import BUCKETS
from sg.report.numbers.comparisons import partner
from sg.report.numbers.estimates import difference, seed_noise
from sg.report.numbers.measure import measure
from sg.report.numbers.statistics import holm
from sg.report.numbers.study import Study, read_study
from sg.report.numbers.summary import Summary, Table, read_summary, write_summary
from sg.report.pages.conclusion import conclude
from sg.report.pages.tables import terminal_text

from ..study_builder import World


def _table(summary: Summary, setting: str = "without_subtitles") -> Table:
    table = summary.table(setting)
    assert table is not None
    return table


def test_a_cell_is_the_mean_over_seeds_with_its_spread(study: Study, summary: Summary) -> None:
    cell = _table(summary).rows[5].cells["overall"]
    scores = 100 * study.headline[5].correct["without_subtitles"].mean(axis=1)
    assert cell.seed_scores == pytest.approx(list(scores))
    assert cell.score == pytest.approx(scores.mean())
    assert cell.seed_spread == pytest.approx(scores.std(ddof=1))


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_difference_is_that_of_the_shared_seeds_with_the_seed_noise_of_all_arms(
    study: Study, summary: Summary, bucket: str
) -> None:
    mask = study.questions.mask(bucket)
    scores = [
        sample
        for arm in (*study.headline, *study.controls)
        if (sample := study.score_of(arm, "with_subtitles", mask)) is not None
    ]
    expected = difference(scores[4], scores[0], seed_noise(scores))
    delta = _table(summary, "with_subtitles").rows[4].cells[bucket].delta
    assert delta == expected
    assert delta is not None and delta.seeds == [0, 2]  # seed 1 of 400k failed


def test_differences_of_unequal_seeds_are_over_the_shared_ones_and_the_others_are_named(tmp_path: Path) -> None:
    """Two good extra seeds of the largest scale must not count as an effect of its captions."""
    for folder, extra in (("equal", ()), ("unequal", (3, 4))):
        world = World(tmp_path / folder, videos=120)
        for seed in (0, 1, 2):
            world.run(0, seed)
            world.run(530_000, seed, gain=0.1)
        for seed in extra:
            world.run(530_000, seed, gain=2.0)
    equal, unequal = (measure(read_study(tmp_path / folder)) for folder in ("equal", "unequal"))
    cells = [_table(summary).rows[1].cells["overall"] for summary in (equal, unequal)]
    assert cells[0].delta is not None and cells[1].delta is not None
    assert cells[1].delta.value == pytest.approx(cells[0].delta.value)
    assert cells[1].delta.seeds == [0, 1, 2] and len(cells[1].seed_scores) == 5
    text = terminal_text(unequal, conclude(unequal))
    assert "difference over seeds 0, 1 and 2: seeds 3 and 4 are not shared with no captions" in text


def test_the_baseline_has_no_difference_and_controls_have_one(summary: Summary) -> None:
    rows = {row.arm: row.cells["overall"].delta for row in _table(summary).rows}
    assert rows["0"] is None
    assert rows["50k/equal_steps"] is not None


def test_holm_covers_every_headline_scale_and_every_control_in_both_settings(summary: Summary) -> None:
    cells = [row.cells["overall"] for table in summary.tables for row in table.rows if row.scale and not row.control]
    raw = [cell.delta.p for cell in cells if cell.delta is not None and cell.delta.p is not None]
    raw += [row.difference.p for row in summary.controls if row.difference.p is not None]
    assert len(raw) == 10 + 4
    assert [item.p_holm for item in (*cells, *summary.controls)] == pytest.approx(holm(raw))
    others = [row.cells["short"] for row in _table(summary).rows] + [_table(summary).rows[6].cells["overall"]]
    assert {cell.p_holm for cell in others} == {None}


def test_a_control_is_compared_with_its_headline_arm(summary: Summary) -> None:
    pairs = {(row.kind, row.headline, row.control) for row in summary.controls}
    assert pairs == {("equal_steps", "530k", "50k/equal_steps"), ("random", "100k", "100k/random")}
    for row in summary.controls:
        assert row.headline_gain is not None and row.control_gain is not None
        assert row.difference.value == pytest.approx(row.headline_gain.value - row.control_gain.value)


def test_the_equal_step_control_is_compared_with_the_arm_with_as_many_steps(study: Study) -> None:
    control = study.controls[0]
    shorter = replace(control, runs=tuple(replace(run, steps={"caption": 130}) for run in control.runs))
    found = partner(study, shorter)
    assert found is not None and found.scale == 200_000


def test_probes_are_measured_against_chance_and_against_the_right_video(summary: Summary) -> None:
    last = next(row for row in summary.probes if (row.probe, row.arm) == ("zeroed_video", "530k"))
    assert last.against_chance == "not resolved"
    assert last.seeds == 3
    assert last.drop is not None and last.drop.is_positive


def test_a_probe_above_chance_is_detected(tmp_path: Path) -> None:
    path = World(tmp_path / "study", videos=60).run(50_000, gain=3.0) / "predictions.jsonl"
    answers = [line for line in path.read_text().splitlines() if "without_subtitles" in line]
    path.write_text("".join(line.replace("without_subtitles", "zeroed_video") + "\n" for line in answers))
    assert measure(read_study(tmp_path / "study")).probes[0].against_chance == "above"


def test_unreadable_answers_are_counted_as_a_letter_of_their_own(tmp_path: Path) -> None:
    World(tmp_path / "study", videos=60, silent=0.5).run(0)
    row = measure(read_study(tmp_path / "study")).letters[0]
    assert list(row.shares) == ["A", "B", "C", "D", "none"]
    assert row.shares["none"] == pytest.approx(50, abs=12)
    assert sum(row.shares.values()) == pytest.approx(100)


def test_published_numbers_are_shown_for_video_mme_only(tmp_path: Path, summary: Summary) -> None:
    world = World(tmp_path / "study", videos=9, benchmark="video_mme")
    world.run(0)
    world.run(50_000)
    row = _table(measure(read_study(tmp_path / "study")), "with_subtitles").rows[1]
    assert (row.cells["overall"].published, row.cells["overall"].published_delta) == (47.6, 0.7)
    assert "+1.3" in row.cells["overall"].published_slip
    assert {cell.published for row in _table(summary).rows for cell in row.cells.values()} == {None}


def test_without_predictions_the_scores_of_the_results_are_shown(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=9)
    for seed in (0, 1):
        (world.run(0, seed) / "predictions.jsonl").unlink()
    cell = _table(measure(read_study(tmp_path / "study"))).rows[0].cells["overall"]
    assert (cell.score, cell.accuracy) == (40.0, None)


def test_a_study_without_its_baseline_has_scores_but_no_differences(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=9)
    world.run(0, reason="stopped by the user")
    world.run(50_000)
    rows = _table(measure(read_study(tmp_path / "study"))).rows
    assert rows[0].reasons == ["stopped by the user"]
    assert rows[1].cells["overall"].score is not None
    assert rows[1].cells["overall"].delta is None


def test_growth_compares_the_largest_with_the_smallest_caption_scale(study: Study, summary: Summary) -> None:
    means = [np.mean(study.headline[place].correct["without_subtitles"]) for place in (5, 1)]
    growth = _table(summary).growth
    assert growth is not None and growth.value == pytest.approx(100 * (means[0] - means[1]))


def test_a_summary_is_read_back_as_it_was_written(tmp_path: Path, summary: Summary) -> None:
    write_summary(tmp_path / "summary.json", summary)
    assert read_summary(tmp_path) == summary


def test_each_seed_is_compared_with_the_baseline_of_its_own_seed(study: Study, summary: Summary) -> None:
    row = next(row for row in summary.pairs if (row.label, row.seed) == ("530k (5,300)", 1))
    new, base = (study.headline[place].correct["without_subtitles"][1] for place in (5, 0))
    assert (row.only_new, row.only_base) == (((new == 1) & (base == 0)).sum(), ((new == 0) & (base == 1)).sum())
    assert row.exact_p < 0.05
    seeds = [row.seed for row in summary.pairs if (row.label, row.setting) == ("400k (4,000)", "with_subtitles")]
    assert seeds == [0, 2]  # seed 1 failed


def test_curves_are_fitted_through_the_means(summary: Summary) -> None:
    shapes = _table(summary).shapes
    assert {shape.name for shape in shapes} == {"constant", "step", "saturating power law"}
    known = [shape.aic for shape in shapes if shape.aic is not None]
    assert len(known) == 3 and known == sorted(known)
    assert all(shape.p is not None and 0 <= shape.p <= 1 for shape in shapes)


def test_blind_answers_are_a_leak_probe_and_shuffled_options_a_note(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=60)
    for scale in (0, 530_000):
        path = world.run(scale, gain=scale / 1e6) / "predictions.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        seen = [row for row in rows if row["setting"] == "without_subtitles"]
        blind = [row | {"setting": "no_video", "letter": "A"} for row in seen]
        shuffled = [row | {"setting": "shuffled_options", "option_order": "DCBA"} for row in seen]
        path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *blind, *shuffled]))
    summary = measure(read_study(tmp_path / "study"))
    assert {(row.probe, row.chance) for row in summary.probes} >= {("no_video", 25.0)}
    assert "shuffled_options" not in {row.probe for row in summary.probes}
    (note,) = summary.notes
    assert "shuffled options, the accuracy of 530k" in note and "0.0 [no interval] points" in note
    assert "No video" in terminal_text(summary, conclude(summary))
