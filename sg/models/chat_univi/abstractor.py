"""Merges patch features into the few visual tokens that the language model reads.

See `docs/reference/chat_univi.md`, sections 5 and 6.

Shapes: F frames of all clips in sequence, T frames of one clip, P patches, C channels. An image or a video event
becomes `sum(clusters)` tokens (64 + 32 + 16 in v1.5). There are no parameters and no positional encoding: the
language model learns about time only from the order of the events.

A change of the result here needs a higher `VISUAL_TOKENS_VERSION` (`identity.py`).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sg.core.errors import ModelError
from sg.models.chat_univi.merging import SeededNoise, cluster_count, dpc_knn, merge_tokens, neighbour_count

LONGEST_IMAGE_RUN = 2
"""One or two frames are images, each with its own tokens; three or more frames are a video."""

DISTANCES_PER_CHUNK = {"cpu": 1_000_000, "cuda": 64_000_000}
"""Pairwise distances per chunk of rows. On a CPU, chunks that fit into its cache take a third less time."""


@dataclass(frozen=True, slots=True)
class MergeSettings:
    """Cluster and neighbour counts of the three spatial stages and of the temporal one."""

    clusters: tuple[int, ...] = (64, 32, 16)
    neighbours: tuple[int, ...] = (5, 3, 3)
    temporal_rate: float = 1 / 16
    temporal_neighbours: int = 5
    min_temporal_neighbours: int = 1

    @property
    def tokens_per_event(self) -> int:
        """Visual tokens of an image or of one event of a video."""
        return sum(self.clusters)

    def num_tokens(self, num_frames: int) -> int:
        """Visual tokens of a clip of `num_frames` frames."""
        if num_frames <= LONGEST_IMAGE_RUN:
            return num_frames * self.tokens_per_event
        return cluster_count(num_frames, self.temporal_rate) * self.tokens_per_event


class ClipNoise:
    """Density noise of one clip: from its seed, or an explicit noise of the temporal stage and none in other stages."""

    def __init__(self, seed: int | None = 0, temporal: Tensor | None = None) -> None:
        self._temporal = temporal
        self._seeded = None if seed is None or temporal is not None else SeededNoise(seed)

    def spatial(self, num_rows: int, num_tokens: int) -> Tensor | None:
        """Noise [num_rows, num_tokens] of a spatial stage over `num_rows` frames or events of this clip."""
        return None if self._seeded is None else self._seeded.draw(num_rows, num_tokens)

    def temporal(self, num_frames: int) -> Tensor | None:
        """Noise [1, num_frames] of the temporal stage."""
        if self._temporal is not None:
            return self._temporal.reshape(1, num_frames)
        return self.spatial(1, num_frames)


def _join(noises: Sequence[Tensor | None]) -> Tensor | None:
    """Noise of several clips for one call; None if no clip has noise; ModelError if only some clips have noise."""
    present = [noise for noise in noises if noise is not None]
    if not present:
        return None
    if len(present) == len(noises):
        return torch.cat(present)
    raise ModelError("a batch mixes clips with seeded and with explicit density noise; give one kind for all its clips")


def _stage(tokens: Tensor, num_clusters: int, configured: int, noise: Tensor | None) -> Tensor:
    """One merging stage over rows of equal size: [B, N, C] -> [B, num_clusters, C]."""
    k = neighbour_count(num_clusters, configured)
    rows = max(1, DISTANCES_PER_CHUNK.get(tokens.device.type, 16_000_000) // tokens.shape[1] ** 2)
    merged = []
    for start in range(0, len(tokens), rows):
        chunk = tokens[start : start + rows]
        chunk_noise = None if noise is None else noise[start : start + rows].to(tokens.device)
        assignment, _ = dpc_knn(chunk, num_clusters, k, chunk_noise)
        merged.append(merge_tokens(chunk, assignment, num_clusters))
    return merged[0] if len(merged) == 1 else torch.cat(merged)


def find_events(features: Tensor, settings: MergeSettings, noise: Tensor | None) -> list[Tensor]:
    """Indices of the frames of each event of one clip with `features` [T, P, C].

    Events are ordered by their first frames. The frames of an event are in temporal order.
    """
    # Clustering compares the means of the frames' patches. Frames of one event can be far apart in time: the rule of
    # the reference has no notion of adjacency.
    num_events = cluster_count(len(features), settings.temporal_rate)
    if num_events == 1:
        return [torch.arange(len(features), device=features.device)]
    k = neighbour_count(num_events, settings.temporal_neighbours, settings.min_temporal_neighbours)
    frame_means = features.float().mean(dim=1)[None]
    noise = None if noise is None else noise.to(features.device)
    # With 1 or 2 neighbours the noise decides between equal densities. The rounding of a matrix product is larger than
    # the noise and depends on the number of threads, so it would decide instead.
    assignment, _ = dpc_knn(frame_means, num_events, k, noise, by_difference=True)
    members = [torch.nonzero(assignment[0] == event)[:, 0] for event in range(num_events)]
    return sorted(members, key=lambda frames: int(frames[0]))


@dataclass(frozen=True, slots=True)
class _Event:
    clip: int
    frames: Tensor  # indices into all frames of the batch


def merge_clips(
    features: Tensor, frame_counts: Sequence[int], settings: MergeSettings, noises: Sequence[ClipNoise]
) -> list[Tensor]:
    """Visual tokens, float32 [n, C] per clip, of clips with `frame_counts` frames and `features` [F, P, C].

    The spatial stages run over the frames of all clips at once, then over all events of equal size. The tokens of a
    clip do not depend on the other clips of the batch.

    Raises:
        ModelError: the counts do not add up to F, or noise is mixed.
    """
    if sum(frame_counts) != len(features):
        raise ModelError(f"frame counts add up to {sum(frame_counts)} but there are {len(features)} frames")
    features = features.float()
    # The temporal noise is drawn before that of the spatial stages, because the reference draws in this order.
    temporal = [_temporal_noise(noise, count) for noise, count in zip(noises, frame_counts, strict=True)]
    stages: list[Tensor] = []
    tokens = features
    for num_clusters, neighbours in zip(settings.clusters, settings.neighbours, strict=True):
        num_tokens = tokens.shape[1]
        noise = _join([clip.spatial(count, num_tokens) for clip, count in zip(noises, frame_counts, strict=True)])
        tokens = _stage(tokens, num_clusters, neighbours, noise)
        stages.append(tokens)
    per_image = torch.cat(stages, dim=1)

    events = _events_of_batch(features, frame_counts, settings, temporal)
    merged = _merge_events(stages, events, settings, noises)
    pieces: list[list[Tensor]] = [[] for _ in frame_counts]
    start = 0
    for clip, count in enumerate(frame_counts):
        if count <= LONGEST_IMAGE_RUN:
            pieces[clip].append(per_image[start : start + count].flatten(0, 1))
        start += count
    for event, event_tokens in zip(events, merged, strict=True):
        pieces[event.clip].append(event_tokens)
    return [
        torch.cat(clip_pieces) if clip_pieces else features.new_zeros(0, features.shape[-1]) for clip_pieces in pieces
    ]


def _temporal_noise(noise: ClipNoise, num_frames: int) -> Tensor | None:
    """Noise of the temporal stage; None for images, which have no such stage."""
    return noise.temporal(num_frames) if num_frames > LONGEST_IMAGE_RUN else None


def _events_of_batch(
    features: Tensor, frame_counts: Sequence[int], settings: MergeSettings, temporal: Sequence[Tensor | None]
) -> list[_Event]:
    """Events of all videos of the batch, ordered by clip, then by time."""
    events: list[_Event] = []
    start = 0
    for clip, count in enumerate(frame_counts):
        if count > LONGEST_IMAGE_RUN:
            found = find_events(features[start : start + count], settings, temporal[clip])
            events.extend(_Event(clip, frames + start) for frames in found)
        start += count
    return events


def _merge_events(
    stages: Sequence[Tensor], events: Sequence[_Event], settings: MergeSettings, noises: Sequence[ClipNoise]
) -> list[Tensor]:
    """Tokens [sum(clusters), C] of each event, in the order of `events`.

    Stage i merges the frame tokens of stage i, not the event tokens of stage i - 1, as in the reference.
    """
    # Drawn per event in the order of the clip, before grouping by size, so that the batch does not change the noise.
    noise_of = [[noises[e.clip].spatial(1, len(e.frames) * s.shape[1]) for s in stages] for e in events]
    same_size: dict[int, list[int]] = defaultdict(list)
    for index, event in enumerate(events):
        same_size[len(event.frames)].append(index)
    merged: dict[int, Tensor] = {}
    for members in same_size.values():
        frames = torch.stack([events[index].frames for index in members])
        parts = []
        for stage, (num_clusters, neighbours) in enumerate(zip(settings.clusters, settings.neighbours, strict=True)):
            noise = _join([noise_of[index][stage] for index in members])
            parts.append(_stage(stages[stage][frames].flatten(1, 2), num_clusters, neighbours, noise))
        merged.update(zip(members, torch.cat(parts, dim=1), strict=True))
    return [merged[index] for index in range(len(events))]
