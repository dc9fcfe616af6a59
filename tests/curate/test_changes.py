from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg.artefacts.forest import check_forest
from sg.artefacts.vectors import Vectors
from sg.core.errors import ConfigError, DataError
from sg.curate.changes import extend_forest, forget_videos, unit_of_forest
from sg.curate.removals import forest_of
from sg.curate.tome.merge import merge_videos
from sg.curate.tome.settings import TomeConfig
from sg.curate.videos import load_videos
from tests.curate.builders import clumpy_vectors


def curated(vectors):
    videos = load_videos(vectors, None, seed=0)
    return forest_of(videos.ids, videos.unit, merge_videos(videos, TomeConfig())[0], {"fingerprint": "old"})


def split(vectors, count):
    return Vectors(vectors.video_ids[:count], vectors.matrix[:count], {})


@pytest.fixture(scope="module")
def extended():
    everything = clumpy_vectors(260)
    old = curated(split(everything, 200))
    return everything, old, extend_forest(old, everything, 60)


def test_an_extended_forest_is_valid_and_holds_all_videos(extended):
    everything, _, new = extended
    check_forest(new, Path("here"))
    assert sorted(new.video_ids) == sorted(everything.video_ids)


def test_old_cores_lose_no_member_when_videos_are_added(extended):
    _, old, new = extended
    for size in range(61):
        assert new.core(size) == old.core(size)
    joined = sum(video_id not in old.video_ids for video_id in new.core(len(new))[60:]) - sum(
        video_id not in old.video_ids for video_id in new.video_ids[: new.video_ids.index(old.video_ids[0])]
    )
    for size in range(61, 201):
        assert set(old.core(size)) <= set(new.core(size + joined))


def test_new_videos_like_the_core_are_removed_first_and_the_others_join_it(extended):
    everything, old, new = extended
    cut = old.cut_similarity(60)
    unit = dict(zip(new.video_ids, unit_of_forest(new, everything), strict=True))
    core = np.array([unit[video_id] for video_id in old.core(60)])
    for row, video_id in enumerate(new.video_ids):
        if video_id in old.video_ids:
            continue
        nearest = float((core @ unit[video_id]).max())
        went_first = row < new.video_ids.index(old.video_ids[0])
        assert went_first == (nearest >= cut)
        assert new.similarity[row] == pytest.approx(nearest, abs=1e-6)
        assert new.video_ids[new.parent[row]] in old.core(60)


def test_extending_without_new_videos_or_without_a_cut_is_refused():
    vectors = clumpy_vectors(50)
    forest = curated(vectors)
    with pytest.raises(ConfigError, match="no video to extend"):
        extend_forest(forest, vectors, 10)
    with pytest.raises(ConfigError, match="not cut at a similarity"):
        extend_forest(forest, clumpy_vectors(60), 50)
    with pytest.raises(DataError, match="have no vector"):
        later = clumpy_vectors(60)
        extend_forest(forest, Vectors(later.video_ids[20:], later.matrix[20:], {}), 10)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.lists(st.integers(0, 59), max_size=12), st.integers(0, 3))
def test_forgetting_keeps_a_valid_forest_in_the_old_order(count, rows, seed):
    vectors = clumpy_vectors(count, seed=seed)
    forest = curated(vectors)
    gone = {vectors.video_ids[row] for row in rows if row < count}
    left = forget_videos(forest, gone)
    check_forest(left, Path("here"))
    assert set(left.video_ids) == set(forest.video_ids) - gone


def test_the_last_child_takes_the_place_of_a_deleted_video():
    vectors = clumpy_vectors(120)
    forest = curated(vectors)
    row = int(np.argmax(np.bincount(forest.parent[forest.parent >= 0], minlength=len(forest))[:-1]))
    name, children = forest.video_ids[row], np.flatnonzero(forest.parent == row)
    successor = forest.video_ids[children.max()]
    left = forget_videos(forest, [name], vectors)
    expected = [video_id for video_id in forest.video_ids if video_id != successor]
    expected[expected.index(name)] = successor
    assert left.video_ids == expected
    place = left.video_ids.index(successor)
    assert left.similarity[place] == forest.similarity[row] and left.round[place] == forest.round[row]
    assert left.video_ids[left.parent[place]] == forest.video_ids[forest.parent[row]]
    for child in children[:-1].tolist():
        position = left.video_ids.index(forest.video_ids[child])
        assert left.video_ids[left.parent[position]] == successor
    unit = unit_of_forest(left, vectors)
    merged = np.flatnonzero(left.parent >= 0)
    cosines = np.einsum("nd,nd->n", unit[merged], unit[left.parent[merged]])
    np.testing.assert_allclose(left.rep_similarity[merged], cosines, atol=1e-6)


def test_a_forgotten_leaf_changes_nothing_else():
    forest = curated(clumpy_vectors(80))
    leaf = next(row for row in range(len(forest)) if forest.size[row] == 1)
    left = forget_videos(forest, [forest.video_ids[leaf]])
    assert left.video_ids == [video_id for video_id in forest.video_ids if video_id != forest.video_ids[leaf]]
    np.testing.assert_array_equal(left.similarity, np.delete(forest.similarity, leaf))


def test_an_unknown_video_is_not_forgotten():
    forest = curated(clumpy_vectors(10))
    with pytest.raises(ConfigError, match="'stranger' is not a video"):
        forget_videos(forest, ["stranger"])


def test_everything_can_be_forgotten():
    forest = curated(clumpy_vectors(10))
    assert len(forget_videos(replace(forest), forest.video_ids)) == 0
