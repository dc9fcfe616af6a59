"""The sets of videos: sizes, near duplicates, and a benchmark without scenes of the training sets."""

from collections import Counter

from sg.demo.config import DemoWorldConfig
from sg.demo.corpus import make_world, scenes_of
from sg.demo.language import KINDS
from sg.demo.world import ACTIONS

SMALL = DemoWorldConfig(videos_per_k=2, align_clips=50, instruct_clips=40, benchmark_videos=32)


def test_the_same_config_makes_the_same_world_and_another_seed_another_one() -> None:
    assert make_world(SMALL) == make_world(SMALL)
    other = DemoWorldConfig(world_seed=1, videos_per_k=2, align_clips=50, instruct_clips=40, benchmark_videos=32)
    assert make_world(SMALL).corpus != make_world(other).corpus


def test_sizes_are_as_configured() -> None:
    world = make_world(SMALL)
    assert (len(world.corpus), len(world.align), len(world.instruct)) == (1060, 50, 40)
    assert Counter(item.video.spec.duration for item in world.benchmark) == {"short": 32, "medium": 32, "long": 32}
    assert all(len(item.questions) == 3 for item in world.benchmark)
    ids = [video.video_id for video in world.videos]
    assert len(set(ids)) == len(ids)


def test_the_corpus_has_near_duplicates_and_a_long_tail() -> None:
    corpus = make_world(SMALL).corpus
    families = Counter(video.family for video in corpus)
    assert len(families) == round(0.45 * len(corpus))
    assert families.most_common(1)[0][1] > 15
    actions = Counter(actor.action for video in corpus for actor in video.spec.actors)
    assert len(actions) == len(ACTIONS)
    assert max(actions.values()) > 5 * min(actions.values())


def test_the_benchmark_shows_no_scene_of_the_training_sets() -> None:
    world = make_world(SMALL)
    assert scenes_of(world.training_videos).isdisjoint(scenes_of(item.video for item in world.benchmark))


def test_no_other_set_shows_a_scene_of_the_held_out_videos() -> None:
    world = make_world(SMALL)
    others = [*world.training_videos, *(item.video for item in world.benchmark)]
    assert scenes_of(others).isdisjoint(scenes_of(world.held_out))
    specs = [video.spec for video in world.held_out]
    assert len(set(specs)) == len(specs) == 150


def test_the_kinds_of_questions_are_equally_frequent_in_the_benchmark() -> None:
    world = make_world(SMALL)
    kinds = Counter(question.kind for item in world.benchmark for question in item.questions)
    # Short videos have one scene, so that questions about order become questions about the place.
    assert all(kinds[kind] == 36 for kind in KINDS if kind not in ("order", "scene"))
    assert kinds["order"] + kinds["scene"] == 72


def test_half_of_the_instruct_dialogs_have_subtitles() -> None:
    with_cues = sum(bool(item.cues) for item in make_world(SMALL).instruct)
    # Half may have them; of those a few have no mentioned actor.
    assert 12 <= with_cues <= 20
