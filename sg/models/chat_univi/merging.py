"""DPC-KNN token merging, the parameter-free step between the vision tower and the projector of Chat-UniVi.

See `docs/reference/chat_univi.md`, sections 3 and 4.

Shapes: B rows (frames or events), N tokens, C channels, K clusters. All computations are in float32, whatever
the input type or the autocast state: differences far below half precision decide the clusters.

A change of the result here needs a higher `VISUAL_TOKENS_VERSION` (`identity.py`).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sg.core.errors import ModelError

NOISE_SCALE = 1e-6
"""Upper bound of the density noise. It decides the events of clips of 17 to 64 frames, so it is seeded and required."""

MEAN_EPSILON = 1e-6
"""Added to the cluster size in the mean, as in the reference: a cluster of one token is divided by 1.000001."""


def cluster_count(num_tokens: int, rate: float) -> int:
    """Number of clusters of `num_tokens` tokens, at least 1: `rate` if above 1, else that share of the tokens."""
    return max(math.ceil(rate) if rate > 1 else math.ceil(num_tokens * rate), 1)


def neighbour_count(num_clusters: int, configured: int, minimum: int = 1) -> int:
    """Number of neighbours in the density estimate. The published rule reduces it for few clusters, not for few tokens.

    With 1 neighbour the density is constant, because each token is its own nearest neighbour. A `minimum` above 1
    avoids that; it is an experiment, because the published weights were trained with the published rule.
    """
    shrunk = configured if configured <= num_clusters else min(3, max(num_clusters // 2, 1))
    return max(shrunk, minimum)


@contextmanager
def _full_float32(x: Tensor) -> Iterator[None]:
    """Context without autocast, and without TF32 on a GPU: both lose about three digits of the distances."""
    with torch.autocast(x.device.type, enabled=False):
        if not x.is_cuda:
            yield
            return
        allowed = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = allowed


def _separation(distances: Tensor, density: Tensor) -> Tensor:
    """[B, N] distance of each token to the nearest token of strictly higher density, or the row's largest distance."""
    farthest = distances.amax(dim=(1, 2), keepdim=True)
    is_denser = density[:, None, :] > density[:, :, None]
    return torch.where(is_denser, distances, farthest).amin(dim=-1)


@torch.no_grad()
def dpc_knn(
    x: Tensor, num_clusters: int, k: int, noise: Tensor | None = None, *, by_difference: bool = False
) -> tuple[Tensor, Tensor]:
    """Density-peak clustering of `x` [B, N, C].

    Args:
        k: number of neighbours, the token itself included.
        noise: [B, N], already scaled, added to the densities; None adds nothing.
        by_difference: compute distances from differences, slower than from a matrix product. The distance of a token to
            itself is then exactly 0 and distances are symmetric, so that rounding breaks no tie that the noise decides.

    Returns:
        assignment: [B, N] int64, the cluster of each token.
        centres: [B, num_clusters] int64, token indices in descending score, which is the order of the merged tokens.

    Raises:
        ModelError: there are fewer tokens than clusters.
    """
    num_rows, num_tokens, channels = x.shape
    if num_tokens < num_clusters:
        raise ModelError(
            f"token merging was asked for {num_clusters} clusters of {num_tokens} tokens; "
            f"use a vision tower with at least {num_clusters} patches or lower model.spatial_clusters"
        )
    k = min(k, num_tokens)
    with _full_float32(x):
        points = x.float()
        # The reference divides all distances by sqrt(C). A minimum commutes with that factor, so only the few selected
        # distances are divided.
        mode = "donot_use_mm_for_euclid_dist" if by_difference else "use_mm_for_euclid_dist_if_necessary"
        distances = torch.cdist(points, points, compute_mode=mode)
        nearest = distances.topk(k, dim=-1, largest=False, sorted=False).values / channels**0.5
        density = (-nearest.square().mean(dim=-1)).exp()
        if noise is not None:
            # Decides between equal densities; with one neighbour all densities are equal.
            density = density + noise.to(density)
        score = density * (_separation(distances, density) / channels**0.5)
        centres = score.topk(num_clusters, dim=-1).indices
        to_centres = distances.gather(1, centres[:, :, None].expand(-1, -1, num_tokens))
        assignment = to_centres.argmin(dim=1)
        # A centre belongs to its own cluster, even if another centre has the same features and comes first.
        own_cluster = torch.arange(num_clusters, device=x.device).expand(num_rows, -1)
        return assignment.scatter(1, centres, own_cluster), centres


def merge_tokens(x: Tensor, assignment: Tensor, num_clusters: int) -> Tensor:
    """Mean of the tokens of each cluster: `x` [B, N, C] -> [B, num_clusters, C] in the type of `x`; differentiable.

    All tokens have the same weight, also those that earlier stages merged from several. Sums are in float32.
    """
    num_rows, num_tokens, channels = x.shape
    with _full_float32(x):
        points = x.float()
        row_start = torch.arange(num_rows, device=x.device)[:, None] * num_clusters
        flat = (assignment + row_start).reshape(-1)
        ones = torch.ones(num_rows * num_tokens, device=x.device)
        sizes = torch.zeros(num_rows * num_clusters, device=x.device).index_add_(0, flat, ones)
        weights = (1.0 / (sizes + MEAN_EPSILON)).view(num_rows, num_clusters)
        if x.is_cuda:
            # index_add uses atomic additions on a GPU, whose order varies; a matrix product is reproducible.
            one_hot = torch.nn.functional.one_hot(assignment, num_clusters).transpose(1, 2).float()
            merged = one_hot @ points
        else:
            merged = points.new_zeros(num_rows * num_clusters, channels).index_add(
                0, flat, points.reshape(-1, channels)
            )
            merged = merged.view(num_rows, num_clusters, channels)
        return (merged * weights[:, :, None]).to(x.dtype)


class SeededNoise:
    """Density noise of one clip, uniform in [0, 1e-6); its own generator makes it independent of the batch."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed % 2**63)

    def draw(self, num_rows: int, num_tokens: int) -> Tensor:
        """The noise of the clip's next clustering call: [num_rows, num_tokens] float32 on the CPU."""
        return NOISE_SCALE * torch.rand(num_rows, num_tokens, generator=self._generator)
