"""The loss on held-out captions: the metric that resolves what accuracy cannot.

The loss of a run is the mean over all tokens of all held-out captions, in nats. Its errors follow the same rule as
those of accuracy (`sg.report.numbers.estimates`): every caption is an item of its own video.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.held_out import CaptionLoss, read_caption_losses
from sg.artefacts.result import RunResult
from sg.core.errors import DataError, MissingInputError
from sg.report.numbers.comparisons import control_row, study_shapes
from sg.report.numbers.estimates import ArmScore, Floats, Ints, accuracy
from sg.report.numbers.statistics import holm
from sg.report.numbers.study import Arm, ArmScores, Study
from sg.report.numbers.summary import ControlRow, LossGroup, LossRow, LossTable

HELD_OUT = "held_out"
"""The name of the metric where accuracies have the name of their setting."""
LENGTHS = ("short captions", "medium captions", "long captions")
"""Thirds of the held-out captions by number of tokens."""

Losses = Mapping[int, Mapping[str, CaptionLoss]]
"""Seed -> video -> loss."""


def held_out_table(study: Study) -> tuple[LossTable | None, list[str]]:
    """The losses of all arms on the captions that all runs have, and notes on runs without readable losses."""
    arms = [arm for arm in (*study.finished, *study.controls) if arm.runs]
    found, notes = read_losses(study)
    videos = shared_videos([found])
    if not videos:
        return None, notes
    any_run = next(losses for by_seed in found.values() for losses in by_seed.values())
    tokens = np.array([any_run[video].tokens for video in videos])
    scores = loss_scores(found, videos)
    rows, controls = _with_holm(
        _rows(study, arms, scores, found, videos),
        [row for arm in study.controls for row in control_row(study, arm, HELD_OUT, scores)],
    )
    return LossTable(
        captions=len(videos),
        tokens=int(tokens.sum()),
        rows=rows,
        controls=controls,
        shapes=study_shapes(study, scores),
        groups=[
            LossGroup(kind, name, len(members), _rows(study, arms, loss_scores(found, members), found, members))
            for kind, name, members in _groups([any_run[video] for video in videos])
        ],
    ), notes


def read_losses(study: Study) -> tuple[dict[str, Losses], list[str]]:
    """The losses of all finished arms by name, and notes on runs without readable losses."""
    notes: list[str] = []
    return {arm.name: _losses(study, arm.runs, notes) for arm in (*study.finished, *study.controls) if arm.runs}, notes


def shared_videos(studies: Sequence[Mapping[str, Losses]]) -> list[str]:
    """The videos whose captions all runs of the studies have; empty if there are no runs."""
    runs = [set(losses) for found in studies for by_seed in found.values() for losses in by_seed.values()]
    return sorted(set.intersection(*runs)) if runs else []


def _with_holm(rows: list[LossRow], controls: list[ControlRow]) -> tuple[list[LossRow], list[ControlRow]]:
    """Add p adjusted by Holm's method: the family is every scale against no captions and every control."""
    tested = {row.arm: row.delta.p for row in rows if row.control is None and row.delta and row.delta.p is not None}
    tested |= {row.control: row.difference.p for row in controls if row.difference.p is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return (
        [replace(row, p_holm=adjusted.get(row.arm)) if row.control is None else row for row in rows],
        [replace(row, p_holm=adjusted.get(row.control)) for row in controls],
    )


def _losses(study: Study, runs: Sequence[RunResult], notes: list[str]) -> Losses:
    losses = {}
    for run in runs:
        if run.held_out is None:
            continue
        try:
            rows = read_caption_losses(study.folder / run.run, run.held_out)
        except (DataError, MissingInputError) as error:
            notes.append(f"The held-out losses of {run.run} are left out: {error}")
            continue
        losses[run.seed] = {row.video_id: row for row in rows}
    return losses


def _groups(rows: Sequence[CaptionLoss]) -> list[tuple[str, str, list[str]]]:
    """(kind, name, videos) of the groups of captions: one per source if there are several, and thirds by length."""
    sources = sorted({row.source for row in rows})
    groups = [
        ("source", source, [row.video_id for row in rows if row.source == source])
        for source in (sources if len(sources) > 1 else [])
    ]
    by_length = sorted(rows, key=lambda row: (row.tokens, row.video_id))
    thirds = np.array_split(np.arange(len(rows)), len(LENGTHS))
    return groups + [
        ("length", name, [by_length[at].video_id for at in places])
        for name, places in zip(LENGTHS, thirds, strict=True)
        if len(places)
    ]


def loss_scores(found: Mapping[str, Losses], videos: Sequence[str]) -> ArmScores:
    """Score the arms with losses on the captions of `videos`, which all of their runs have."""
    arms = {}
    for name, by_seed in found.items():
        if by_seed:
            nats = np.array([[losses[video].nats for video in videos] for losses in by_seed.values()])
            tokens = np.array([[losses[video].tokens for video in videos] for losses in by_seed.values()])
            arms[name] = loss_score(nats, tokens, np.arange(len(videos)), tuple(by_seed))
    return ArmScores(arms)


def loss_score(nats: Floats, tokens: NDArray[np.int64], videos: Ints, seeds: tuple[int, ...]) -> ArmScore:
    """The score of an arm whose captions have losses `nats` [s, n] over `tokens` [s, n]: nats per token, per seed."""
    # The mean is a ratio of sums. Its first-order error is the sum of (nats - mean * tokens) / all tokens.
    totals = tokens.sum(axis=1, keepdims=True)
    means = nats.sum(axis=1, keepdims=True) / totals
    return ArmScore(seeds, means[:, 0], (nats - means * tokens) / totals, videos, unit=1.0)


def _rows(
    study: Study, arms: Sequence[Arm], scores: ArmScores, found: Mapping[str, Losses], videos: Sequence[str]
) -> list[LossRow]:
    return [
        LossRow(
            arm=arm.name,
            label=arm.label,
            scale=arm.scale,
            control=arm.control,
            seeds=list(scores.by_name[arm.name].seeds),
            loss=accuracy(scores.by_name[arm.name]),
            per_caption=float(np.mean([losses[video].nats for losses in found[arm.name].values() for video in videos])),
            delta=None if arm.is_baseline else scores.difference(arm, study.baseline),
        )
        for arm in arms
        if arm.name in scores.by_name
    ]
