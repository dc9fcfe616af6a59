import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sg.artefacts.vectors import (
    part_path,
    read_vector_ids,
    read_vectors,
    vector_parts,
    vectors_fingerprint,
    write_vectors_info,
    write_vectors_part,
)
from sg.core.errors import DataError, MissingInputError
from sg.core.files import write_record
from sg.core.fingerprints import file_hash
from sg.core.identity import identity, made_by


def ids(count, start=0):
    return [f"v{number:03d}" for number in range(start, start + count)]


def write_two_parts(folder, dim=4):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(5, dim)), rng.normal(size=(3, dim))
    write_vectors_part(folder, 0, ids(5), first)
    write_vectors_part(folder, 1, ids(3, start=5), second)
    write_vectors_info(folder, {"dim": dim, "model": "test"})
    return np.concatenate([first, second]).astype(np.float16).astype(np.float32)


def write_raw_part(folder, index, columns):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), part_path(folder, index))


def test_parts_come_back_in_order_as_float32_of_the_stored_float16(tmp_path):
    stored = write_two_parts(tmp_path)
    vectors = read_vectors(tmp_path)
    assert vectors.video_ids == ids(8) == read_vector_ids(tmp_path)
    assert vectors.matrix.dtype == np.float32
    np.testing.assert_array_equal(vectors.matrix, stored)
    assert vectors.dim == 4
    assert vectors.info["model"] == "test"


def test_the_fingerprint_names_the_bytes_of_every_part(tmp_path):
    write_two_parts(tmp_path / "a")
    write_two_parts(tmp_path / "b")
    assert vectors_fingerprint(tmp_path / "a") == vectors_fingerprint(tmp_path / "b")
    write_vectors_part(tmp_path / "b", 1, ids(3, start=5), np.ones((3, 4)))
    assert vectors_fingerprint(tmp_path / "a") != vectors_fingerprint(tmp_path / "b")


def test_a_folder_without_info_is_incomplete(tmp_path):
    write_vectors_part(tmp_path, 0, ids(2), np.ones((2, 4)))
    with pytest.raises(MissingInputError, match=r"python -m sg\.embed"):
        read_vectors(tmp_path)


def test_float32_lists_of_equal_length_are_read(tmp_path):
    rows = [[1.0, 0.0], [0.5, 0.25]]
    write_raw_part(tmp_path, 0, {"video_id": ["a", "b"], "vector": pa.array(rows, pa.list_(pa.float32()))})
    write_vectors_info(tmp_path, {"dim": 2})
    np.testing.assert_array_equal(read_vectors(tmp_path).matrix, rows)


@pytest.mark.parametrize(
    ("row", "what"), [([np.nan, 1.0], "NaN or infinite"), ([np.inf, 1.0], "NaN or infinite"), ([0.0, 0.0], "zero")]
)
def test_a_bad_vector_is_refused_with_the_name_of_its_video(tmp_path, row, what):
    good = [1.0, 0.0]
    with pytest.raises(DataError, match=what) as error:
        write_vectors_part(tmp_path, 0, ["good", "bad"], np.array([good, row]))
    assert "'bad'" in str(error.value)
    write_raw_part(tmp_path, 0, {"video_id": ["good", "bad"], "vector": pa.array([good, row], pa.list_(pa.float32()))})
    write_vectors_info(tmp_path, {"dim": 2})
    with pytest.raises(DataError, match=what) as error:
        read_vectors(tmp_path)
    assert "'bad'" in str(error.value)


def test_a_truncated_part_is_named(tmp_path):
    write_two_parts(tmp_path)
    path = part_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-20])
    for read in (read_vectors, read_vector_ids):
        with pytest.raises(DataError, match="part-00001"):
            read(tmp_path)


def test_parts_of_different_dims_are_refused(tmp_path):
    write_vectors_part(tmp_path, 0, ids(2), np.ones((2, 4)))
    write_vectors_part(tmp_path, 1, ids(2, start=2), np.ones((2, 3)))
    write_vectors_info(tmp_path, {"dim": 4})
    with pytest.raises(DataError, match=r"part-00001.*dim 3"):
        read_vectors(tmp_path)


def test_lists_of_different_lengths_are_refused(tmp_path):
    ragged = pa.array([[1.0, 2.0], [1.0]], pa.list_(pa.float32()))
    write_raw_part(tmp_path, 0, {"video_id": ["a", "b"], "vector": ragged})
    write_vectors_info(tmp_path, {"dim": 2})
    with pytest.raises(DataError, match="different lengths"):
        read_vectors(tmp_path)


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"video_id": ["a"]}, "no column 'vector'"),
        ({"video_id": ["a"], "vector": ["text"]}, "expected lists"),
        ({"video_id": ["a"], "vector": pa.array([None], pa.list_(pa.float32()))}, "without a vector"),
        ({"video_id": pa.array([None], pa.string()), "vector": [[1.0]]}, "without an id"),
    ],
)
def test_parts_of_another_format_are_refused(tmp_path, columns, what):
    write_raw_part(tmp_path, 0, columns)
    write_vectors_info(tmp_path, {})
    with pytest.raises(DataError, match=what):
        read_vectors(tmp_path)


def test_repeated_ids_are_refused_by_name(tmp_path):
    write_vectors_part(tmp_path, 0, ids(3), np.ones((3, 4)))
    write_vectors_part(tmp_path, 1, ["v002", "v003"], np.ones((2, 4)))
    write_vectors_info(tmp_path, {"dim": 4})
    with pytest.raises(DataError, match="'v002'"):
        read_vectors(tmp_path)


def test_a_dim_that_contradicts_the_info_is_refused(tmp_path):
    write_two_parts(tmp_path)
    (tmp_path / "embeddings.json").write_text(json.dumps({"dim": 768}))
    with pytest.raises(DataError, match="says dim 768"):
        read_vectors(tmp_path)


def test_the_number_of_ids_must_equal_the_number_of_rows(tmp_path):
    with pytest.raises(DataError, match="one row per video"):
        write_vectors_part(tmp_path, 0, ids(2), np.ones((3, 4)))


def test_a_part_of_another_embedder_is_refused(tmp_path):
    for name in ("a", "b"):
        work = identity("embedding", settings={"name": name}, inputs={"model": name}, version=1)
        write_two_parts(tmp_path / name)
        write_vectors_info(tmp_path / name, {"dim": 4, **made_by(work)})
        for path in vector_parts(tmp_path / name):
            write_record(path.with_suffix(".json"), {**made_by(work), "checksum": file_hash(path)})
    vectors_fingerprint(tmp_path / "a")
    first = part_path(tmp_path / "a", 0)
    write_vectors_part(tmp_path / "a", 0, ids(5), np.ones((5, 4)))  # its record stays
    with pytest.raises(DataError, match=r"part-00000\.parquet holds vectors that this embedding did not write: delete"):
        vectors_fingerprint(tmp_path / "a")
    for suffix in (".parquet", ".json"):
        part_path(tmp_path / "b", 0).with_suffix(suffix).replace(first.with_suffix(suffix))
    with pytest.raises(DataError, match=r"part-00000\.parquet holds vectors that this embedding did not write: delete"):
        vectors_fingerprint(tmp_path / "a")
