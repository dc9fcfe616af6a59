import numpy as np
import pytest

from sg.curate.matching.matchers import Matchers
from sg.curate.tome.rounds import Edges, Tokens, choose_edges, kept_positions, merge_groups, merge_tokens
from sg.curate.tome.settings import TomeConfig
from tests.curate.tome import goldens as tome_goldens


def reference_round(tokens, merges, dtype):
    """One round in reference order: tokens after it, where each token went, and the matches."""
    positions = np.arange(len(tokens))
    sources, targets = positions[0::2], positions[1::2]
    matches = Matchers(TomeConfig(dtype=dtype), tokens.mean).match(tokens.mean, sources, targets)
    edges = choose_edges(sources, targets, matches, min(merges, len(targets)), tokens.size)
    order = kept_positions("reference", sources, targets, matches, edges)
    return after_round(tokens, edges, order), destinations(len(tokens), edges, order), matches


def after_round(tokens, edges, order):
    groups = merge_groups(tokens, edges)
    return merge_tokens(tokens, groups, tokens.representative[groups.target], order)


def destinations(count, edges: Edges, order):
    place = np.full(count, -1)
    place[order] = np.arange(len(order))
    place[edges.source] = place[edges.target]
    return place


def first_tokens(x, size, dtype):
    rows = np.arange(len(x))
    return Tokens(rows, rows, size.astype(np.int64), x.astype(dtype), rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", tome_goldens.ROUNDS)
def test_rounds_in_reference_order_equal_the_original(name, dtype):
    golden = tome_goldens.load(name)
    tokens = first_tokens(golden["x"], golden.get("size_in", np.ones(len(golden["x"]))), dtype)
    assign = np.arange(len(tokens))
    for number, requested in enumerate(golden["r_requested"]):
        if golden["r_effective"][number] == 0:
            continue
        tokens, moved, matches = reference_round(tokens, int(requested), dtype)
        assign = moved[assign]
        assert len(tokens) == golden["n_after"][number]
        np.testing.assert_array_equal(assign, golden[f"assign_{number}"])
        np.testing.assert_array_equal(tokens.size, golden[f"size_{number}"])
        if f"a_dst_{number}" in golden:
            np.testing.assert_array_equal(matches.target, golden[f"a_dst_{number}"])
            np.testing.assert_allclose(matches.score, golden[f"a_score_{number}"], atol=1e-6)
        if f"mean_{number}" in golden:
            # Files with float64 means were made in float64; the others were rounded to float32 on writing.
            exact = dtype == "float64" and golden[f"mean_{number}"].dtype == np.float64
            np.testing.assert_allclose(tokens.mean, golden[f"mean_{number}"], atol=1e-12 if exact else 1e-6, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("merges", [3, 5, 7])
def test_ties_go_to_the_lowest_target_and_then_to_the_lowest_source(merges, dtype):
    golden = tome_goldens.load("ties_rule_n20")
    tokens = first_tokens(golden["x"], np.ones(20), dtype)
    _, moved, matches = reference_round(tokens, merges, dtype)
    np.testing.assert_array_equal(matches.target, golden["a_dst"])
    np.testing.assert_array_equal(matches.score, golden["a_score"])
    np.testing.assert_array_equal(moved, golden[f"assign_r{merges}"])
