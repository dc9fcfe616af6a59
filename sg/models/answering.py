"""Generates the answers to many prompts and computes the prefixes that prompts share only once.

The prompts of a video begin with the same ids: system text, visual tokens, then perhaps subtitles. The ids are split at
their longest common prefix, first by clip, then by branch (one setting of one video). Each prefix is run once, and its
keys and values are copied to all prompts that continue it. Rows of different length are padded and masked, so an answer
does not depend on the other rows of the batch, up to rounding. This also holds for sampled answers, because each prompt
has its own random generator.

Shapes: B rows, S new positions, K positions in the cache, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.models.student import Student

PAD_ID = 0


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """The ids of a prompt.

    Attributes:
        clip: name of the clip; prompts of one clip share a prefix.
        branch: name of a group within the clip that shares a longer prefix, such as one setting with its subtitles.
        max_new_tokens: limit of the answer's length.
        num_letters: number of letters that can be an answer: A, B, ...
        seed: of the random generator when answers are sampled.
    """

    ids: tuple[int, ...]
    clip: str
    branch: str = ""
    max_new_tokens: int = 16
    num_letters: int = 4
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are sampled: from the `top_k` likeliest tokens at a temperature, up to `max_new_tokens`."""

    temperature: float
    top_k: int
    max_new_tokens: int


# Chat-UniVi's evaluation scripts set do_sample, temperature 0.2, no top_p and 1,024 new tokens. They do not set top_k;
# the default of transformers was 50.
REFERENCE_SAMPLING = Sampling(temperature=0.2, top_k=50, max_new_tokens=1024)


@dataclass(frozen=True, slots=True)
class Generated:
    """The new ids without the end-of-text id, and the logit of each letter at the first new position."""

    ids: list[int]
    letter_logits: list[float]


@dataclass(frozen=True, slots=True)
class PrefixLevel:
    """One level of the tree of prefixes: the ids of each row, and the row of the level above that it continues."""

    segments: list[tuple[int, ...]]
    parents: list[int]


def common_prefix(rows: Sequence[tuple[int, ...]]) -> int:
    """Length of the longest common prefix, but less than the shortest row, so that each row keeps at least one id.

    A row without an id of its own would have no position whose logits predict its first token.
    """
    # The first and the last row in lexicographic order differ earliest, so their prefix is common to all rows.
    first, last = min(rows), max(rows)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    return min(shared, min(len(row) for row in rows) - 1)


def prefix_levels(prompts: Sequence[EncodedPrompt]) -> tuple[list[str], list[PrefixLevel]]:
    """The names of the clips, and three levels of ids: shared by a clip, shared by a branch, and of one prompt.

    Ids are compared, not texts: a text that is tokenised in pieces can have other ids than the whole text.
    """
    clips: dict[str, list[int]] = {}
    branches: dict[tuple[str, str], list[int]] = {}
    for at, prompt in enumerate(prompts):
        clips.setdefault(prompt.clip, []).append(at)
        branches.setdefault((prompt.clip, prompt.branch), []).append(at)
    rows = list(clips)
    clip_end = {clip: common_prefix([prompts[at].ids for at in members]) for clip, members in clips.items()}
    branch_end = {branch: common_prefix([prompts[at].ids for at in members]) for branch, members in branches.items()}
    row_of = {branch: at for at, branch in enumerate(branches)}
    top = PrefixLevel([prompts[clips[clip][0]].ids[: clip_end[clip]] for clip in rows], [])
    middle = PrefixLevel(
        [prompts[members[0]].ids[clip_end[branch[0]] : branch_end[branch]] for branch, members in branches.items()],
        [rows.index(clip) for clip, _ in branches],
    )
    bottom = PrefixLevel(
        [prompt.ids[branch_end[prompt.clip, prompt.branch] :] for prompt in prompts],
        [row_of[prompt.clip, prompt.branch] for prompt in prompts],
    )
    return rows, [top, middle, bottom]


def _padded(segments: Sequence[Sequence[int]], left: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids [B, S] int64 and mask [B, S] bool of segments of different length, padded on the left or on the right."""
    width = max(len(segment) for segment in segments)
    ids = torch.full((len(segments), width), PAD_ID)
    mask = torch.zeros(len(segments), width, dtype=torch.bool)
    for row, segment in enumerate(segments):
        place = slice(width - len(segment), width) if left else slice(len(segment))
        ids[row, place] = torch.tensor(segment, dtype=torch.long)
        mask[row, place] = True
    return ids.to(device), mask.to(device)


class _CachedRows:
    """The rows of a batch: keys and values of all positions that have been run, and a mask without the padding."""

    def __init__(self, student: Student) -> None:
        self._student = student
        self._cache: Any = student.new_cache()
        self._mask = torch.zeros(0, 0, dtype=torch.bool, device=student.module.device)
        self._next = torch.zeros(0, dtype=torch.long, device=student.module.device)

    def __len__(self) -> int:
        return len(self._mask)

    def begin(self, ids: Tensor, mask: Tensor, clips: Sequence[ClipTensors | None]) -> None:
        """Run the first positions of each row, `ids` [B, S] with `mask` [B, S], and its clip."""
        self._mask, self._next = self._student.prefill(ids, mask, clips, self._cache)

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row that is named several times is copied."""
        if list(rows) == list(range(len(self))):
            return
        index = torch.as_tensor(rows, dtype=torch.long, device=self._mask.device)
        self._cache.batch_select_indices(index)
        self._mask, self._next = self._mask[index], self._next[index]

    def run(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Run new `ids` [B, S] of text with `mask` [B, S]; returns the logits [B, V] at the last position."""
        # Position ids count real positions only. Padding between the levels would otherwise shift the rotary
        # embedding, and an answer would depend on the lengths of the other rows.
        counts = mask.cumsum(dim=1)
        positions = (self._next[:, None] + counts - 1).clamp(min=0)
        self._mask, self._next = torch.cat([self._mask, mask], dim=1), self._next + counts[:, -1]
        return self._student.extend(ids, self._mask, positions, self._cache)

    def run_some(self, ids: Tensor, mask: Tensor) -> None:
        """Like `run` without logits, but rows whose `mask` [B, S] is all false are not computed.

        A branch without subtitles has no ids at this level, but as padding it would cost as much as the longest row.
        """
        active = mask.any(dim=1)
        if bool(active.all()):
            self.run(ids, mask)
            return
        if not bool(active.any()):
            return
        # Run the active rows in a cache of their own, then copy the new keys and values back; zeros for the others.
        part, index = _CachedRows(self._student), active.nonzero()[:, 0]
        part._mask, part._next = self._mask[index], self._next[index]
        for number, layer in enumerate(self._cache.layers):
            part._cache.update(layer.keys[index], layer.values[index], number)
        part.run(ids[index], mask[index])
        for number, (layer, new) in enumerate(zip(self._cache.layers, part._cache.layers, strict=True)):
            added = []
            for whole, some in ((layer.keys, new.keys), (layer.values, new.values)):
                shape = (*whole.shape[:2], mask.shape[1], whole.shape[3])
                added.append(whole.new_zeros(shape).index_copy(0, index, some[:, :, -mask.shape[1] :]))
            self._cache.update(*added, number)
        self._mask = torch.cat([self._mask, mask], dim=1)
        self._next = self._next.index_copy(0, index, part._next)


class Answerer:
    """Generates answers, greedily or by sampling.

    Args:
        student: in evaluation mode.
        letters: for each letter the ids of the tokens that read as it; the letter's logit is the largest of theirs.
        stop_at_first_letter: an answer is complete when its first token is one of those ids.
        sampling: None takes the likeliest token.
    """

    def __init__(
        self,
        student: Student,
        letters: Sequence[Sequence[int]] = (),
        stop_at_first_letter: bool = False,
        sampling: Sampling | None = None,
    ) -> None:
        self._student, self._letters, self._sampling = student, letters, sampling
        self._eos_ids = frozenset(student.eos_ids)
        final = enumerate(letters) if stop_at_first_letter else ()
        self._letter_of_token = {token: letter for letter, ids in final for token in ids}

    @torch.inference_mode()
    def answer(self, prompts: Sequence[EncodedPrompt], clips: Mapping[str, ClipTensors | None]) -> list[Generated]:
        """The answers to `prompts`; `clips` has the features of each clip by name, None for no video."""
        if not self._student.shares_prefixes and len(prompts) > 1:
            return [answer for prompt in prompts for answer in self.answer([prompt], clips)]
        return self._continue(prompts, *self._begin(prompts, clips))

    @torch.inference_mode()
    def likelihoods(
        self,
        prompts: Sequence[EncodedPrompt],
        endings: Sequence[Sequence[Sequence[int]]],
        clips: Mapping[str, ClipTensors | None],
    ) -> list[list[float]]:
        """For each of the `endings` of each prompt its mean log-probability per token, in nats.

        An ending is a list of one or more ids. The prompts are computed once for all of their endings.
        """
        if not self._student.shares_prefixes and sum(map(len, endings)) > 1:
            return [
                [self.likelihoods([prompt], [[ending]], clips)[0][0] for ending in own]
                for prompt, own in zip(prompts, endings, strict=True)
            ]
        rows, logits = self._begin(prompts, clips)
        owners = [at for at, own in enumerate(endings) for _ in own]
        rows.select(owners)
        ids, mask = _padded([ending for own in endings for ending in own], left=False, device=logits.device)
        logits, sums = logits[torch.as_tensor(owners, device=logits.device)], torch.zeros(len(ids), device=ids.device)
        for place in range(ids.shape[1]):
            if place:
                logits = rows.run(ids[:, place - 1, None], mask[:, place - 1, None])
            found = logits.float().log_softmax(dim=-1).gather(1, ids[:, place, None])[:, 0]
            sums += torch.where(mask[:, place], found, 0)
        means = iter((sums / mask.sum(dim=1)).tolist())
        return [[next(means) for _ in own] for own in endings]

    def _begin(
        self, prompts: Sequence[EncodedPrompt], clips: Mapping[str, ClipTensors | None]
    ) -> tuple[_CachedRows, Tensor]:
        """One row per prompt, and the logits [B, V] of its first new position."""
        names, (top, middle, bottom) = prefix_levels(prompts)
        device = self._student.module.device
        # Level 1, one row per clip: system text and visual tokens, which are most of the positions.
        rows = _CachedRows(self._student)
        ids, mask = _padded(top.segments, left=False, device=device)
        rows.begin(ids, mask, [clips[name] for name in names])
        # Level 2, one row per branch: the subtitles of a setting. It is empty in a setting without subtitles.
        rows.select(middle.parents)
        if any(middle.segments):
            ids, mask = _padded(middle.segments, left=False, device=device)
            rows.run_some(ids, mask)
        # Level 3, one row per prompt. Padded on the left, so that the last position of each row is real: its logits
        # predict the first new token.
        rows.select(bottom.parents)
        ids, mask = _padded(bottom.segments, left=True, device=device)
        return rows, rows.run(ids, mask)

    def _continue(self, prompts: Sequence[EncodedPrompt], rows: _CachedRows, logits: Tensor) -> list[Generated]:
        """Decode token by token from the `logits` [B, V] of the first new position."""
        best = [logits[:, list(ids)].float().amax(dim=1).tolist() for ids in self._letters]
        answers = [Generated([], [scores[row] for scores in best[: p.num_letters]]) for row, p in enumerate(prompts)]
        sampler = None if self._sampling is None else _Sampler(self._sampling, [prompt.seed for prompt in prompts])
        owners = list(range(len(rows)))  # row of the batch -> its prompt
        active = [True] * len(rows)
        while True:
            new = logits.argmax(dim=-1) if sampler is None else sampler.next(logits, owners)
            for row, (owner, token) in enumerate(zip(owners, new.tolist(), strict=True)):
                active[row] = active[row] and self._append(prompts[owner], answers[owner].ids, token)
            if not any(active):
                return answers
            # Finished rows are removed only when half of the batch is finished: removing copies the whole cache.
            if 2 * sum(active) <= len(active):
                kept = [row for row, is_active in enumerate(active) if is_active]
                rows.select(kept)
                owners, new, active = [owners[row] for row in kept], new[kept], [True] * len(kept)
            logits = rows.run(new[:, None], torch.ones_like(new, dtype=torch.bool)[:, None])

    def _append(self, prompt: EncodedPrompt, ids: list[int], token: int) -> bool:
        """Append the next token of an answer to `ids`, unless it ends the text; True when the answer continues."""
        if token in self._eos_ids:
            return False
        ids.append(token)
        is_letter = len(ids) == 1 and self._letter_of_token.get(token, prompt.num_letters) < prompt.num_letters
        return not is_letter and len(ids) < prompt.max_new_tokens


class _Sampler:
    """Samples tokens with the Gumbel-max trick; each prompt has its own generator, so the batch does not matter."""

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self._sampling = sampling
        # On the CPU, so that all devices draw the same numbers.
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def next(self, logits: Tensor, owners: Sequence[int]) -> Tensor:
        """One token [B] for each row of `logits` [B, V]; `owners` are the prompts of the rows."""
        scores, tokens = logits.float().topk(min(self._sampling.top_k, logits.shape[1]), dim=1)
        # One random number per token of the vocabulary, not per rank in the top k: rounding may swap two ranks, and
        # each token must keep its number.
        uniform = torch.stack([torch.rand(logits.shape[1], generator=self._generators[owner]) for owner in owners])
        # Clamped away from 0 and 1, where one of the logarithms is infinite.
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7))).to(scores.device).gather(1, tokens)
        chosen = (scores / self._sampling.temperature + gumbel).argmax(dim=1, keepdim=True)
        return tokens.gather(1, chosen)[:, 0]
