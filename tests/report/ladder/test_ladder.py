"""A ladder groups studies by model and choice; it never averages models, and every contrast names its model."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import t

from sg.artefacts.held_out import mean_loss, write_caption_losses
from sg.artefacts.result import STUDY_FILE, read_result, write_result
from sg.core.errors import ConfigError, DataError
from sg.report.ladder.figure import ladder_figure
from sg.report.ladder.law import PARAMETERS, fit_law, predicted
from sg.report.ladder.numbers import LadderSummary, measure_ladder
from sg.report.ladder.page import ladder_markdown, law_sentence
from sg.report.ladder.studies import read_ladder
from sg.report.ladder.write import write_ladder
from sg.report.numbers.measure import measure
from sg.report.numbers.records import load_record
from sg.report.numbers.study import read_study

from .builder import losses, write_member


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three sizes of the model; the middle one has a control."""
    folder = tmp_path_factory.mktemp("runs")
    return [write_member(folder / name, name, control=name == "tiny") for name in ("wide", "narrow", "tiny")]


@pytest.fixture(scope="module")
def summary(models: list[Path]) -> LadderSummary:
    return measure_ladder(read_ladder(models))


def test_models_are_ordered_by_their_weights_and_keep_their_own_baseline(
    models: list[Path], summary: LadderSummary
) -> None:
    assert list(summary.models) == ["narrow", "tiny", "wide"]
    own = {(row.model, row.arm): row for row in summary.rows}
    for folder in models:
        alone = measure(read_study(folder))
        for table in alone.tables:
            for row in table.rows:
                found = own[folder.name, row.arm]
                assert found.deltas.get(table.setting) == row.cells["overall"].delta
        assert alone.held_out is not None
        assert {row.arm: row.delta for row in alone.held_out.rows} == {
            arm: row.deltas.get("held_out") for (model, arm), row in own.items() if model == folder.name
        }


def test_every_contrast_names_its_model_and_is_between_arms_of_that_model(summary: LadderSummary) -> None:
    own = [row.what for row in summary.contrasts if row.metric == "held_out"]
    assert own[:2] == [
        "narrow: 530k (5,300) minus no captions", "narrow: 530k (5,300) minus 50k (500)",
    ]  # fmt: skip
    assert "tiny: 530k (5,300) minus 50k equal-step" in own
    assert "wide: 530k (5,300) minus 50k equal-step" not in own
    assert own[-1] == "530k minus no captions, wide minus narrow"
    assert all(row.p_holm is None or row.p_holm >= (row.difference.p or 0.0) for row in summary.contrasts)


def test_the_gain_by_size_is_the_difference_of_the_two_models_gains(summary: LadderSummary) -> None:
    gains = {row.model: row.deltas["held_out"].value for row in summary.rows if row.arm == "530k"}
    found = next(row for row in summary.contrasts if row.metric == "held_out" and "wide minus narrow" in row.what)
    assert found.difference.value == pytest.approx(gains["wide"] - gains["narrow"])
    assert found.difference.covers_seeds


def test_the_joint_law_is_fitted_to_sizes_and_distinct_captions_without_baselines_and_controls(
    summary: LadderSummary,
) -> None:
    (found,) = summary.laws
    assert found.law is not None and found.covers_seeds
    assert found.law.points == 12
    assert found.law.parameters["alpha"].low < 0.5 < found.law.parameters["alpha"].high
    assert found.law.parameters["beta"].low < 0.4 < found.law.parameters["beta"].high
    text = ladder_markdown(summary)
    assert "for N weights and D distinct captions" in text
    assert "without the frozen vision tower: narrow (77,000), tiny (250,000) and wide (523,000)" in text
    assert "The residuals do not reject it" in text
    assert "95 % intervals over videos and training seeds; in simulated ladders" in text


def test_a_law_that_the_residuals_reject_is_neither_printed_nor_drawn(summary: LadderSummary) -> None:
    (found,) = summary.laws
    assert found.law is not None
    rejected = replace(found, law=replace(found.law, p=1e-4), covers_seeds=False)
    text = law_sentence(rejected)
    assert "does not describe these 12 points: the residuals are larger than their errors (p < .001)" in text
    assert "leave out variance across training seeds" in text and "alpha =" not in text

    def labels(shown: LadderSummary) -> list[str]:
        legend = ladder_figure(shown).legends[0]
        return [entry.get_text() for entry in legend.get_texts()]

    assert "joint law" in labels(summary)
    assert "joint law" not in labels(replace(summary, laws=[rejected]))


def test_the_intervals_of_the_law_are_those_of_a_likelihood_ratio_test() -> None:
    """At each end of an interval, the best fit with this value is as much worse as the t quantile allows."""
    sizes, captions = [size for size in (1e8, 1e9, 1e10) for _ in range(3)], [500.0, 2000.0, 8000.0] * 3
    losses = [1.0 + (3e7 / n) ** 0.4 + (900 / d) ** 0.6 for n, d in zip(sizes, captions, strict=True)]
    noise = np.random.default_rng(0).normal(0, 0.01, 9)
    found = fit_law(sizes, captions, (np.array(losses) + noise).tolist(), 0.01**2 * np.eye(9), 1000.0)
    n, d = np.array(sizes) / found.size, np.array(captions) / found.captions

    def chi2(alpha: float | None = None) -> float:
        def residuals(rest: NDArray[np.float64]) -> NDArray[np.float64]:
            own = rest if alpha is None else np.insert(rest, 3, alpha)
            return np.asarray((np.array(losses) + noise - predicted(n, d, own)) / 0.01)

        start = np.array([found.parameters[name].value for name in PARAMETERS])
        return 2 * float(least_squares(residuals, start if alpha is None else np.delete(start, 3)).cost)

    alpha = found.parameters["alpha"]
    allowed = t.ppf(0.975, 1000) ** 2 * max(1.0, chi2() / 4)
    assert chi2(alpha.low) - chi2() == pytest.approx(allowed, rel=0.1)
    assert chi2(alpha.high) - chi2() == pytest.approx(allowed, rel=0.1)
    assert found.free == []


def test_two_sizes_give_one_sentence_instead_of_a_law(models: list[Path]) -> None:
    found = measure_ladder(read_ladder(models[:2]))
    assert [law.law for law in found.laws] == [None]
    assert (
        "No joint law of model size and captions is fitted: it needs 3 sizes of the model and 3 numbers of captions, "
        "and these studies have 2 and 4." in ladder_markdown(found)
    )


def test_a_lost_baseline_leaves_its_model_without_differences_and_no_other_one_replaces_it(tmp_path: Path) -> None:
    folders = [write_member(tmp_path / name, name) for name in ("narrow", "tiny")]
    for path in folders[0].glob("scale=0,*/result.json"):
        write_result(path, replace(read_result(path), status="failed", reason="out of memory", scores={}))
    found = measure_ladder(read_ladder(folders))
    assert all(not row.deltas for row in found.rows if row.model == "narrow")
    assert all(row.deltas for row in found.rows if row.model == "tiny" and row.scale)
    assert not [row for row in found.contrasts if "narrow" in row.what and "no captions" in row.what]
    text = ladder_markdown(found)
    assert "narrow: no run without captions finished, so it has no difference from one." in text
    assert "narrow: 3 runs failed and not part of any number: scale=0,control=None,seed=0" in text


def test_a_choice_is_named_by_what_differs(tmp_path: Path) -> None:
    one = write_member(tmp_path / "a", curator="tome")
    two = write_member(tmp_path / "b", curator="random")
    three = write_member(tmp_path / "c", curator="tome", stage={"caption": {"epochs": 2}}, scales=(50_000, 100_000))
    assert read_ladder([one, two]).choices == ["curator=random", "curator=tome"]
    assert read_ladder([one, three]).choices == ["stage.caption=(absent)", "stage.caption={'epochs': 2}"]


def test_a_recipe_that_follows_the_model_is_no_choice_but_is_noted(tmp_path: Path) -> None:
    folders = [
        write_member(tmp_path / name, name, stage={"learning_rate": rate})
        for name, rate in (("tiny", 0.1), ("wide", 0.2))
    ]
    ladder = read_ladder(folders)
    assert ladder.choices == [""]
    assert "The models differ also in stage.learning_rate: a difference between them includes it." in ladder.notes


def test_studies_that_do_not_compare_are_refused(tmp_path: Path, models: list[Path]) -> None:
    with pytest.raises(ConfigError, match="two or more studies"):
        read_ladder(models[:1])
    with pytest.raises(ConfigError, match="are both tiny: give one of them"):
        read_ladder([models[2], write_member(tmp_path / "again", "tiny")])
    renamed = write_member(tmp_path / "renamed", "wide")
    for path in renamed.glob("*/result.json"):
        write_result(path, replace(read_result(path), config={"model": {"name": "tiny"}}))
    with pytest.raises(ConfigError, match=r"different models with the name tiny.*its own model.name"):
        read_ladder([models[2], renamed])
    old = write_member(tmp_path / "old", "huge")
    (old / STUDY_FILE).unlink()
    with pytest.raises(DataError, match="as studies of older versions: repeat the study's command"):
        read_ladder([models[0], old])


def test_losses_on_other_tokens_are_left_out_with_a_note(tmp_path: Path, models: list[Path]) -> None:
    other = write_member(tmp_path / "huge", "huge")
    for path in other.glob("*/result.json"):
        rows = losses(1.5, (1,), tokens_of=8)
        write_caption_losses(path.parent, rows, "made")
        write_result(path, replace(read_result(path), held_out=mean_loss(rows)))
    ladder = read_ladder([models[0], other])
    assert "The held-out captions or their tokens differ between the studies, so their losses do not compare." in (
        ladder.notes
    )
    assert all("held_out" not in row.values for row in measure_ladder(ladder).rows)


def test_runs_of_two_models_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = write_member(tmp_path / "mixed", "tiny")
    path = next(folder.glob("scale=530k*/result.json"))
    write_result(path, replace(read_result(path), config={"model": {"name": "wide"}}))
    with pytest.raises(DataError, match="mixes the models tiny, wide"):
        read_study(folder)


def test_the_files_of_a_ladder_hold_its_numbers(models: list[Path]) -> None:
    text = write_ladder(models)
    (folder,) = models[0].parent.glob("ladder-*")
    assert str(folder / "ladder.md") in text
    assert (folder / "ladder.png").stat().st_size > 0 and (folder / "ladder.svg").stat().st_size > 0
    with (folder / "ladder.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["model"] for row in rows} == {"narrow", "tiny", "wide"}
    assert len(rows) == 3 * 16
    again = load_record(LadderSummary, folder / "ladder.json")
    assert again.rows == measure_ladder(read_ladder(models)).rows
