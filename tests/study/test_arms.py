from dataclasses import replace

import pytest

from sg.artefacts.arms import ARM_KINDS, SHUFFLED_CAPTIONS, check_controls
from sg.core.errors import ConfigError
from sg.study.arms import ArmSamples, CaptionPool, arm_samples, register_arm
from sg.study.planning.plan import plan_run
from tests.repository.test_configs import composed

CAPTIONS = {f"v{number:03d}": f"caption {number}" for number in range(100)}


def pool(control: str, core: int = 40, *overrides: str, seed: int = 0) -> CaptionPool:
    scale = f"data.scale={core * 100}"  # demo: ten videos per thousand
    config = composed(scale, f"data.control={control}", "data.control_scale=10000", f"seed={seed}", *overrides)
    videos = list(CAPTIONS)
    return CaptionPool(config, videos[:core], videos, lambda chosen: {video: CAPTIONS[video] for video in chosen})


def test_the_headline_trains_on_the_captions_of_its_core() -> None:
    samples = arm_samples(pool("none", 40, "stage.caption.epochs=3"))
    assert samples == ArmSamples({video: CAPTIONS[video] for video in list(CAPTIONS)[:40]}, 120)


def test_equal_steps_repeats_the_core_to_the_samples_of_the_larger_scale() -> None:
    samples = arm_samples(pool("equal_steps", 40, "stage.caption.epochs=2"))
    assert samples.captions == arm_samples(pool("none")).captions
    assert samples.num_draws == 200


def test_random_takes_as_many_other_videos_nested_over_the_scales() -> None:
    small, large = arm_samples(pool("random", 10)), arm_samples(pool("random", 40))
    assert len(small.captions) == 10
    assert small.captions.keys() < large.captions.keys()
    assert small.captions.keys() != arm_samples(pool("random", 10, seed=1)).captions.keys()


def test_shuffled_captions_keep_videos_captions_and_steps_but_no_pair() -> None:
    own, shuffled = arm_samples(pool("none")), arm_samples(pool("shuffled_captions"))
    assert shuffled.captions.keys() == own.captions.keys()
    assert sorted(shuffled.captions.values()) == sorted(own.captions.values())
    assert not any(own.captions[video] == caption for video, caption in shuffled.captions.items())
    assert shuffled.num_draws == own.num_draws
    assert shuffled.captions != arm_samples(pool("shuffled_captions", seed=1)).captions


def test_instruct_steps_moves_the_steps_of_the_caption_stage_to_the_instruct_stage() -> None:
    samples = arm_samples(pool("instruct_steps", 40, "stage.caption.batch_size=16", "stage.caption.epochs=2"))
    assert samples == ArmSamples({}, 0, 5)


def test_the_plan_of_instruct_steps_has_no_caption_stage_and_as_many_steps() -> None:
    places = ("paths.work=nowhere/work", "paths.runs=nowhere/runs")
    none, moved = (
        {stage.stage.name: stage.steps for stage in plan_run(composed("data.scale=530k", *places, *more), "run")}
        for more in ([], ["data.control=instruct_steps"])
    )
    assert "caption" not in moved
    assert sum(filter(None, moved.values())) == sum(filter(None, none.values()))


def test_an_unknown_arm_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="shuffled_captions"):
        composed("data.control=shufled")
    with pytest.raises(ConfigError, match="equal_steps_series"):
        check_controls(["none"])


def test_a_plugin_adds_an_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARM_KINDS, "twice", ARM_KINDS[SHUFFLED_CAPTIONS])
    kind = replace(ARM_KINDS[SHUFFLED_CAPTIONS], label="twice")
    register_arm("twice", kind, lambda pool: replace(pool.whole(pool.core), num_draws=2 * len(pool.core)))
    assert arm_samples(pool("twice")).num_draws == 80
