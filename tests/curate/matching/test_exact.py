import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sg.core.errors import ConfigError
from sg.curate.matching import bounds
from sg.curate.matching.bounds import cheapest_basis, principal_basis
from sg.curate.matching.cells import CellMatcher, Cells
from sg.curate.matching.exact import ExactMatcher, full_precision, match, row_top2
from sg.curate.matching.faiss_candidates import FaissMatcher
from sg.curate.matching.matchers import Matchers, unit_tensor
from sg.curate.matching.projected import ProjectedMatcher
from sg.curate.tome.settings import TomeConfig
from tests.curate.builders import clumpy_matrix


def units(count, dim=16, seed=0):
    return unit_tensor(clumpy_matrix(count, dim, seed=seed), np.arange(count))


def by_brute_force(a, b):
    scores = np.round(a.double().numpy() @ b.double().numpy().T * 2**40) / 2**40
    return scores.argmax(axis=1), scores.max(axis=1)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 300), st.integers(1, 70), st.integers(1, 300), st.integers(0, 5))
def test_blocks_of_any_size_find_what_brute_force_finds(count, targets, rows, columns, seed):
    both = units(count + targets, seed=seed)
    a, b = both[:count], both[count:]
    found = match(a, b, ExactMatcher(b, rows, columns))
    target, score = by_brute_force(a, b)
    np.testing.assert_allclose(found.score, score, atol=1e-7)
    unequal = found.target != target
    # Unit length is only reached to 1e-7, which the matcher corrects for and brute force does not.
    np.testing.assert_allclose(
        (a.double() @ b.double().T).numpy()[unequal, found.target[unequal]], score[unequal], atol=3e-7
    )


@pytest.mark.parametrize("copies", [2, 3, 40, 200])
def test_of_equal_targets_the_lowest_wins(copies):
    a = units(50)
    b = torch.cat([units(7, seed=9), a[:1].repeat(copies, 1), units(300, seed=8), a[:1]])
    for block in (1, 64, 128, 1000):
        assert match(a[:1], b, ExactMatcher(b, columns=block)).target[0] == 7


def test_a_lead_below_float32_is_decided_in_float64():
    direction = torch.nn.functional.normalize(torch.randn(1, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    step = torch.zeros(1, 64)
    step[0, 5] = 2e-6
    b = torch.cat([direction + step * sign for sign in (1, -1, 0)])
    found = match(direction, b, ExactMatcher(b))
    assert found.target[0] == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["projected", "cells"])
def test_other_matchers_find_the_same_if_they_compare_all_pairs(name, dtype):
    matrix = clumpy_matrix(700, dim=24).astype(dtype)
    sources, targets = np.arange(0, 700, 2), np.arange(1, 700, 2)
    exact = Matchers(TomeConfig(), matrix).match(matrix, sources, targets)
    config = TomeConfig(matcher=name, rows_per_cell=20, probed_cells=16, exact_below=2, projected_dims=8)
    other = Matchers(config, matrix).match(matrix, sources, targets)
    np.testing.assert_array_equal(other.target, exact.target)


@pytest.mark.parametrize("dims", [1, 4, 24])
def test_the_projected_matcher_is_exact_bit_for_bit(dims):
    a, b = units(900, dim=24), units(3000, dim=24, seed=1)
    exact = match(a, b, ExactMatcher(b))
    found = match(a, b, ProjectedMatcher(b, principal_basis(b.numpy(), dims)))
    np.testing.assert_array_equal(found.target, exact.target)
    np.testing.assert_array_equal(found.score, exact.score)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_does_not_change_the_result_and_is_restored(threads):
    a, b = units(900, dim=24), units(3000, dim=24, seed=1)
    single = match(a, b, ExactMatcher(b))
    matchers = (ExactMatcher(b), ProjectedMatcher(b, principal_basis(b.numpy(), 4)))
    try:
        torch.set_num_threads(threads)
        for matcher in matchers:
            found = match(a, b, matcher)
            np.testing.assert_array_equal(found.target, single.target)
            np.testing.assert_array_equal(found.score, single.score)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)


def test_cells_miss_little_and_never_score_higher():
    a, b = units(400, dim=8), units(4000, dim=8, seed=1)
    exact = match(a, b, ExactMatcher(b))
    cells = Cells(b.numpy(), rows_per_cell=100, seed=0)
    found = match(a, b, CellMatcher(b, cells.centres(len(b)), probed=8))
    assert (found.score <= exact.score).all()
    assert (found.target == exact.target).mean() > 0.9


@pytest.mark.parametrize("probed", [1, 3, 1000])
def test_a_bound_does_not_change_the_result_of_cells(probed):
    a, b = units(900, dim=24), units(3000, dim=24, seed=1)
    centres = Cells(b.numpy(), rows_per_cell=100, seed=0).centres(len(b))
    plain = match(a, b, CellMatcher(b, centres, probed))
    bounded = match(a, b, CellMatcher(b, centres, probed, principal_basis(b.numpy(), 6)))
    np.testing.assert_array_equal(bounded.target, plain.target)
    np.testing.assert_array_equal(bounded.score, plain.score)


def test_a_resumed_run_has_the_same_cells():
    unit = units(2000).numpy()
    used = Cells(unit, rows_per_cell=50, seed=3)
    used.centres(2000)
    np.testing.assert_array_equal(used.centres(900), Cells(unit, rows_per_cell=50, seed=3).centres(900))


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 400), st.integers(0, 3))
def test_row_top2_finds_the_two_largest_values(rows, columns, seed):
    scores = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    best, column, second = row_top2(scores)
    ordered = scores.sort(dim=1, descending=True)
    torch.testing.assert_close(best, ordered.values[:, 0])
    torch.testing.assert_close(column, ordered.indices[:, 0])
    if columns > 1:
        torch.testing.assert_close(second, ordered.values[:, 1])
    else:
        assert torch.isinf(second).all()


def test_products_stay_float32_for_any_setting_of_the_process():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with full_precision():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_zero_mean_matches_with_score_zero():
    vectors = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]], np.float32)
    found = Matchers(TomeConfig(), vectors).match(vectors, np.array([1]), np.array([0, 2]))
    assert found.target[0] == 0 and found.score[0] == 0.0


def test_candidates_of_faiss_are_exact_with_all_lists_and_miss_little_otherwise():
    pytest.importorskip("faiss")
    a, b = units(400, dim=8), units(4000, dim=8, seed=1)
    exact = match(a, b, ExactMatcher(b))
    everything = match(a, b, FaissMatcher(b, rows_per_list=100, probed=1000))
    np.testing.assert_array_equal(everything.target, exact.target)
    np.testing.assert_array_equal(everything.score, exact.score)
    some = match(a, b, FaissMatcher(b, rows_per_list=100, probed=8))
    assert (some.score <= exact.score).all() and (some.target == exact.target).mean() > 0.9
    single = match(a[:3], b[:1], FaissMatcher(b[:1], rows_per_list=100, probed=8))
    assert single.target.tolist() == [0, 0, 0]


def test_faiss_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"curator\.matcher=faiss needs faiss.*\[faiss\]"):
        FaissMatcher(units(4), rows_per_list=2, probed=1)


def test_the_bound_takes_few_components_where_few_hold_the_variance(monkeypatch):
    monkeypatch.setattr(bounds, "_WORTH_A_TRIAL", 6000)
    generator = np.random.default_rng(0)
    spread = np.array([1.0] * 6 + [0.05] * 58)
    matrix = unit_tensor((generator.standard_normal((6000, 64)) * spread).astype(np.float32), np.arange(6000)).numpy()
    basis = cheapest_basis(matrix, 64)
    assert basis.shape == (64, 8)
    assert cheapest_basis(matrix[:5999], 64).shape == (64, 64)  # too few rows for the trial
    torch.testing.assert_close(basis.T @ basis, torch.eye(8, dtype=torch.float64))
    # Equal variance in all directions: a short bound excludes nothing, so it takes as many as it may.
    even = unit_tensor(generator.standard_normal((6000, 64)).astype(np.float32), np.arange(6000)).numpy()
    assert cheapest_basis(even, 64).shape[1] > 32
