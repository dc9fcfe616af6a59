"""Token merging against a slow, plain version of the published rules, on inputs of many sizes and kinds.

The rules are in `docs/reference/chat_univi.md`, section 3.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sg.models.chat_univi.abstractor import ClipNoise, MergeSettings, find_events, merge_clips
from sg.models.chat_univi.merging import cluster_count, dpc_knn, merge_tokens, neighbour_count

Floats = NDArray[np.float64]
SETTINGS = MergeSettings(clusters=(12, 6, 3), neighbours=(5, 3, 3))


def scores(x: Floats, k: int, noise: Floats) -> tuple[Floats, Floats]:
    """Distances [N, N] and density times separation [N] of one row of tokens, straight from the published rules.

    In float32 and with PyTorch's own distances, as there: near density 1 the noise has nine distinct values only.
    """
    points = torch.from_numpy(x).float()[None]
    distances = (torch.cdist(points, points)[0] / math.sqrt(x.shape[1])).numpy()
    density = np.exp(-np.mean(np.sort(distances, axis=1)[:, :k] ** 2, axis=1)) + noise.astype(np.float32)
    separation = np.array(
        [min((d for d, other in zip(row, density, strict=True) if other > own), default=distances.max())
         for row, own in zip(distances, density, strict=True)]
    )  # fmt: skip
    return distances, density * separation


def slow_cluster(x: Floats, clusters: int, k: int, noise: Floats) -> list[int]:
    distances, score = scores(x, k, noise)
    centres = sorted(range(len(x)), key=lambda token: -score[token])[:clusters]
    assignment = [min(range(clusters), key=lambda c: distances[token, centres[c]]) for token in range(len(x))]
    for cluster, centre in enumerate(centres):
        assignment[centre] = cluster
    return assignment


def slow_merge(x: Floats, clusters: int, k: int, noise: Floats) -> Floats:
    assignment = np.array(slow_cluster(x, clusters, neighbour_count(clusters, k), noise))
    return np.stack([x[assignment == c].sum(0) / ((assignment == c).sum() + 1e-6) for c in range(clusters)])


def slow_clip(clip: Floats, temporal: Floats) -> Floats:
    """Visual tokens of one clip [T, P, C], with `temporal` [T] added to the densities of the temporal stage."""
    frames = len(clip)
    stages, tokens = [], clip
    for clusters, k in zip(SETTINGS.clusters, SETTINGS.neighbours, strict=True):
        tokens = np.stack([slow_merge(one, clusters, k, np.zeros(len(one))) for one in tokens])
        stages.append(tokens)
    if frames <= 2:
        return np.concatenate([stage[frame] for frame in range(frames) for stage in stages])
    events = cluster_count(frames, 1 / 16)
    event_of = slow_cluster(clip.mean(1), events, neighbour_count(events, 5), temporal)
    pieces = []
    for event in dict.fromkeys(event_of):
        members = [frame for frame in range(frames) if event_of[frame] == event]
        for stage, clusters, k in zip(stages, SETTINGS.clusters, SETTINGS.neighbours, strict=True):
            tokens = np.concatenate([stage[frame] for frame in members])
            pieces.append(slow_merge(tokens, clusters, k, np.zeros(len(tokens))))
    return np.concatenate(pieces)


def scenes(frames: int, seed: int) -> Floats:
    """Frames of a few scenes [T, 20, 16], far enough apart for float32 to see the same order as float64."""
    r = np.random.RandomState(seed)
    what = r.standard_normal((5, 20, 16))[np.sort(r.randint(0, 5, frames))]
    return (2 * what + r.standard_normal((frames, 20, 16))).astype(np.float32).astype(np.float64)


def test_clips_of_any_length_have_the_tokens_of_the_plain_implementation() -> None:
    counts = [1, 2, 3, 16, 17, 5, 33, 65]
    clips = [scenes(count, seed) for seed, count in enumerate(counts)]
    features = torch.from_numpy(np.concatenate(clips)).float()
    # Steps of the density that float32 can distinguish: with seeded noise, two frames often have the same top density.
    temporal = [np.random.RandomState(count).permutation(count) * 1e-4 for count in counts]
    noises = [ClipNoise(temporal=torch.from_numpy(term).float()) for term in temporal]
    merged = merge_clips(features, counts, SETTINGS, noises)
    for term, count, clip, ours in zip(temporal, counts, clips, merged, strict=True):
        wanted = slow_clip(clip, term)
        assert ours.shape == wanted.shape == (SETTINGS.num_tokens(count), 16), count
        np.testing.assert_allclose(ours.numpy(), wanted, atol=1e-4, err_msg=f"{count} frames")


grids = st.integers(2, 30).flatmap(
    lambda tokens: st.tuples(
        st.lists(st.lists(st.integers(-2, 2), min_size=4, max_size=4), min_size=tokens, max_size=tokens),
        st.integers(1, tokens),
        st.integers(1, 6),
    )
)


@settings(deadline=None)
@given(grids, st.integers(0, 5))
def test_centres_and_assignments_are_right_up_to_ties(grid: tuple[list[list[int]], int, int], seed: int) -> None:
    """On a grid many tokens have equal scores: any choice among these is right, and no other."""
    points, clusters, k = grid
    k = min(k, len(points))
    x = torch.tensor(points, dtype=torch.float32)[None]
    noise = 1e-6 * torch.rand(1, len(points), generator=torch.Generator().manual_seed(seed))
    assignment, centres = dpc_knn(x, clusters, k, noise)

    chosen = centres[0].tolist()
    assert len(set(chosen)) == clusters
    assert [int(assignment[0, centre]) for centre in chosen] == list(range(clusters))
    distances, _ = scores(x[0].double().numpy(), k, np.zeros(len(points)))
    for token, cluster in enumerate(assignment[0].tolist()):
        if token not in chosen:
            assert distances[token, chosen[cluster]] <= distances[token, chosen].min() + 1e-3
    merged = merge_tokens(x, assignment, clusters)[0]
    for cluster in range(clusters):
        members = x[0, assignment[0] == cluster]
        torch.testing.assert_close(merged[cluster], members.sum(0) / (len(members) + 1e-6), atol=1e-6, rtol=1e-5)


def test_identical_frames_are_merged_to_that_frame() -> None:
    token = torch.randn(16, generator=torch.Generator().manual_seed(0))
    for frames in (1, 2, 3, 20, 64):
        features = token.expand(frames, 20, 16)
        (merged,) = merge_clips(features, [frames], SETTINGS, [ClipNoise(3)])
        assert merged.shape == (SETTINGS.num_tokens(frames), 16)
        torch.testing.assert_close(merged, token.expand_as(merged), atol=1e-5, rtol=1e-5)


def test_an_event_of_one_frame_keeps_its_tokens_in_the_order_of_their_scores() -> None:
    clip = torch.from_numpy(scenes(17, 9)).float()
    clip[11] += 50  # a scene of its own
    density = torch.zeros(17)
    density[0], density[11] = 1e-3, 5e-4  # the two centres
    (merged,) = merge_clips(clip, [17], SETTINGS, [ClipNoise(temporal=density)])
    finest = merged.unflatten(0, (2, -1))[:, : SETTINGS.clusters[0]]
    alone = next(tokens for tokens in finest if float(tokens.mean()) > 40)
    assignment, _ = dpc_knn(clip[11:12], SETTINGS.clusters[0], 5)
    once = merge_tokens(clip[11:12], assignment, SETTINGS.clusters[0])[0]
    rows = {tuple(row) for row in (alone * 1.000001).mul(1e3).round().tolist()}
    assert rows == {tuple(row) for row in once.mul(1e3).round().tolist()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_in_half_precision_merge_as_their_float32_values(dtype: torch.dtype) -> None:
    features = torch.from_numpy(scenes(9, 4)).to(dtype)
    noises = [ClipNoise(1)], [ClipNoise(1)]
    (half,), (full,) = (
        merge_clips(values, [9], SETTINGS, noise)
        for values, noise in zip((features, features.float()), noises, strict=True)
    )
    assert half.dtype == torch.float32 and torch.equal(half, full)


def events_of(features: torch.Tensor, seed: int, threads: int) -> list[list[int]]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        noise = ClipNoise(seed).temporal(len(features))
        return [event.tolist() for event in find_events(features, MergeSettings(), noise)]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("frames", [26, 30, 32, 33, 40, 48, 49, 56, 64])
def test_events_depend_neither_on_the_number_of_threads_nor_on_the_last_bits_of_features(frames: int) -> None:
    """The product route of `cdist`, above 25 rows, rounds more coarsely than the noise that decides between frames."""
    for seed in range(5):
        chance = torch.Generator().manual_seed(100 * seed + frames)
        what = torch.randn(5, 1, 1024, generator=chance)[torch.randint(5, (frames,), generator=chance)]
        features = what + 0.3 * torch.randn(frames, 16, 1024, generator=chance)
        shaken = features * (1 + 1e-7 * torch.randn(features.shape, generator=chance))
        found = events_of(features, seed, threads=1)
        assert found == events_of(features, seed, threads=2)
        assert found == events_of(shaken, seed, threads=1)


def test_distances_by_difference_leave_equal_densities_to_the_noise() -> None:
    """With one neighbour, the token itself, the token of the largest noise has the highest density."""
    points = torch.randn(1, 40, 1024, generator=torch.Generator().manual_seed(0))
    for denser in (0, 17, 39):
        noise = torch.zeros(1, 40)
        noise[0, denser] = 1e-6
        _, centres = dpc_knn(points, 1, 1, noise, by_difference=True)
        # All others have one denser neighbour; only this one is assigned the largest distance of all.
        assert centres.item() == denser
