import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from sg.artefacts.vectors import Vectors
from sg.core.errors import DataError
from sg.curate.changes import unit_of_forest
from sg.curate.curators.random import RandomConfig
from sg.curate.describe.contamination import contamination
from sg.curate.describe.embedding_map import principal_plane
from sg.curate.describe.export import export_core
from sg.curate.describe.statistics import StatisticsSettings, core_statistics
from sg.curate.tome.settings import TomeConfig
from sg.curate.videos import load_videos
from tests.curate.builders import clumpy_vectors, curated_forest

VECTORS = clumpy_vectors(500)


def curated(config):
    videos = load_videos(VECTORS, None, seed=0)
    forest = curated_forest(config, videos)
    return forest, unit_of_forest(forest, VECTORS)


@pytest.fixture(scope="module")
def tome():
    return curated(TomeConfig())


def test_coverage_and_duplicates_equal_those_of_brute_force(tome):
    forest, unit = tome
    core = core_statistics(forest, unit, [100], StatisticsSettings())["cores"][0]
    inside = unit[-100:]
    nearest = (unit @ inside.T).max(axis=1)
    assert core["coverage"]["mean"] == pytest.approx(nearest.mean(), abs=1e-5)
    assert core["coverage"]["p1"] == pytest.approx(np.quantile(nearest, 0.01), abs=1e-5)
    others = inside @ inside.T
    np.fill_diagonal(others, -1)
    assert core["duplicates"] == pytest.approx((others.max(axis=1) > 0.95).mean(), abs=1e-6)


def test_clusters_are_described(tome):
    forest, unit = tome
    core = core_statistics(forest, unit, [50], StatisticsSettings(listed=5))["cores"][0]
    clusters = forest.clusters(50)
    sizes = sorted(map(len, clusters.values()))
    assert core["clusters"]["largest"] == sizes[-1]
    assert core["clusters"]["singletons"] == sizes.count(1)
    assert core["clusters"]["assigned"] == 500
    assert sum(number for _, number in core["clusters"]["histogram"]) == 50
    assert core["cut_similarity"] == pytest.approx(forest.cut_similarity(50), abs=1e-6)
    row = {video_id: position for position, video_id in enumerate(forest.video_ids)}
    worst = core["least_alike"][0]
    members = clusters[worst["survivor"]]
    cosines = [float(unit[row[name]] @ unit[row[worst["survivor"]]]) for name in members]
    assert worst["similarity"] == pytest.approx(min(cosines), abs=1e-5)
    assert worst["size"] == len(members)
    assert len({entry["survivor"] for entry in core["least_alike"]}) == 5
    assert core["at_the_cut"][0]["video_id"] == forest.video_ids[449]


def test_tome_keeps_more_families_and_fewer_duplicates_than_a_draw(tome):
    forest, unit = tome
    first: dict[bytes, int] = {}
    families = {
        video_id: first.setdefault(row.tobytes(), number)
        for number, (video_id, row) in enumerate(zip(VECTORS.video_ids, VECTORS.matrix, strict=True))
    }
    result = core_statistics(forest, unit, [450, 100], StatisticsSettings(), families=families)
    assert [core["size"] for core in result["cores"]] == [100, 450]
    large = result["cores"][1]
    assert large["families"] == result["families"] == 450 or large["families"] > large["random"]["families"]
    assert large["duplicates"] < large["random"]["duplicates"]


def test_a_sample_represents_all_videos(tome):
    forest, unit = tome
    everything = core_statistics(forest, unit, [100], StatisticsSettings())
    sampled = core_statistics(forest, unit, [100], StatisticsSettings(sample=100))
    assert sampled["sample"] == 100
    means = [result["cores"][0]["coverage"]["mean"] for result in (everything, sampled)]
    assert means[0] == pytest.approx(means[1], abs=0.03)


def test_the_statistics_are_plain_json_even_for_curators_without_clusters():
    forest, unit = curated(RandomConfig())
    sources = {video_id: "left" if number % 2 else "right" for number, video_id in enumerate(VECTORS.video_ids)}
    result = core_statistics(forest, unit, [1, 100, 500, 9000], StatisticsSettings(), sources=sources)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert [core["size"] for core in result["cores"]] == [1, 100, 500]
    core = result["cores"][1]
    assert core["survivor_similarity"] is None and core["cut_similarity"] is None
    assert core["coverage"] == core["random"]["coverage"]
    assert sum(core["sources"].values()) == pytest.approx(1)
    assert result["removal_curve"] == []


def test_the_removal_curve_ends_with_the_last_merge(tome):
    forest, unit = tome
    curve = core_statistics(forest, unit, [], StatisticsSettings())["removal_curve"]
    assert curve[0][0] == 499 and curve[-1][0] == 1
    assert len(curve) <= 400


def test_benchmark_videos_in_the_corpus_are_found(tome):
    forest, unit = tome
    alone = int(np.flatnonzero(forest.similarity < 0.9)[0])  # no duplicate of it is left in the core
    rows = [alone, 490]
    copies = np.concatenate([unit[rows], np.random.default_rng(0).normal(size=(3, 16))]).astype(np.float32)
    benchmark = Vectors([f"question-{number}" for number in range(5)], copies, {})
    result = contamination(forest, unit, benchmark, [5, 100, 500], StatisticsSettings(near_duplicate=0.99999))
    assert result["benchmark_videos"] == 5
    assert result["cores"] == {"5": 0, "100": 1, "500": 2}
    found = {pair["benchmark_id"]: pair for pair in result["closest"]}
    assert found["question-1"]["video_id"] == forest.video_ids[490]
    assert found["question-1"]["gone_below"] == 9
    with pytest.raises(DataError, match="dim 2"):
        contamination(forest, unit, Vectors(["a"], np.ones((1, 2), np.float32), {}), [5], StatisticsSettings())


def test_a_core_is_exported_as_text_and_parquet(tome, tmp_path):
    forest, _ = tome
    text, table = export_core(forest, 40, tmp_path)
    assert text.read_text().splitlines() == forest.core(40)
    columns = pq.read_table(table).to_pydict()
    assert columns["video_id"] == columns["cluster_id"] == forest.core(40)
    clusters = forest.clusters(40)
    assert columns["cluster_size"] == [len(clusters[name]) for name in forest.core(40)]


def test_the_merges_on_both_sides_of_a_cut_are_named(tome):
    forest, unit = tome
    core = core_statistics(forest, unit, [50], StatisticsSettings(listed=5))["cores"][0]
    assert [pair["video_id"] for pair in core["at_the_cut"]] == forest.video_ids[449:444:-1]
    assert [pair["video_id"] for pair in core["beyond_the_cut"]] == forest.video_ids[450:455]
    assert {pair["merged_into"] for pair in core["beyond_the_cut"]} <= set(forest.core(50))


def test_similarities_are_counted_in_bins_that_hold_all_of_them(tome):
    forest, unit = tome
    result = core_statistics(forest, unit, [50], StatisticsSettings())
    merged = forest.similarity[~np.isnan(forest.similarity)]
    bars = result["merge_similarity"]
    assert bars[-1][0] == 0.98 and sum(share for _, share in bars) == pytest.approx(1, abs=1e-4)
    assert bars[-1][1] == pytest.approx((merged >= 0.98).mean(), abs=1e-6)
    core = result["cores"][0]
    assert sum(share for _, share in core["coverage_histogram"]) == pytest.approx(1, abs=1e-4)
    assert core["random"]["coverage_histogram"] != core["coverage_histogram"]


def test_the_map_states_the_smallest_core_that_contains_each_video(tome):
    forest, unit = tome
    result = core_statistics(forest, unit, [], StatisticsSettings())["map"]
    assert sorted(size for *_, size in result["points"]) == list(range(1, 501))
    place = np.array([[x, y] for x, y, _ in result["points"]])
    values = np.linalg.eigvalsh(np.cov(unit.T, bias=True))[::-1]
    np.testing.assert_allclose(sorted(place.var(axis=0))[::-1], values[:2], rtol=1e-2)
    assert result["explained"][0] == pytest.approx(values[0] / values.sum(), abs=1e-4)
    thinned = core_statistics(forest, unit, [], StatisticsSettings(map_points=100))["map"]
    assert len(thinned["points"]) == 100


@pytest.mark.parametrize("rows", [np.ones((1, 3)), np.ones((4, 3)), np.ones((3, 1)), np.eye(2)])
def test_a_map_of_very_few_videos_is_flat_and_not_an_error(rows):
    place, explained = principal_plane(rows)
    assert place.shape == (len(rows), 2) and np.isfinite(place).all()
    assert 0 <= sum(explained) <= 1 + 1e-9
