"""The judge of the demo world is exact, and finds every fault that captions may have on purpose."""

from __future__ import annotations

import random
from math import isnan, nan
from pathlib import Path

import pytest

from sg.artefacts.captions import read_captions
from sg.artefacts.judged import FALSE, SCORES, TRUE, JudgedCaption, judged_path, read_judged, write_judged
from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.caption.captioners import captioner_of
from sg.caption.judge.facts import judge_caption
from sg.caption.judge.run import judge_captions
from sg.caption.judge.scores import agreement, auc, means
from sg.caption.local.demo import DemoCaptionerConfig
from sg.caption.local.given import GivenCaptionerConfig
from sg.core.errors import ConfigError, DataError
from sg.core.tracking import LoggerConfig
from sg.demo.caption_noise import FAULTS, with_fault
from sg.demo.language import caption, caption_scenes
from sg.demo.world import UNIFORM, VideoSpec, draw_video
from sg.sources.config import DataConfig

CSV = LoggerConfig(kind="csv")
NIGHT = "night two : striped red ball rests topleft , plain blue box spins bottomright ."
SEA = "sea one : dotted green ring falls topright ."
TRUTH = f"{NIGHT} then {SEA}"
NUM_CLAIMS = 2 + 2 + 3 * 6 + 1
"""Two scenes, two counts, three actors with five attributes each, one order."""


def judged(text: str, truth: str = TRUTH) -> JudgedCaption:
    return judge_caption("v", text, caption_scenes(truth))


def false(row: JudgedCaption) -> list[str]:
    return [claim for claim, verdict in zip(row.claims, row.verdicts, strict=True) if verdict == FALSE]


def test_a_caption_is_read_back_as_it_was_written() -> None:
    rng = random.Random(1)
    for duration in ("short", "medium", "long") * 20:
        spec = draw_video(rng, UNIFORM, duration)
        assert caption_scenes(caption(spec)) == spec
    with pytest.raises(ValueError, match="not a caption of the demo world"):
        caption_scenes("A man walks.")


def test_a_true_caption_has_only_true_claims() -> None:
    row = judged(TRUTH)
    assert row.verdicts == (TRUE,) * NUM_CLAIMS and row.missing == ()
    assert (row.precision, row.recall, row.f1) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "wrong", "missing", "precision", "recall"),
    [
        (
            TRUTH.replace("red", "lime"),
            ["the lime ball at the night: colour lime"],
            ["the red ball at the night: colour red"],
            22 / 23,
            22 / 23,
        ),
        (SEA, [], 15, 1.0, 8 / 23),
        (f"{SEA} then {NIGHT}", ["the night comes after the sea"], ["the sea comes after the night"], 22 / 23, 22 / 23),
        (
            TRUTH.replace("two :", "three : checked pink star glows topright ,"),
            7,
            ["two at the night"],
            22 / 29,
            22 / 23,
        ),
        ("snow one : halved white moon swings topleft .", 8, 23, 0.0, 0.0),
        (TRUTH.replace("night", "wall"), 15, 15, 8 / 23, 8 / 23),
    ],
    ids=["attribute", "omitted", "order", "invented", "generic", "background"],
)  # fmt: skip
def test_each_fault_costs_exactly_its_claims(
    text: str, wrong: list[str] | int, missing: list[str] | int, precision: float, recall: float
) -> None:
    row = judged(text)
    assert (false(row) if isinstance(wrong, list) else len(false(row))) == wrong
    assert (list(row.missing) if isinstance(missing, list) else len(row.missing)) == missing
    assert (row.precision, row.recall) == (precision, recall)


def drawn(count: int) -> dict[str, VideoSpec]:
    rng = random.Random(7)
    lengths = ["short", "medium", "long"]
    return {f"v{number}": draw_video(rng, UNIFORM, lengths[number % 3]) for number in range(count)}


@pytest.mark.parametrize("rate", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_judge_tells_captions_with_a_fault_from_those_without(fault: str, rate: float) -> None:
    """Half of the captions may have the fault; the AUC is that of their F1 against the other half."""
    good, bad = [], []
    for number, (name, spec) in enumerate(drawn(600).items()):
        text = caption(with_fault(spec, fault, rate, random.Random(name)) if number % 2 else spec)
        row = judge_caption(name, text, spec)
        (bad if text != caption(spec) else good).append(row.f1)
        assert (row.f1 == 1.0) == (text == caption(spec)), (fault, text, caption(spec))
    assert len(bad) > 10 and auc(good, bad) >= 0.95


@pytest.mark.parametrize(("fault", "rate"), [("wrong_attribute", 0.2), ("invented_actor", 0.4), ("generic_text", 0.3)])
def test_a_fault_has_its_rate(fault: str, rate: float) -> None:
    specs = drawn(1500)
    noisy = {name: with_fault(spec, fault, rate, random.Random(name)) for name, spec in specs.items()}
    if fault == "wrong_attribute":
        pairs = [
            (getattr(actor, name), getattr(other, name))
            for key, spec in specs.items()
            for actor, other in zip(spec.actors, noisy[key].actors, strict=True)
            for name in ("texture", "colour", "shape", "action", "cell")
        ]
        share = sum(one != other for one, other in pairs) / len(pairs)
    elif fault == "invented_actor":
        open_scenes = [
            (scene, other)
            for key, spec in specs.items()
            for scene, other in zip(spec.scenes, noisy[key].scenes, strict=True)
            if len(scene.actors) < 4
        ]
        share = sum(len(other.actors) > len(scene.actors) for scene, other in open_scenes) / len(open_scenes)
    else:
        share = sum(noisy[key] != spec for key, spec in specs.items()) / len(specs)
    assert share == pytest.approx(rate, abs=0.04)


def test_no_fault_leaves_a_caption_as_it_is() -> None:
    for name, spec in drawn(60).items():
        assert all(with_fault(spec, fault, 0.0, random.Random(name)) == spec for fault in FAULTS)


def data_with(tmp_path: Path, specs: dict[str, VideoSpec]) -> DataConfig:
    rows = [
        VideoRecord(name, "demo", f"{name}.mp4", 8.0, 64, 64, 2.0, 16, original_caption="A man.", extra=spec.to_json())
        for name, spec in specs.items()
    ]
    write_manifest(tmp_path / "manifest.parquet", rows)
    return DataConfig(name="demo", dir=str(tmp_path), videos=str(tmp_path))


def test_the_scores_are_columns_beside_the_captions(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    specs = drawn(60)
    data = data_with(tmp_path, specs)
    config = DemoCaptionerConfig(noise="wrong_attribute", noise_rate=0.1)
    text = judge_captions(data, config, None, CSV)
    captions = captioner_of(config).captions(data)
    path = judged_path(captions, "facts")
    rows = list(read_judged(path))
    assert [row.video_id for row in rows] == list(read_captions(captions))
    table = pq.read_table(path)
    assert table["precision"].to_pylist() == [row.precision for row in rows]
    assert table["f1"].to_pylist() == [row.f1 for row in rows]
    assert f"precision   {means(rows)['precision']:.4f}" in text and "AUC         1.0000" in text and str(path) in text
    assert 0.85 < means(rows)["precision"] < 0.95

    clean = judge_captions(data, DemoCaptionerConfig(), None, CSV)
    assert "precision   1.0000" in clean and "0 of 60 captions" in clean and "AUC" not in clean


def test_captions_with_different_faults_are_different_captions(tmp_path: Path) -> None:
    data = data_with(tmp_path, drawn(5))
    places = [
        captioner_of(DemoCaptionerConfig(noise=fault, noise_rate=1.0 if fault else 0.0)).captions(data)
        for fault in (None, "generic_text", "wrong_order")
    ]
    texts = [dict(read_captions(place)) for place in places]
    assert len(set(places)) == 3 and len(set(texts[1].values())) == 1 and texts[0] != texts[2]


def test_what_the_facts_cannot_judge_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"The caption of video 'v0' is not a caption of the demo world"):
        judge_captions(data_with(tmp_path, drawn(2)), GivenCaptionerConfig(), None, CSV)
    rows = [VideoRecord("a", "x", "a.mp4", 8.0, 64, 64, 2.0, 16, original_caption="A man walks.")]
    write_manifest(tmp_path / "other" / "manifest.parquet", rows)
    with pytest.raises(ConfigError, match="a captioner has to watch them"):
        judge_captions(
            DataConfig(name="x", dir=str(tmp_path / "other"), videos=str(tmp_path)), GivenCaptionerConfig(), None, CSV
        )
    with pytest.raises(ConfigError, match=r"captioner\.noise_rate=0\.5 should be from 0 to 1, and needs"):
        DemoCaptionerConfig(noise_rate=0.5)
    with pytest.raises(ConfigError, match="wrong_atribute"):
        DemoCaptionerConfig(noise="wrong_atribute")


def test_auc_and_agreement_are_those_of_small_examples() -> None:
    assert auc([1.0, 1.0], [0.5, 0.2]) == 1.0 and auc([0.5], [0.5]) == 0.5 and auc([0.1, 0.9], [0.5]) == 0.5
    assert isnan(auc([], [1.0]))
    truth = [JudgedCaption("v", "facts", ("a", "b", "c", "d"), (TRUE, FALSE, FALSE, TRUE))]
    said = [JudgedCaption("v", "x", ("a", "b", "c", "d"), (TRUE, FALSE, TRUE, "unclear"))]
    assert agreement(said, truth) == {"accuracy": 2 / 3, "precision": 1.0, "recall": 0.5}


def test_an_undecided_caption_has_no_precision_and_is_stored_without_one(tmp_path: Path) -> None:
    row = JudgedCaption("v", "x", ("a",), ("unclear",))
    path = write_judged(tmp_path / "judged-x.parquet", [row], {})
    (read,) = read_judged(path)
    assert isnan(read.precision) and isnan(read.f1) and isnan(read.recall)
    assert JudgedCaption("v", "x", (), (), recall=nan).f1 != 1
    assert means([row]) == pytest.approx(dict.fromkeys(SCORES, nan), nan_ok=True)
