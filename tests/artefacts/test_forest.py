from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg.artefacts.forest import NO_ROUND, Forest, read_forest, subtree_sizes, write_forest
from sg.core.errors import ConfigError, DataError, MissingInputError


def make_forest(parent):
    """A forest with the given parents and similarities that decrease from 0.99."""
    parent = np.array(parent, dtype=np.int64)
    count = len(parent)
    similarity = np.where(parent >= 0, 0.99 - np.arange(count) / max(1, count), np.nan).astype(np.float32)
    rounds = np.where(parent >= 0, 0, NO_ROUND).astype(np.int32)
    ids = [f"v{row}" for row in range(count)]
    return Forest(ids, parent, similarity, rounds, subtree_sizes(parent), similarity, {"made": "here"})


@st.composite
def forests(draw):
    count = draw(st.integers(1, 30))
    later = [draw(st.one_of(st.just(-1), st.integers(row + 1, count - 1))) for row in range(count - 1)]
    return make_forest([*later, -1])


FIVE = [2, 3, 4, 4, -1]


def test_a_forest_comes_back_as_it_was_written(tmp_path):
    forest = make_forest(FIVE)
    loaded = read_forest(write_forest(tmp_path / "forest.parquet", forest))
    assert loaded.video_ids == forest.video_ids
    assert loaded.info["made"] == "here"
    assert loaded.content_hash == forest.content_hash
    for name in ("parent", "similarity", "round", "size", "rep_similarity"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(forest, name))


def test_the_file_has_the_columns_of_the_design_and_nulls_for_survivors(tmp_path):
    table = pq.read_table(write_forest(tmp_path / "forest.parquet", make_forest(FIVE)))
    assert {name: str(table.schema.field(name).type) for name in table.schema.names} == {
        "video_id": "string",
        "removed_at": "int64",
        "merged_into": "string",
        "similarity": "float",
        "round": "int32",
        "size": "int64",
        "rep_similarity": "float",
    }
    assert table["merged_into"].to_pylist() == ["v2", "v3", "v4", "v4", None]
    assert table["similarity"].to_pylist()[-1] is None
    assert table["round"].to_pylist() == [0, 0, 0, 0, None]
    assert table["size"].to_pylist() == [1, 1, 2, 2, 5]


def test_a_core_is_the_rows_removed_last_in_reverse_order():
    forest = make_forest(FIVE)
    assert forest.core(2) == ["v4", "v3"]
    assert forest.core(0) == []
    assert forest.core(5) == ["v4", "v3", "v2", "v1", "v0"]


def test_clusters_follow_merges_to_a_survivor():
    forest = make_forest(FIVE)
    assert forest.clusters(2) == {"v4": ["v4", "v2", "v0"], "v3": ["v3", "v1"]}
    assert forest.clusters(1) == {"v4": ["v4", "v3", "v2", "v1", "v0"]}
    assert forest.clusters(5) == {f"v{row}": [f"v{row}"] for row in range(5)}
    assert forest.clusters(0) == {}


def test_videos_without_a_survivor_are_in_no_cluster():
    forest = make_forest([-1, 2, -1, -1])
    assert forest.clusters(1) == {"v3": ["v3"]}
    assert forest.clusters(2) == {"v2": ["v2", "v1"], "v3": ["v3"]}


@settings(deadline=None)
@given(forests())
def test_cores_are_nested_and_clusters_only_merge(forest):
    for size in range(1, len(forest) + 1):
        assert forest.core(size)[: size - 1] == forest.core(size - 1)
        clusters = forest.clusters(size)
        assert set(clusters) == set(forest.core(size))
        smaller = forest.clusters(size - 1)
        for members in clusters.values():
            assert sum(set(members) <= set(others) for others in smaller.values()) <= 1
        assigned = forest.assignment(size)
        assert {name for group in clusters.values() for name in group} == {
            forest.video_ids[row] for row in np.flatnonzero(assigned >= 0)
        }


@settings(deadline=None)
@given(forests())
def test_sizes_count_what_is_merged_into_a_video(forest):
    assert forest.size[forest.parent < 0].sum() == len(forest)


def test_the_cut_is_the_similarity_of_the_last_merge_before_the_core():
    forest = make_forest(FIVE)
    assert forest.cut_similarity(2) == pytest.approx(float(forest.similarity[2]))
    assert forest.cut_similarity(5) is None
    assert make_forest([-1, -1]).cut_similarity(1) is None


def test_a_core_larger_than_the_forest_is_refused():
    with pytest.raises(ConfigError, match="6 videos was asked for, but the merge forest has 5"):
        make_forest(FIVE).core(6)


def test_the_hash_depends_on_order_and_clusters_but_not_on_similarities():
    forest = make_forest(FIVE)
    assert replace(forest, similarity=forest.similarity * 0.5).content_hash == forest.content_hash
    assert replace(forest, video_ids=forest.video_ids[::-1]).content_hash != forest.content_hash
    assert make_forest([2, 3, 4, -1, -1]).content_hash != forest.content_hash


def test_an_empty_forest_is_valid(tmp_path):
    forest = read_forest(write_forest(tmp_path / "forest.parquet", make_forest([])))
    assert len(forest) == 0
    assert forest.core(0) == []


def tampered(tmp_path, change):
    path = write_forest(tmp_path / "forest.parquet", make_forest(FIVE))
    columns = pq.read_table(path).to_pydict()
    change(columns)
    schema = pq.read_schema(path)
    pq.write_table(
        pa.table(columns, schema=pa.schema([schema.field(name).with_nullable(True) for name in columns])), path
    )
    return path


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda c: c["merged_into"].__setitem__(0, "nobody"), "'nobody', which is not a row"),
        (lambda c: c["merged_into"].__setitem__(3, "v1"), "'v3' is not merged into a video removed later"),
        (lambda c: c["merged_into"].__setitem__(3, "v3"), "'v3' is not merged into a video removed later"),
        (lambda c: c["size"].__setitem__(2, 7), "'v2' has size 7"),
        (lambda c: c["video_id"].__setitem__(0, "v1"), "ids repeat"),
        (lambda c: c["removed_at"].__setitem__(0, 1), "does not number the rows from 0 to 4"),
        (lambda c: c["video_id"].__setitem__(0, None), "empty rows"),
        (lambda c: c.pop("round"), "no column 'round'"),
    ],
)
def test_a_file_that_violates_an_invariant_is_refused(tmp_path, change, what):
    with pytest.raises(DataError, match=what):
        read_forest(tampered(tmp_path, change))


def test_rows_in_another_order_are_sorted_on_reading(tmp_path):
    forest = make_forest(FIVE)
    path = write_forest(tmp_path / "forest.parquet", forest)
    table = pq.read_table(path)
    pq.write_table(table.take(pa.array([3, 0, 4, 1, 2])), path)
    assert read_forest(path).content_hash == forest.content_hash


def test_a_wrong_forest_is_not_written(tmp_path):
    forest = make_forest(FIVE)
    with pytest.raises(DataError):
        write_forest(tmp_path / "forest.parquet", replace(forest, size=forest.size + 1))
    assert not (tmp_path / "forest.parquet").exists()


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"python -m sg\.curate"):
        read_forest(tmp_path / "forest.parquet")
    path = write_forest(tmp_path / "forest.parquet", make_forest(FIVE))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="cannot be read as a merge forest"):
        read_forest(path)
