"""Greedy answers to many prompts, with the work that prompts share done once.

The prompts of a video begin alike: system text, visual tokens, then perhaps subtitles. Their ids are split at the
longest common prefix (never their text: tokenised apart, the pieces would have other ids), first by clip, then by
branch, and each prefix is run once; its keys and values are repeated for the prompts that go on from it. Rows of
different length are padded and masked, so an answer does not depend on what else is in the batch, up to the rounding
of float32.

Shapes: B rows, S new positions, K positions in the cache, H heads, D width of the language model, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

PAD_ID = 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ids with one run of placeholders for the clip `clip`; prompts with the same `branch` share more than the clip."""

    ids: tuple[int, ...]
    clip: str
    branch: str = ""


@dataclass(frozen=True, slots=True)
class Generated:
    """New ids without the end-of-text id, and what each letter scored at the first of them."""

    ids: list[int]
    letter_logits: list[float]


@dataclass(frozen=True, slots=True)
class Level:
    """One layer of the tree of prefixes: a segment of ids a row, and the row above that it goes on from."""

    segments: list[tuple[int, ...]]
    parents: list[int]


def common_prefix(rows: Sequence[tuple[int, ...]]) -> int:
    """Length of the longest common prefix, less than the shortest row, so that every row has an id left."""
    first, last = min(rows), max(rows)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    return min(shared, min(len(row) for row in rows) - 1)


def prefix_levels(prompts: Sequence[Prompt]) -> tuple[list[str], list[Level]]:
    """The clips in order, and three levels: what all prompts of a clip share, those of a branch, and the rest."""
    clips: dict[str, list[int]] = {}
    branches: dict[tuple[str, str], list[int]] = {}
    for at, prompt in enumerate(prompts):
        clips.setdefault(prompt.clip, []).append(at)
        branches.setdefault((prompt.clip, prompt.branch), []).append(at)
    rows = list(clips)
    clip_end = {clip: common_prefix([prompts[at].ids for at in members]) for clip, members in clips.items()}
    branch_end = {branch: common_prefix([prompts[at].ids for at in members]) for branch, members in branches.items()}
    row_of = {branch: at for at, branch in enumerate(branches)}
    top = Level([prompts[clips[clip][0]].ids[: clip_end[clip]] for clip in rows], [])
    middle = Level(
        [prompts[members[0]].ids[clip_end[branch[0]] : branch_end[branch]] for branch, members in branches.items()],
        [rows.index(clip) for clip, _ in branches],
    )
    bottom = Level(
        [prompt.ids[branch_end[prompt.clip, prompt.branch] :] for prompt in prompts],
        [row_of[prompt.clip, prompt.branch] for prompt in prompts],
    )
    return rows, [top, middle, bottom]


def _padded(segments: Sequence[Sequence[int]], left: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids [B, S] and mask [B, S] of segments of different length, padded on the left or on the right."""
    width = max(len(segment) for segment in segments)
    ids = torch.full((len(segments), width), PAD_ID)
    mask = torch.zeros(len(segments), width, dtype=torch.bool)
    for row, segment in enumerate(segments):
        place = slice(width - len(segment), width) if left else slice(len(segment))
        ids[row, place] = torch.tensor(segment, dtype=torch.long)
        mask[row, place] = True
    return ids.to(device), mask.to(device)


class _Rows:
    """Rows of a batch that have been run so far: their keys and values, and which positions are real."""

    def __init__(self, model: Any, count: int) -> None:
        self._model = model
        self._cache: Any = DynamicCache()
        self._mask = torch.zeros(count, 0, dtype=torch.bool, device=model.device)

    def __len__(self) -> int:
        return len(self._mask)

    def take(self, rows: Sequence[int] | Tensor) -> None:
        """Go on with these rows, in this order; a row may be taken several times."""
        index = torch.as_tensor(rows, dtype=torch.long, device=self._mask.device)
        if self._mask.shape[1]:
            self._cache.batch_select_indices(index)
        self._mask = self._mask[index]

    def run(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """Run new positions `embeds` [B, S, D]; the scores [B, V] at the last one."""
        before = self._mask.sum(dim=1, keepdim=True)
        positions = (before + mask.cumsum(dim=1) - 1).clamp(min=0)
        self._mask = torch.cat([self._mask, mask], dim=1)
        output = self._model(
            inputs_embeds=embeds,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def run_some(self, embeds: Tensor, mask: Tensor) -> None:
        """Like `run`, but rows of `mask` [B, S] without any new position only get padding."""
        active = mask.any(dim=1)
        if bool(active.all()):
            self.run(embeds, mask)
            return
        if not bool(active.any()):
            return
        part, index = _Rows(self._model, 0), active.nonzero()[:, 0]
        part._mask = self._mask[index]
        for number, layer in enumerate(self._cache.layers):
            part._cache.update(layer.keys[index], layer.values[index], number)
        part.run(embeds[index], mask[index])
        for number, (layer, new) in enumerate(zip(self._cache.layers, part._cache.layers, strict=True)):
            added = []
            for whole, some in ((layer.keys, new.keys), (layer.values, new.values)):
                shape = (*whole.shape[:2], mask.shape[1], whole.shape[3])
                added.append(whole.new_zeros(shape).index_copy(0, index, some[:, :, -mask.shape[1] :]))
            self._cache.update(*added, number)
        self._mask = torch.cat([self._mask, mask], dim=1)


class GreedyAnswerer:
    """Answers prompts with the likeliest tokens.

    Args:
        model: the composite model in eval mode.
        max_new_tokens: where an answer ends at the latest.
        eos_ids: end an answer.
        letters: for each letter the ids that read as it; its score is that of the best of them.
        stop_at_first_letter: an answer that begins with one of those ids is complete.
    """

    def __init__(
        self,
        model: Any,
        max_new_tokens: int,
        eos_ids: Collection[int],
        letters: Sequence[Sequence[int]] = (),
        stop_at_first_letter: bool = False,
    ) -> None:
        self._model, self._limit, self._letters = model, max_new_tokens, letters
        self._eos_ids = frozenset(eos_ids)
        final = {token for ids in letters for token in ids} if stop_at_first_letter else set()
        self._ends = torch.tensor(sorted(self._eos_ids), device=model.device)
        self._ends_at_once = torch.tensor(sorted(self._eos_ids | final), device=model.device)

    @torch.inference_mode()
    def answer(self, prompts: Sequence[Prompt], clips: dict[str, Tensor]) -> list[Generated]:
        """The answers to `prompts`, whose clips have the visual tokens `clips` ({clip: [n, C]})."""
        names, (top, middle, bottom) = prefix_levels(prompts)
        device = self._model.device
        rows = _Rows(self._model, len(names))
        ids, mask = _padded(top.segments, left=False, device=device)
        tokens = torch.cat([clips[name].to(device) for name in names])
        spliced = self._model.prepare_inputs(
            ids, mask, visual_tokens=tokens, visual_counts=[len(clips[name]) for name in names]
        )
        rows.run(spliced.embeds, spliced.attention_mask)
        rows.take(middle.parents)
        if any(middle.segments):
            ids, mask = _padded(middle.segments, left=False, device=device)
            rows.run_some(self._embed(ids), mask)
        rows.take(bottom.parents)
        ids, mask = _padded(bottom.segments, left=True, device=device)
        return self._continue(rows, rows.run(self._embed(ids), mask))

    def _embed(self, ids: Tensor) -> Tensor:
        embeds: Tensor = self._model.get_input_embeddings()(ids)
        return embeds

    def _continue(self, rows: _Rows, logits: Tensor) -> list[Generated]:
        """Decode step by step; rows that are finished leave the batch once they are half of it."""
        best = [logits[:, list(ids)].float().amax(dim=1).tolist() for ids in self._letters]
        answers = [Generated([], [scores[row] for scores in best]) for row in range(len(rows))]
        places = torch.arange(len(rows), device=logits.device)
        going = torch.ones(len(rows), dtype=torch.bool, device=logits.device)
        for step in range(self._limit):
            new = logits.argmax(dim=-1)
            ends = self._ends_at_once if step == 0 else self._ends
            for place, token, is_going in zip(places.tolist(), new.tolist(), going.tolist(), strict=True):
                if is_going and token not in self._eos_ids:
                    answers[place].ids.append(token)
            going &= ~torch.isin(new, ends)
            if step + 1 == self._limit or not bool(going.any()):
                break
            if 2 * int(going.sum()) <= len(going):
                kept = going.nonzero()[:, 0]
                rows.take(kept)
                places, new, going = places[kept], new[kept], going[kept]
            logits = rows.run(self._embed(new[:, None]), torch.ones_like(new, dtype=torch.bool)[:, None])
        return answers
