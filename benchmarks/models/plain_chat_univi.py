"""The baseline of `chat_univi_speed.py`: the computations of the published code, in our own words.

It includes the unnecessary work of the original (`docs/reference/chat_univi.md`, section 15): the whole tower with all
hidden states and the pooled output, eager attention with a mask, merging clip by clip and event by event, splicing
sample by sample, and logits of all positions. It computes the same numbers as `sg.models.chat_univi` from the same
weights.

Shapes: F frames of all clips, T of one clip, P patches, N tokens, C tower width, D language-model width.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel

from sg.models.chat_univi.abstractor import MergeSettings
from sg.models.chat_univi.merging import cluster_count, neighbour_count
from sg.models.chat_univi.text.special_ids import PLACEHOLDER_ID
from sg.models.student import IGNORED_LABEL


class PlainChatUniVi(nn.Module):
    """The baseline with the weights of `model`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.settings: MergeSettings = model.merging
        self.select_layer: int = model.config.vision_select_layer
        self.tower = _eager(model.vision_tower.vision_tower, model.config.vision_config).requires_grad_(False)
        self.language_model = _eager(model.model, model.config.text_config)
        self.lm_head, self.projector = model.lm_head, model.mm_projector

    def encode(self, frames: Tensor, counts: list[int], noise: Tensor | None = None) -> list[Tensor]:
        """Visual tokens of each clip before the projector; `noise` [T] is added to the temporal stage's densities."""
        with torch.no_grad():
            outputs = self.tower(frames, output_hidden_states=True)
            features = outputs.hidden_states[self.select_layer][:, 1:]
        return [self._merge(clip, noise) for clip in torch.split(features, counts)]

    def loss(self, ids: Tensor, labels: Tensor, mask: Tensor, frames: Tensor, counts: list[int]) -> Tensor:
        """Mean cross-entropy of a batch with one clip per row."""
        clips = [self.projector(tokens) for tokens in self.encode(frames, counts)]
        rows = [self._splice(*row) for row in zip(ids, labels, mask, clips, strict=True)]
        parts = zip(*rows, strict=True)
        embeds, targets, masks = (nn.utils.rnn.pad_sequence(list(part), batch_first=True) for part in parts)
        hidden = self.language_model(inputs_embeds=embeds, attention_mask=masks, use_cache=False).last_hidden_state
        logits = self.lm_head(hidden).float()
        shifted, wanted = logits[:, :-1].contiguous(), targets[:, 1:].contiguous()
        return functional.cross_entropy(shifted.view(-1, shifted.shape[-1]), wanted.view(-1))

    def _splice(self, ids: Tensor, labels: Tensor, mask: Tensor, clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One sample with its clip in place of the placeholders."""
        places = torch.where(ids == PLACEHOLDER_ID)[0]
        start, end = int(places[0]), int(places[-1]) + 1
        embed = self.language_model.embed_tokens
        embeds = torch.cat([embed(ids[:start]), clip, embed(ids[end:])])
        ignored = torch.full((len(clip),), IGNORED_LABEL)
        seen = torch.ones(len(clip), dtype=torch.bool)
        return (
            embeds,
            torch.cat([labels[:start], ignored, labels[end:]]),
            torch.cat([mask[:start], seen, mask[end:]]),
        )

    def _merge(self, clip: Tensor, noise: Tensor | None = None) -> Tensor:
        """Tokens of a video [T, P, C], T at least 3."""
        settings = self.settings
        frame_means = clip.mean(dim=1, keepdim=True).transpose(0, 1)
        num_events = cluster_count(len(clip), settings.temporal_rate)
        k = neighbour_count(num_events, settings.temporal_neighbours)
        event_of = _cluster(frame_means, num_events, k, noise)[0]
        stages, tokens = [], clip
        for clusters, k in zip(settings.clusters, settings.neighbours, strict=True):
            tokens = _merged(tokens, clusters, neighbour_count(clusters, k))
            stages.append(tokens)
        pieces = []
        for event in dict.fromkeys(event_of.tolist()):
            for stage, clusters, k in zip(stages, settings.clusters, settings.neighbours, strict=True):
                of_event = torch.cat([stage[frame] for frame in range(len(clip)) if event_of[frame] == event])[None]
                pieces.append(_merged(of_event, clusters, neighbour_count(clusters, k))[0])
        return torch.cat(pieces)


def _eager(part: Any, config: Any) -> Any:
    """A copy of `part` with eager attention, which shares its weights."""
    with torch.device("meta"):
        copy = AutoModel.from_config(deepcopy(config), attn_implementation="eager")
    copy.load_state_dict(dict(part.state_dict(keep_vars=True)), assign=True)
    for name, buffer in part.named_buffers():
        owner, _, key = name.rpartition(".")
        copy.get_submodule(owner).register_buffer(key, buffer, persistent=False)
    return copy.eval()


@torch.no_grad()
def _cluster(tokens: Tensor, clusters: int, k: int, noise: Tensor | None = None) -> Tensor:
    """Cluster [B, N] of each token of `tokens` [B, N, C]."""
    rows, count, channels = tokens.shape
    distances = torch.cdist(tokens.float(), tokens.float()) / channels**0.5
    nearest, _ = torch.topk(distances, k=min(k, count), dim=-1, largest=False)
    density = (-(nearest**2).mean(dim=-1)).exp()
    density = density if noise is None else density + noise
    higher = (density[:, None, :] > density[:, :, None]).type(distances.dtype)
    farthest = distances.flatten(1).max(dim=-1)[0][:, None, None]
    separation, _ = (distances * higher + farthest * (1 - higher)).min(dim=-1)
    _, centres = torch.topk(separation * density, k=clusters, dim=-1)
    row = torch.arange(rows)[:, None]
    assignment = distances[row, centres].argmin(dim=1)
    assignment[row, centres] = torch.arange(clusters).expand(rows, -1)
    return assignment


def _merged(tokens: Tensor, clusters: int, k: int) -> Tensor:
    """Means [B, clusters, C] of the clusters of `tokens` [B, N, C]."""
    rows, count, channels = tokens.shape
    flat = (_cluster(tokens, clusters, k) + torch.arange(rows)[:, None] * clusters).reshape(-1)
    weights = tokens.new_ones(rows * count, 1)
    total = tokens.new_zeros(rows * clusters, 1).index_add_(0, flat, weights) + 1e-6
    shares = weights / total[flat]
    sums = tokens.new_zeros(rows * clusters, channels)
    sums = sums.index_add(0, flat, tokens.reshape(rows * count, channels) * shares)
    return sums.reshape(rows, clusters, channels)
