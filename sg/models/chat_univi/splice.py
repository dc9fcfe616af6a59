"""Replaces placeholders by visual tokens, in reading order.

See `docs/reference/chat_univi.md`, section 8.

Shapes: B rows, L ids, S spliced positions, D model width, R runs of placeholders in the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sg.core.errors import ModelError
from sg.models.chat_univi.text.special_ids import PLACEHOLDER_ID
from sg.models.student import IGNORED_LABEL


@dataclass(frozen=True, slots=True)
class Spliced:
    """A batch for the language model: `embeds` [B, S, D], `attention_mask` bool [B, S], `labels` [B, S] or None."""

    embeds: Tensor
    attention_mask: Tensor
    labels: Tensor | None


def run_starts(input_ids: Tensor) -> Tensor:
    """[B, L], True at the first placeholder of each run."""
    is_placeholder = input_ids == PLACEHOLDER_ID
    starts = is_placeholder.clone()
    starts[:, 1:] &= ~is_placeholder[:, :-1]
    return starts


def run_lengths(input_ids: Tensor) -> list[int]:
    """Length of each run of placeholders in the batch, row by row and left to right."""
    is_placeholder = input_ids == PLACEHOLDER_ID
    if not bool(is_placeholder.any()):
        return []
    run_of = run_starts(input_ids).flatten().cumsum(0)[is_placeholder.flatten()]
    counts: list[int] = run_of.bincount()[1:].tolist()
    return counts


def splice_visual_tokens(
    input_ids: Tensor,
    text_embeds: Tensor,
    visual_embeds: Tensor | None,
    visual_counts: Sequence[int],
    attention_mask: Tensor | None = None,
    labels: Tensor | None = None,
) -> Spliced:
    """Replace each run of placeholders in `input_ids` [B, L] by the rows of its clip in `visual_embeds` [sum n, D].

    Rows are padded on the right: embeddings with zeros, labels with -100, mask with False. Visual tokens get label -100
    and mask True.

    Args:
        text_embeds: [M, D], embeddings of the M ids that are not placeholders, row by row.
        visual_counts: n of each clip.

    Raises:
        ModelError: the numbers of runs, clips and visual tokens do not match.
    """
    device, starts = input_ids.device, run_starts(input_ids)
    is_text = input_ids != PLACEHOLDER_ID
    counts = torch.as_tensor(visual_counts, dtype=torch.long, device=device)
    num_runs = int(starts.sum())
    if num_runs != len(visual_counts):
        raise ModelError(f"the ids hold {num_runs} runs of placeholders but {len(visual_counts)} clips were given")
    # Positions per id: 1 for text, n for the first placeholder of a run, 0 for others. Cumulative sums replace loops.
    widths = is_text.long()
    widths[starts] = counts
    ends = widths.cumsum(dim=1)
    num_rows, length = len(input_ids), int(ends[:, -1].max())
    row_start = torch.arange(num_rows, device=device)[:, None] * length
    first = row_start + ends - widths
    text_at = first[is_text]
    embeds = text_embeds.new_zeros(num_rows * length, text_embeds.shape[-1]).index_copy(0, text_at, text_embeds)
    mask = torch.zeros(num_rows * length, dtype=torch.bool, device=device)
    mask[text_at] = True if attention_mask is None else attention_mask[is_text].bool()
    if visual_embeds is not None and num_runs:
        visual_at = _positions_of_runs(first[starts], counts)
        if len(visual_at) != len(visual_embeds):
            total = len(visual_at)
            raise ModelError(f"visual counts add up to {total} but {len(visual_embeds)} visual tokens were given")
        embeds = embeds.index_copy(0, visual_at, visual_embeds.to(embeds.dtype))
        mask[visual_at] = True
    spliced_labels = None
    if labels is not None:
        flat_labels = labels.new_full((num_rows * length,), IGNORED_LABEL)
        spliced_labels = flat_labels.index_copy(0, text_at, labels[is_text]).view(num_rows, length)
    return Spliced(embeds.view(num_rows, length, -1), mask.view(num_rows, length), spliced_labels)


def _positions_of_runs(first: Tensor, counts: Tensor) -> Tensor:
    """Positions [sum n] of runs that begin at `first` [R] and are `counts` [R] long, run after run."""
    before = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    inside = torch.arange(len(before), device=counts.device) - before
    return torch.repeat_interleave(first, counts) + inside
