import numpy as np
import pytest
import tome_goldens

from sg.artefacts.vectors import Vectors
from sg.curate.config import TomeConfig
from sg.curate.tome import merge_videos
from sg.curate.videos import load_videos


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
