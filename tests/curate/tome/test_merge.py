from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg.artefacts.forest import check_forest
from sg.artefacts.vectors import Vectors
from sg.core.errors import ConfigError
from sg.curate.removals import forest_of
from sg.curate.tome.merge import merge_videos
from sg.curate.tome.settings import TomeConfig
from sg.curate.videos import load_videos
from tests.curate.builders import clumpy_vectors, clumpy_videos
from tests.curate.tome import goldens as tome_goldens


def merge_golden(golden, **settings):
    ids = [str(video_id) for video_id in golden["video_id"]]
    captions = None
    if "caption_length" in golden:
        captions = {video_id: "x" * int(n) for video_id, n in zip(ids, golden["caption_length"], strict=True)}
    config = TomeConfig(
        seed=golden["hash_seed"],
        max_merge_fraction=golden["max_merge_fraction"],
        metric=golden["metric"],
        survivor=golden["survivor"],
        n_min=golden["n_min"],
        collapse_exact=False,
        **settings,
    )
    vectors = Vectors(ids, golden["x"], {})
    videos = load_videos(vectors, captions, seed=config.seed, dtype=config.dtype)
    removals, rounds = merge_videos(videos, config)
    row_of = np.array([ids.index(video_id) for video_id in videos.ids])
    return videos, removals, rounds, row_of


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", tome_goldens.FORESTS)
def test_the_merge_forest_equals_the_golden_one(name, dtype):
    golden = tome_goldens.load(name)
    count = len(golden["x"])
    videos, removals, rounds, row_of = merge_golden(golden, dtype=dtype)

    np.testing.assert_array_equal(videos.keys, golden["key"][row_of])
    video, into = row_of[removals.video], np.where(removals.into < 0, -1, row_of[removals.into])
    removed_at = np.empty(count, np.int64)
    removed_at[video] = np.arange(count)
    np.testing.assert_array_equal(removed_at, golden["removed_at"])
    np.testing.assert_array_equal(into, golden["merged_into_row"][video])
    np.testing.assert_array_equal(np.where(removals.round < 0, -1, removals.round), golden["round"][video])
    np.testing.assert_allclose(removals.similarity, golden["similarity"][video], atol=1e-6)
    log = [(r.round, r.sources, r.targets, r.merges) for r in rounds]
    np.testing.assert_array_equal(log, golden["rounds_t_na_nb_r"])
    np.testing.assert_allclose([r.cut for r in rounds], golden["round_cut"], atol=1e-6)
    for n in (400, 200, 100, 50):
        if f"core_rows_{n}" in golden:
            np.testing.assert_array_equal(np.sort(video[count - n :]), golden[f"core_rows_{n}"])


@st.composite
def curations(draw):
    """Some videos with captions, and a config that is valid for them."""
    config = TomeConfig(
        seed=draw(st.integers(0, 3)),
        max_merge_fraction=draw(st.sampled_from([0.05, 0.25, 0.5, 1.0])),
        n_min=draw(st.sampled_from([1, 2, 7])),
        survivor=draw(st.sampled_from(["medoid", "longest_caption", "dst"])),
        metric=draw(st.sampled_from(["mean", "survivor"])),
        max_cluster_size=draw(st.sampled_from([None, 2, 5])),
        min_similarity=draw(st.sampled_from([None, 0.5, 0.99])),
        collapse_exact=draw(st.booleans()),
    )
    vectors = clumpy_vectors(draw(st.integers(1, 90)), seed=draw(st.integers(0, 5)))
    captions = {video_id: "x" * (number % 7) for number, video_id in enumerate(vectors.video_ids)}
    return load_videos(vectors, captions, seed=config.seed), config


@settings(deadline=None, max_examples=60)
@given(curations())
def test_every_run_gives_a_valid_forest(curation):
    videos, config = curation
    removals, rounds = merge_videos(videos, config)
    forest = forest_of(videos.ids, videos.unit, removals, {})
    check_forest(forest, Path("here"))
    assert sorted(removals.video) == list(range(len(videos)))
    assert sum(record.merges for record in rounds) + (removals.round == -1).sum() == (removals.into >= 0).sum()
    survivors = int((removals.into < 0).sum())
    if config.max_cluster_size is None and config.min_similarity is None:
        collapsed = len(np.unique(videos.family)) if config.collapse_exact else len(videos)
        assert survivors == min(config.n_min, collapsed)
    if config.min_similarity is not None:
        assert (removals.similarity[removals.into >= 0] >= config.min_similarity).all()
    merged = removals.round >= 0
    for number in np.unique(removals.round[merged]):
        scores = removals.similarity[removals.round == number]
        assert (np.diff(scores) <= 0).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 80), st.integers(0, 5))
def test_clusters_stay_within_their_largest_size(count, seed):
    videos = clumpy_videos(count, seed=seed)
    config = TomeConfig(max_cluster_size=4, collapse_exact=False)
    removals, _ = merge_videos(videos, config)
    forest = forest_of(videos.ids, videos.unit, removals, {})
    survivors = int((removals.into < 0).sum())
    assert max(len(members) for members in forest.clusters(survivors).values()) <= 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_few_videos_are_merged(count):
    videos = clumpy_videos(count)
    removals, _ = merge_videos(videos, TomeConfig())
    assert len(removals) == count
    assert (removals.into < 0).sum() == 1


def test_without_videos_there_is_no_removal():
    removals, rounds = merge_videos(clumpy_videos(0), TomeConfig())
    assert len(removals) == 0 and rounds == []


def videos_of(matrix, order="hashed"):
    ids = [f"v{number:03d}" for number in range(len(matrix))]
    return load_videos(Vectors(ids, np.asarray(matrix, np.float32), {}), None, seed=0, order=order)


@pytest.mark.parametrize("collapse", [True, False])
def test_equal_vectors_merge_into_one_cluster(collapse):
    videos = videos_of(np.tile([3.0, 4.0, 0.0], (40, 1)))
    removals, _ = merge_videos(videos, TomeConfig(collapse_exact=collapse))
    assert (removals.into < 0).sum() == 1
    np.testing.assert_allclose(removals.similarity[:-1], 1.0, atol=1e-12)
    # Equal centrality and no captions: the lowest key stays.
    assert removals.video[-1] == 0


def test_orthogonal_vectors_tie_at_zero_and_merge_in_key_order():
    removals, rounds = merge_videos(videos_of(np.eye(12)), TomeConfig(n_min=10))
    assert sum(record.merges for record in rounds) == 2
    assert removals.similarity[0] == 0.0


def test_exact_duplicates_are_removed_first_and_the_longest_caption_stays():
    vectors = clumpy_vectors(30)
    vectors.matrix[[4, 9, 17]] = vectors.matrix[3]
    captions = {"video-00009": "the longest caption", "video-00004": "short"}
    videos = load_videos(vectors, captions, seed=0)
    removals, _ = merge_videos(videos, TomeConfig())
    forest = forest_of(videos.ids, videos.unit, removals, {})
    collapsed = [video_id for video_id, number in zip(forest.video_ids, forest.round, strict=True) if number == -1]
    assert {"video-00003", "video-00004", "video-00017"} <= set(collapsed)
    assert "video-00009" not in collapsed
    assert collapsed == forest.video_ids[: len(collapsed)]
    assert "video-00004" in forest.clusters(len(forest) - len(collapsed))["video-00009"]


def test_the_order_of_the_files_does_not_matter():
    vectors = clumpy_vectors(300)
    shuffled = np.random.default_rng(1).permutation(300)
    other = Vectors([vectors.video_ids[row] for row in shuffled], vectors.matrix[shuffled], {})
    first, second = (load_videos(given, None, seed=0) for given in (vectors, other))
    one, two = merge_videos(first, TomeConfig())[0], merge_videos(second, TomeConfig())[0]
    assert first.ids == second.ids
    np.testing.assert_array_equal(one.video, two.video)
    np.testing.assert_array_equal(one.into, two.into)
    np.testing.assert_array_equal(one.similarity, two.similarity)


def test_one_more_video_does_not_reshuffle_the_rest():
    vectors = clumpy_vectors(400)
    fewer = Vectors(vectors.video_ids[:-1], vectors.matrix[:-1], {})
    cores = []
    for given_vectors in (vectors, fewer):
        videos = load_videos(given_vectors, None, seed=0)
        removals, _ = merge_videos(videos, TomeConfig())
        cores.append({videos.ids[row] for row in removals.video[-200:]})
    assert len(cores[0] & cores[1]) >= 190


@pytest.mark.parametrize(
    "other",
    [
        {"dtype": "float64"},
        {"block_rows": 37, "block_columns": 101},
        {"matcher": "projected", "projected_dims": 4},
        {"matcher": "cells", "exact_below": 2, "rows_per_cell": 40, "probed_cells": 1000},
    ],
)
def test_precision_blocks_and_matchers_do_not_change_the_result(other, monkeypatch):
    monkeypatch.setattr("sg.curate.matching.matchers._WORTH_A_BOUND", 1)
    removals, _ = merge_videos(clumpy_videos(1200), TomeConfig())
    videos = clumpy_videos(1200, dtype=other.get("dtype", "float32"))
    again, _ = merge_videos(videos, TomeConfig(**other))
    np.testing.assert_array_equal(again.video, removals.video)
    np.testing.assert_array_equal(again.into, removals.into)
    np.testing.assert_allclose(again.similarity, removals.similarity, atol=1e-6)


def test_cells_record_how_often_they_agree_with_the_exact_match():
    config = TomeConfig(matcher="cells", exact_below=500, rows_per_cell=20, probed_cells=2, verify_sample=50)
    _, rounds = merge_videos(clumpy_videos(1200), config)
    assert rounds[0].agreement is not None and 0.5 < rounds[0].agreement <= 1
    assert rounds[-1].agreement is None


@pytest.mark.parametrize(("name", "steps"), [("ladder_n1060", 1), ("ladder_split4_n1060", 4)])
def test_the_literal_reading_gives_the_clusters_of_the_original_sizes(name, steps):
    golden = tome_goldens.load(name)
    videos = videos_of(golden["x"], order="reference")
    config = TomeConfig(
        order="reference",
        collapse_exact=False,
        max_merge_fraction=0.5,
        rungs=[400, 200, 100, 50],
        rounds_per_rung=steps,
        survivor="dst",
    )
    removals, rounds = merge_videos(videos, config)
    forest = forest_of(videos.ids, videos.unit, removals, {})
    assert [record.merges for record in rounds] == golden["r_effective"].tolist()
    for number, size in enumerate(golden["n_after"].tolist()):
        clusters = forest.clusters(size).values()
        expected: dict[int, set[str]] = {}
        for video_id, token in zip(videos.ids, golden[f"assign_{number}"].tolist(), strict=True):
            expected.setdefault(token, set()).add(video_id)
        assert {frozenset(members) for members in clusters} == {frozenset(group) for group in expected.values()}


def test_centring_removes_what_all_videos_share():
    vectors = clumpy_vectors(200)
    vectors.matrix[:] += 40 * np.ones(16, np.float32)
    videos = load_videos(vectors, None, seed=0, center=True)
    assert np.abs(videos.unit.mean(axis=0)).max() < 0.2
    with pytest.raises(ConfigError, match="leaves no direction"):
        load_videos(Vectors(["a", "b"], np.ones((2, 3), np.float32), {}), None, seed=0, center=True)


@pytest.mark.parametrize(
    ("settings_", "what"),
    [
        ({"max_merge_fraction": 0.0}, "max_merge_fraction"),
        ({"survivor": "best"}, "medoid, longest_caption, dst"),
        ({"order": "reference"}, "collapse_exact"),
        ({"order": "shuffled", "collapse_exact": False, "matcher": "cells"}, "needs the score of every row"),
        ({"rungs": [100, 200]}, "should be falling"),
        ({"seed": -1}, "seed=-1"),
        ({"n_min": 0}, "n_min=0"),
        ({"min_similarity": 3.0}, "is a cosine"),
        ({"max_cluster_size": 1}, "at least 2"),
    ],
)
def test_impossible_settings_are_refused(settings_, what):
    with pytest.raises(ConfigError, match=what):
        TomeConfig(**settings_)
