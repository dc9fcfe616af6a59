from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sg.core.errors import ModelError
from sg.models.chat_univi.splice import run_lengths, splice_visual_tokens

ROWS = st.lists(st.lists(st.sampled_from([-200, 5, 6, 7]), min_size=1, max_size=12), min_size=1, max_size=4)
WIDTH = 3


def slow_runs(row: list[int]) -> list[int]:
    runs, previous = [], None
    for token in row:
        if token == -200:
            if previous == -200:
                runs[-1] += 1
            else:
                runs.append(1)
        previous = token
    return runs


def slow_splice(row: list[int], labels: list[int], clips: list[torch.Tensor]) -> tuple[list[list[float]], list[int]]:
    """Embeddings (each id is its own embedding) and labels, spliced token by token."""
    embeds, out, previous = [], [], None
    for token, label in zip(row, labels, strict=True):
        if token != -200:
            embeds.append([float(token)] * WIDTH)
            out.append(label)
        elif previous != -200:
            clip = clips.pop(0)
            embeds += clip.tolist()
            out += [-100] * len(clip)
        previous = token
    return embeds, out


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 2**31))
def test_splicing_equals_a_loop_over_all_rows(rows: list[list[int]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in rows])
    labels = torch.where(mask & (ids != -200), ids * 10, -100)
    runs = [slow_runs(row) for row in rows]
    assert run_lengths(ids) == [count for row in runs for count in row]
    clips = [torch.rand(1 + count, WIDTH, generator=generator) for row in runs for count in row]
    text = ids[ids != -200].float()[:, None].expand(-1, WIDTH)

    counts = [len(clip) for clip in clips]
    spliced = splice_visual_tokens(ids, text, torch.cat(clips) if clips else None, counts, mask, labels)

    assert spliced.labels is not None
    left = list(clips)
    for number in range(len(rows)):
        embeds, wanted = slow_splice(ids[number].tolist(), labels[number].tolist(), left)
        used = len(embeds)
        assert torch.equal(spliced.embeds[number, :used], torch.tensor(embeds))
        assert spliced.labels[number, :used].tolist() == wanted
        assert not spliced.embeds[number, used:].any() and (spliced.labels[number, used:] == -100).all()
        pads = length - len(rows[number])
        assert spliced.attention_mask[number].sum() == used - pads
        assert not spliced.attention_mask[number, used - pads :].any()


def test_counts_that_do_not_fit_are_clear_errors() -> None:
    ids, text = torch.tensor([[1, -200, 5]]), torch.zeros(2, WIDTH)
    with pytest.raises(ModelError, match="1 runs of placeholders but 2 clips"):
        splice_visual_tokens(ids, text, torch.zeros(4, WIDTH), [2, 2])
    with pytest.raises(ModelError, match="add up to 5 but 4 visual tokens"):
        splice_visual_tokens(ids, text, torch.zeros(4, WIDTH), [5])
