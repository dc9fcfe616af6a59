"""Answers to many prompts, with the work that prompts share done once.

The prompts of a video begin alike: system text, visual tokens, then perhaps subtitles. Their ids are split at the
longest common prefix (never their text: tokenised apart, the pieces would have other ids), first by clip, then by
branch, and each prefix is run once; its keys and values are repeated for the prompts that go on from it. Rows of
different length are padded and masked, so an answer does not depend on what else is in the batch, up to the rounding
of float32. Where answers are sampled, every prompt draws from its own seed, so that holds for them too.

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
class EncodedPrompt:
    """Ids with one run of placeholders for the clip `clip`, or none for a clip without tokens.

    Prompts with the same `branch` share more than the clip. An answer has up to `max_new_tokens`; `num_letters` is how
    many letters can be an answer; `seed` decides what sampling draws.
    """

    ids: tuple[int, ...]
    clip: str
    branch: str = ""
    max_new_tokens: int = 16
    num_letters: int = 4
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn: from the `top_k` likeliest tokens at a temperature; up to `max_new_tokens`."""

    temperature: float
    top_k: int
    max_new_tokens: int


# Chat-UniVi's own evaluation scripts: do_sample, temperature 0.2, no top_p, 1,024 new tokens; they leave top_k to
# transformers, whose default was 50.
REFERENCE_SAMPLING = Sampling(temperature=0.2, top_k=50, max_new_tokens=1024)


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


def prefix_levels(prompts: Sequence[EncodedPrompt]) -> tuple[list[str], list[Level]]:
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


class Answerer:
    """Answers prompts with the likeliest tokens, or with drawn ones.

    Args:
        model: the composite model in eval mode.
        eos_ids: end an answer.
        letters: for each letter the ids that read as it; its score is that of the best of them.
        stop_at_first_letter: an answer that begins with one of those ids is complete.
        sampling: how tokens are drawn; None takes the likeliest.
    """

    def __init__(
        self,
        model: Any,
        eos_ids: Collection[int],
        letters: Sequence[Sequence[int]] = (),
        stop_at_first_letter: bool = False,
        sampling: Sampling | None = None,
    ) -> None:
        self._model, self._letters, self._sampling = model, letters, sampling
        self._eos_ids = frozenset(eos_ids)
        final = enumerate(letters) if stop_at_first_letter else ()
        self._place_of_letter = {token: place for place, ids in final for token in ids}

    @torch.inference_mode()
    def answer(self, prompts: Sequence[EncodedPrompt], clips: dict[str, Tensor]) -> list[Generated]:
        """The answers to `prompts`, whose clips have the visual tokens `clips` ({clip: [n, C]})."""
        names, (top, middle, bottom) = prefix_levels(prompts)
        device = self._model.device
        rows = _Rows(self._model, len(names))
        ids, mask = _padded(top.segments, left=False, device=device)
        tokens = torch.cat([clips[name].to(device) for name in names])
        counts = [len(clips[name]) for name in names if len(clips[name])]
        spliced = self._model.prepare_inputs(ids, mask, visual_tokens=tokens, visual_counts=counts)
        rows.run(spliced.embeds, spliced.attention_mask)
        rows.take(middle.parents)
        if any(middle.segments):
            ids, mask = _padded(middle.segments, left=False, device=device)
            rows.run_some(self._embed(ids), mask)
        rows.take(bottom.parents)
        ids, mask = _padded(bottom.segments, left=True, device=device)
        return self._continue(prompts, rows, rows.run(self._embed(ids), mask))

    def _embed(self, ids: Tensor) -> Tensor:
        embeds: Tensor = self._model.get_input_embeddings()(ids)
        return embeds

    def _continue(self, prompts: Sequence[EncodedPrompt], rows: _Rows, logits: Tensor) -> list[Generated]:
        """Decode step by step; rows that are finished leave the batch once they are half of it."""
        best = [logits[:, list(ids)].float().amax(dim=1).tolist() for ids in self._letters]
        answers = [Generated([], [scores[row] for scores in best[: p.num_letters]]) for row, p in enumerate(prompts)]
        draws = None if self._sampling is None else _Draws(self._sampling, [prompt.seed for prompt in prompts])
        places = list(range(len(rows)))
        going = [True] * len(rows)
        while True:
            new = logits.argmax(dim=-1) if draws is None else draws.next(logits, places)
            for row, (place, token) in enumerate(zip(places, new.tolist(), strict=True)):
                going[row] = going[row] and self._goes_on(prompts[place], answers[place].ids, token)
            if not any(going):
                return answers
            if 2 * sum(going) <= len(going):
                kept = [row for row, is_going in enumerate(going) if is_going]
                rows.take(kept)
                places, new, going = [places[row] for row in kept], new[kept], [True] * len(kept)
            logits = rows.run(self._embed(new[:, None]), torch.ones_like(new, dtype=torch.bool)[:, None])

    def _goes_on(self, prompt: EncodedPrompt, ids: list[int], token: int) -> bool:
        """Take the next token of an answer into `ids`; whether there is more to come."""
        if token in self._eos_ids:
            return False
        ids.append(token)
        is_letter = len(ids) == 1 and self._place_of_letter.get(token, prompt.num_letters) < prompt.num_letters
        return not is_letter and len(ids) < prompt.max_new_tokens


class _Draws:
    """Draws tokens by the Gumbel trick, each row from a stream of its own: it draws the same in any batch."""

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self._sampling = sampling
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def next(self, logits: Tensor, places: Sequence[int]) -> Tensor:
        """A token [B] for every row of `logits` [B, V]; `places` says whose rows they are."""
        scores, tokens = logits.float().topk(min(self._sampling.top_k, logits.shape[1]), dim=1)
        # A number for every token of the vocabulary, not for every place among the likeliest: places change hands.
        uniform = torch.stack([torch.rand(logits.shape[1], generator=self._generators[place]) for place in places])
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7))).to(scores.device).gather(1, tokens)
        chosen = (scores / self._sampling.temperature + gumbel).argmax(dim=1, keepdim=True)
        return tokens.gather(1, chosen)[:, 0]
