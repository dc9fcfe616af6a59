"""ToMe over shards on disk, compared with the run in memory."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.forest import read_forest
from sg.artefacts.vectors import Vectors, part_path
from sg.core.crew.workers import open_map
from sg.core.errors import ConfigError, DataError
from sg.core.files import read_json
from sg.core.places.mirror import mirrored
from sg.curate.pipeline import curate
from sg.curate.sharded.jobs import PartJob, ScanJob, scan_part
from sg.curate.sharded.settings import ShardedTomeConfig
from sg.curate.sharded.shards import TokenShard, join, read_shard, write_shard
from sg.curate.tome.settings import TomeConfig
from tests.curate.builders import clumpy_vectors, write_vectors

SMALL = ShardedTomeConfig(rows_per_shard=60, in_memory_below=40, probed_shards=99, verify_sample=50)


@pytest.fixture
def vectors(tmp_path):
    return write_vectors(tmp_path / "vectors", clumpy_vectors(500), rows_per_part=130)


@pytest.mark.parametrize("survivor", ["medoid", "dst"])
@pytest.mark.parametrize("below", [1, 200, 10_000])
def test_shards_that_compare_all_pairs_give_the_forest_of_the_run_in_memory(tmp_path, vectors, survivor, below):
    ids = clumpy_vectors(500).video_ids
    captions = write_captions(
        tmp_path / "captions.parquet", [CaptionRecord(name, "x" * (1 + number % 9)) for number, name in enumerate(ids)]
    )
    expected = read_forest(curate(TomeConfig(survivor=survivor), vectors, captions, tmp_path / "memory"))
    config = replace(SMALL, survivor=survivor, in_memory_below=below)
    found = read_forest(curate(config, vectors, captions, tmp_path / "shards"))
    assert found.content_hash == expected.content_hash
    for name in ("similarity", "round", "size"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(found.rep_similarity, expected.rep_similarity, atol=1e-6)
    reports = [read_json(tmp_path / name / "curation.json") for name in ("memory", "shards")]
    assert reports[0]["exact_duplicates"] == reports[1]["exact_duplicates"] > 0
    assert [r["merges"] for r in reports[0]["rounds"]] == [r["merges"] for r in reports[1]["rounds"]]
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [".lock", "curation.json", "forest.parquet"]


def test_a_cluster_that_shares_only_an_address_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SG_PLACES", "")
    monkeypatch.setenv("RAY_ADDRESS", "other:6379")
    place = mirrored(f"file://{tmp_path}/bucket", "paths.work")
    vectors = write_vectors(place / "vectors", clumpy_vectors(50), rows_per_part=30)
    with pytest.raises(ConfigError, match=r"tome_sharded needs folders .*bucket/.* is an address: set paths.work"):
        curate(replace(SMALL, engine="ray"), vectors, None, place / "forest")


def test_borders_cost_little_and_the_agreement_is_recorded(tmp_path):
    vectors = write_vectors(tmp_path / "vectors", clumpy_vectors(1500, topics=40), rows_per_part=400)
    exact = read_forest(curate(TomeConfig(), vectors, None, tmp_path / "memory"))
    config = replace(SMALL, rows_per_shard=150, probed_shards=1, in_memory_below=100)
    forest = read_forest(curate(config, vectors, None, tmp_path / "shards"))
    rounds = read_json(tmp_path / "shards" / "curation.json")["rounds"]
    assert 0.85 < min(record["agreement"] for record in rounds if record["agreement"] is not None) < 1
    for size in (150, 500, 1000):
        assert len(set(forest.core(size)) & set(exact.core(size))) / size > 0.85


def test_the_fewer_tokens_remain_the_more_cells_are_probed_until_rounds_are_exact(tmp_path):
    vectors = write_vectors(tmp_path / "vectors", clumpy_vectors(1500, topics=40), rows_per_part=400)
    config = replace(SMALL, rows_per_shard=150, probed_shards=2, in_memory_below=100)
    assert [config.probes(1500, tokens) for tokens in (1500, 1499, 750, 500)] == [2, 3, 4, 6]
    curate(config, vectors, None, tmp_path / "shards")
    rounds = read_json(tmp_path / "shards" / "curation.json")["rounds"]
    is_checked = [record["agreement"] is not None for record in rounds]
    assert is_checked[0] and is_checked == sorted(is_checked, reverse=True)
    assert max(record["tokens"] for record in rounds if record["agreement"] is None) > 500


def test_an_interrupted_sharded_run_resumes_to_the_same_forest(tmp_path, vectors, monkeypatch):
    expected = curate(SMALL, vectors, None, tmp_path / "undisturbed").read_bytes()
    damaged = []

    def fail_once(job):
        from sg.curate.sharded.jobs import apply_edges

        if job.number == 3 and not damaged:
            damaged.append(job.number)
            raise OSError("the disk is full")
        return apply_edges(job)

    monkeypatch.setattr("sg.curate.sharded.run.apply_edges", fail_once)
    with pytest.raises(OSError, match="disk is full"):
        curate(SMALL, vectors, None, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"rows_per_shard: 60 -> 50"):
        curate(replace(SMALL, rows_per_shard=50), vectors, None, tmp_path / "out")
    assert curate(SMALL, vectors, None, tmp_path / "out").read_bytes() == expected
    assert not (tmp_path / "out" / "unfinished").exists()


def test_settings_for_clusters_hold_across_shards(tmp_path, vectors):
    settings = {"max_cluster_size": 4, "min_similarity": 0.8, "n_min": 7}
    expected = read_forest(curate(TomeConfig(**settings), vectors, None, tmp_path / "memory"))
    found = read_forest(curate(replace(SMALL, **settings), vectors, None, tmp_path / "shards"))
    assert found.content_hash == expected.content_hash


@pytest.mark.slow
def test_a_ray_cluster_gives_the_forest_of_one_process(tmp_path, vectors):
    pytest.importorskip("ray")
    config = replace(SMALL, rows_per_shard=150, in_memory_below=360)
    local = curate(config, vectors, None, tmp_path / "local")
    cluster = curate(replace(config, engine="ray"), vectors, None, tmp_path / "ray")
    with open_map("curator.engine", "ray") as mapped:
        damaged = PartJob(tmp_path / "part-00007.parquet", 7, np.zeros(1, np.int64))
        with pytest.raises(DataError, match="part-00007"):
            list(mapped(scan_part, [ScanJob(damaged, 1)]))
    rounds = [record["tokens"] for record in read_json(cluster.parent / "curation.json")["rounds"]]
    assert rounds[0] > 360
    assert read_forest(cluster).content_hash == read_forest(local).content_hash


def test_ray_that_is_not_installed_is_named(tmp_path, vectors, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"curator\.engine=ray needs Ray.*\[ray\]"):
        curate(replace(SMALL, engine="ray"), vectors, None, tmp_path / "out")


def test_a_damaged_part_or_a_repeated_id_is_named(tmp_path, vectors):
    write_vectors(tmp_path / "twice", Vectors(["a", "b", "a"], np.eye(3, 16, dtype=np.float32), {}))
    with pytest.raises(DataError, match="1 video ids repeat"):
        curate(SMALL, tmp_path / "twice", None, tmp_path / "out")
    part_path(vectors, 1).write_bytes(b"PAR1")
    with pytest.raises(DataError, match="part-00001"):
        curate(SMALL, vectors, None, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"metric": "survivor"}, "metric=survivor"),
        ({"engine": "spark"}, "local, ray"),
        ({"probed_shards": 0}, "probed"),
    ],
)
def test_settings_that_shards_do_not_support_are_refused(settings, what):
    with pytest.raises(ConfigError, match=what):
        replace(SMALL, **settings)


def test_a_shard_keeps_the_vectors_of_representatives_apart_from_means(tmp_path):
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(6, 4)).astype(np.float32)
    own = mean.copy()
    own[[1, 4]] += 1
    shard = TokenShard.of(np.array([30, 10, 20, 60, 50, 40]), mean, own)
    read = read_shard(write_shard(tmp_path / "shard.npz", shard))
    assert read.row.tolist() == [10, 20, 30, 40, 50, 60] and len(read.own) == 2
    np.testing.assert_array_equal(read.representatives(), own[[1, 2, 0, 5, 4, 3]])
    np.testing.assert_array_equal(read.part(np.array([10, 50])).representatives(), own[[1, 4]])
    both = join([read.at(np.array([3, 4])), read.at(np.array([0]))], 4)
    assert both.row.tolist() == [10, 40, 50]
    np.testing.assert_array_equal(both.representatives(), own[[1, 5, 4]])
