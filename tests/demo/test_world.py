"""The values of the demo world and their frequencies."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sg.demo.world import (
    CELLS,
    COLOURS,
    DURATIONS,
    UNIFORM,
    VALUES,
    VideoSpec,
    draw_video,
    vary_one_attribute,
    zipf_law,
)

seeds = st.integers(0, 2**32)


@given(seeds, st.sampled_from(sorted(DURATIONS)))
def test_colours_shapes_and_cells_are_unique_in_a_scene_and_backgrounds_in_a_video(seed: int, duration: str) -> None:
    spec = draw_video(random.Random(seed), zipf_law(3), duration)
    assert spec.duration == duration
    assert len({scene.background for scene in spec.scenes}) == len(spec.scenes)
    for scene in spec.scenes:
        for name in ("colour", "shape", "cell"):
            assert len({getattr(actor, name) for actor in scene.actors}) == len(scene.actors)
        cells = [CELLS.index(actor.cell) for actor in scene.actors]
        assert cells == sorted(cells)


@given(seeds)
def test_a_spec_is_the_same_after_json(seed: int) -> None:
    spec = draw_video(random.Random(seed), UNIFORM, "long")
    assert VideoSpec.from_json(spec.to_json()) == spec


@given(seeds)
def test_a_varied_copy_differs_in_one_action_or_texture_at_most(seed: int) -> None:
    rng = random.Random(seed)
    spec = draw_video(rng, UNIFORM, "medium")
    copy = vary_one_attribute(rng, UNIFORM, spec)
    changed = [
        name
        for before, after in zip(spec.actors, copy.actors, strict=True)
        for name in ("texture", "colour", "shape", "action", "cell")
        if getattr(before, name) != getattr(after, name)
    ]
    assert changed in ([], ["action"], ["texture"])


def test_a_larger_exponent_makes_most_values_rare_and_0_all_equal() -> None:
    for name, values in (("colour", 12), ("shape", 16), ("action", 10)):
        rare = sum(weight < 0.02 for weight in zipf_law(3, 2.2).weights[name].values())
        assert rare >= values / 2 > sum(weight < 0.02 for weight in zipf_law(3).weights[name].values())
    assert len(set(zipf_law(3, 0.0).weights["shape"].values())) == 1


def test_values_follow_their_law() -> None:
    law, rng = zipf_law(7), random.Random(0)
    drawn = Counter(law.draw(rng, "colour") for _ in range(20_000))
    for colour in COLOURS:
        # The standard error of a fraction is below 0.0035 at 20,000 draws.
        assert abs(drawn[colour] / 20_000 - law.weights["colour"][colour]) < 0.015
    assert max(law.weights["colour"].values()) / min(law.weights["colour"].values()) > 11


def test_worlds_differ_in_which_values_are_common() -> None:
    favourites = {max(zipf_law(seed).weights["shape"].items(), key=lambda item: item[1])[0] for seed in range(8)}
    assert len(favourites) > 2


def test_no_word_belongs_to_two_attributes() -> None:
    words = [word for values in VALUES.values() for word in values]
    assert len(words) == len(set(words))
