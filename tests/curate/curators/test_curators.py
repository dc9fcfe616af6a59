from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg.artefacts.forest import check_forest
from sg.core.errors import ConfigError
from sg.core.identity import identity
from sg.curate.clustering import nearest_centres, rank_in_group, spherical_kmeans
from sg.curate.curators.d4 import D4Config
from sg.curate.curators.dbp import DbpConfig, entry_sizes
from sg.curate.curators.hierarchical_kmeans import HierarchicalKMeansConfig
from sg.curate.curators.kmeans import KMeansConfig, quotas
from sg.curate.curators.longest_caption import LongestCaptionConfig
from sg.curate.curators.random import RandomConfig
from sg.curate.curators.semdedup import SemDedupConfig
from sg.curate.curators.ssl_prototypes import PrototypesConfig
from sg.curate.videos import load_videos
from tests.curate.builders import clumpy_matrix, clumpy_vectors, clumpy_videos, curated_forest

ALL = [
    RandomConfig(),
    LongestCaptionConfig(),
    KMeansConfig(),
    KMeansConfig(largest_flat=8),
    SemDedupConfig(),
    SemDedupConfig(keep="random"),
    PrototypesConfig(),
    D4Config(),
    DbpConfig(),
    HierarchicalKMeansConfig(levels=[40, 8, 2]),
]


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)
@pytest.mark.parametrize("count", [1, 2, 3, 47, 400])
def test_every_curator_orders_all_videos_and_repeats_its_order(config, count):
    videos = clumpy_videos(count)
    forest = curated_forest(config, videos)
    check_forest(forest, Path("here"))
    assert sorted(forest.video_ids) == sorted(videos.ids)
    assert curated_forest(config, videos).content_hash == forest.content_hash


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)
def test_the_name_of_a_curator_does_not_name_its_forest(config):
    names = {identity("curation", settings=one, version=1).name for one in (config, replace(config, name="other"))}
    assert len(names) == 1


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)
def test_no_curator_depends_on_the_order_of_the_file(config):
    vectors = clumpy_vectors(200)
    turned = type(vectors)(vectors.video_ids[::-1], vectors.matrix[::-1].copy(), {})
    hashes = {curated_forest(config, load_videos(given_, None, seed=0)).content_hash for given_ in (vectors, turned)}
    assert len(hashes) == 1


def test_a_random_core_keeps_its_order_when_videos_are_added():
    vectors = clumpy_vectors(300)
    fewer = type(vectors)(vectors.video_ids[:200], vectors.matrix[:200], {})
    all_ids = curated_forest(RandomConfig(), load_videos(vectors, None, seed=0)).video_ids
    kept = [video_id for video_id in all_ids if video_id in set(fewer.video_ids)]
    assert curated_forest(RandomConfig(), load_videos(fewer, None, seed=0)).video_ids == kept


def test_random_seeds_draw_different_cores():
    vectors = clumpy_vectors(300)
    cores = [set(curated_forest(RandomConfig(), load_videos(vectors, None, seed=seed)).core(100)) for seed in (0, 1)]
    assert 15 < len(cores[0] & cores[1]) < 55


def test_the_longest_captions_stay():
    vectors = clumpy_vectors(50)
    captions = {video_id: "x" * (number + 1) for number, video_id in enumerate(vectors.video_ids)}
    forest = curated_forest(LongestCaptionConfig(), load_videos(vectors, captions, seed=0))
    assert set(forest.core(10)) == set(vectors.video_ids[40:])


def test_longest_caption_without_captions_is_a_clear_error():
    with pytest.raises(ConfigError, match="needs captions"):
        curated_forest(LongestCaptionConfig(), clumpy_videos(5), captions=None)


def test_kmeans_keeps_one_video_of_each_cluster():
    rng = np.random.default_rng(0)
    matrix = np.repeat(np.eye(8, 16), 10, axis=0) + 0.01 * rng.normal(size=(80, 16))
    vectors = clumpy_vectors(80)
    vectors.matrix[:] = matrix
    config = KMeansConfig(rungs=[8], rungs_of=80, steps=30, seed=5)
    forest = curated_forest(config, load_videos(vectors, None, seed=0))
    clumps = {int(video_id[-5:]) // 10 for video_id in forest.core(8)}
    # A random start may put two centres into one clump and leave another without.
    assert len(clumps) >= 5
    assert all(len(members) >= 1 for members in forest.clusters(8).values())


def test_semdedup_removes_the_closest_pairs_first_and_names_the_partner():
    vectors = clumpy_vectors(60)
    vectors.matrix[1] = vectors.matrix[0]
    vectors.matrix[3] = vectors.matrix[2] + np.float32(0.001)
    videos = load_videos(vectors, None, seed=0)
    forest = curated_forest(SemDedupConfig(cells=1), videos)
    merged = forest.similarity[~np.isnan(forest.similarity)]
    assert (np.diff(merged) <= 0).all()
    exact = {frozenset((forest.video_ids[row], forest.video_ids[forest.parent[row]])) for row in range(15)}
    assert frozenset(("video-00000", "video-00001")) in exact


@pytest.mark.parametrize(("keep", "wins"), [("hard", np.less), ("easy", np.greater)])
def test_prototypes_keep_the_farthest_or_the_nearest_videos(keep, wins):
    videos = clumpy_videos(400)
    config = PrototypesConfig(cells=5, keep=keep)
    centres = spherical_kmeans(videos.unit, 5, seed=0, steps=10, sample=5 * 256)
    _, cosine = nearest_centres(videos.unit, centres)
    kept = np.isin(videos.ids, curated_forest(config, videos).core(100))
    assert wins(cosine[kept].mean(), cosine[~kept].mean())


def test_d4_starts_like_semdedup():
    videos = clumpy_videos(400)
    d4, semdedup = curated_forest(D4Config(dedup_share=0.75), videos), curated_forest(SemDedupConfig(), videos)
    assert d4.video_ids[:100] == semdedup.video_ids[:100]
    assert d4.video_ids[100:] != semdedup.video_ids[100:]


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 9))
def test_quotas_of_cells_are_met_at_every_size(sizes, seed):
    sizes = np.array(sizes)
    cell = np.repeat(np.arange(len(sizes)), sizes)
    weight = np.random.default_rng(seed).random(len(sizes)) * (sizes > 0)
    if not len(cell) or not weight.sum():
        return
    weight = weight / weight.sum()
    entry = entry_sizes(weight, sizes, cell, rank_in_group(cell, np.zeros(len(cell))))
    for size in range(1, len(cell) + 1):
        # The quotas by bisection: x = min(sizes, n weight + shift), with the shift that makes them sum to n.
        low, high = 0.0, float(len(cell)) + 1
        for _ in range(80):
            middle = (low + high) / 2
            total = np.minimum(sizes, size * weight + middle)[sizes > 0].sum()
            low, high = (middle, high) if total < size else (low, middle)
        quota = np.minimum(sizes, size * weight + low)
        taken = np.bincount(cell[entry <= size + 1e-6], minlength=len(sizes))
        assert (np.abs(taken - quota) < 1 + 1e-3).all()


def test_balanced_sampling_gives_rare_concepts_as_many_videos():
    rng = np.random.default_rng(0)
    counts = [300, 60, 20, 20]
    centres = np.eye(4, 16)
    matrix = np.concatenate([centres[topic] + 0.05 * rng.normal(size=(n, 16)) for topic, n in enumerate(counts)])
    vectors = clumpy_vectors(400)
    vectors.matrix[:] = matrix
    config = HierarchicalKMeansConfig(levels=[40, 8, 4])
    forest = curated_forest(config, load_videos(vectors, None, seed=0))
    borders = np.cumsum(counts)
    topics = np.searchsorted(borders, [int(video_id[-5:]) for video_id in forest.core(40)], side="right")
    assert np.bincount(topics, minlength=4).min() >= 4
    random_core = curated_forest(RandomConfig(), load_videos(vectors, None, seed=0)).core(40)
    random_topics = np.searchsorted(borders, [int(video_id[-5:]) for video_id in random_core], side="right")
    assert np.bincount(topics, minlength=4).min() > np.bincount(random_topics, minlength=4).min()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9), st.integers(0, 200))
def test_quotas_share_the_total_without_loss(sizes, total):
    shares = quotas(np.array(sizes), total)
    if sum(sizes):
        assert shares.sum() == total
        assert (np.abs(shares - np.array(sizes) * total / sum(sizes)) < 1).all()


def test_kmeans_steps_raise_the_cosine_to_the_centres():
    unit = clumpy_matrix(600)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    means = [nearest_centres(unit, spherical_kmeans(unit, 9, seed=0, steps=steps))[1].mean() for steps in (0, 1, 3, 10)]
    assert means == sorted(means)
    assert means[-1] > means[0]


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: SemDedupConfig(keep="all"), "keep='all'"),
        (lambda: D4Config(dedup_share=0.0), "dedup_share"),
        (lambda: HierarchicalKMeansConfig(levels=[]), "levels"),
        (lambda: HierarchicalKMeansConfig(levels=[10, 0]), "levels"),
        (lambda: KMeansConfig(rungs=[600]), "should be falling"),
        (lambda: DbpConfig(temperature=0.0), "temperature"),
        (lambda: RandomConfig(seed=2**64), "seed"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, what):
    with pytest.raises(ConfigError, match=what):
        make()
