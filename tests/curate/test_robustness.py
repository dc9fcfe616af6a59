"""The small version of `benchmarks/curation/robustness.py`: variations that must not change the result."""

import pytest

from benchmarks.curation.robustness import VARIATIONS, Variation, compare, core_overlap, curated, rand_index
from benchmarks.curation.synthetic_vectors import write_synthetic
from sg.artefacts.vectors import read_vectors
from tests.curate.builders import clumpy_vectors


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    write_synthetic(folder, 2500, dim=96)
    return read_vectors(folder)


def test_blocks_threads_file_order_and_matchers_give_the_same_forest(vectors):
    exact = [name for name, variation in VARIATIONS.items() if variation.settings.get("matcher") != "cells"]
    for name, *numbers in compare(vectors, exact):
        core, index, _, same, *_ = numbers
        assert float(core) >= 0.999 and float(index) >= 0.9999, name
        assert same == "yes" or name == "float64", name


def test_cells_keep_nearly_the_same_cores(vectors):
    config = {"matcher": "cells", "exact_below": 300, "rows_per_cell": 40, "probed_cells": 12}
    (default, _), (cells, rounds) = curated(vectors, Variation({})), curated(vectors, Variation(config))
    assert core_overlap(default, cells, 250) >= 0.95
    assert min(record.agreement for record in rounds if record.agreement is not None) >= 0.97


def test_the_index_of_clusters_is_one_for_equal_and_low_for_unlike_clusters():
    (first, _), (second, _) = (curated(clumpy_vectors(300), Variation({"seed": seed})) for seed in (0, 1))
    assert rand_index(first, first, 30) == 1.0
    assert 0 < rand_index(first, second, 30) < 1
