"""From a study's answers to its numbers: accuracies, differences to the baseline, controls, probes, Holm."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sg.artefacts.predictions import PROBES, SETTINGS, WITHOUT_SUBTITLES
from sg.artefacts.result import EQUAL_STEPS, RANDOM, RunResult
from sg.core.fingerprints import fingerprint
from sg.report.estimates import Estimate, Sample, accuracy, difference, joint_p, sample, spread
from sg.report.published import Key, PublishedCell, published_for
from sg.report.statistics import holm
from sg.report.study import BUCKETS, OVERALL, Arm, Study
from sg.report.summary import Cell, ControlRow, LetterRow, ProbeRow, Row, RunRow, Summary, Table

CHANCE = 25.0
"""Percent right by guessing among four options."""
PROBE_TOLERANCE = 4.0
"""A probe counts as at chance within this many points of it (`spec/demo-world.md` section 8, point 4)."""


def measure(study: Study) -> Summary:
    """Every number of the report on `study`."""
    published = published_for(study.benchmark)
    arms = (*study.finished, *study.controls)
    tables = with_holm([table for setting in SETTINGS if (table := _table(study, setting, published)) is not None])
    return Summary(
        study=study.name,
        benchmark=study.benchmark,
        commands=sorted({run.command for run in study.runs if run.command}),
        versions=_versions(study.runs),
        tables=tables,
        controls=[row for setting in SETTINGS for arm in study.controls for row in _control(study, arm, setting)],
        probes=[row for probe in PROBES for arm in study.finished for row in _probe(study, arm, probe)],
        letters=[row for setting in SETTINGS for arm in arms for row in _letters(arm, setting)],
        answers=_shares(dict(zip(*np.unique(study.questions.answers, return_counts=True), strict=True))),
        runs=[_run(run) for run in sorted(study.runs, key=_run_order)],
        notes=list(study.notes),
    )


def arm_label(arm: Arm) -> str:
    """How an arm is called: `no captions`, `50k (500)` with the captions really used, `50k repeated`, `100k random`."""
    if arm.is_baseline:
        return "no captions"
    if arm.control is not None:
        return f"{arm.scale_label} {'repeated' if arm.control == EQUAL_STEPS else 'random'}"
    return arm.scale_label + (f" ({arm.num_captions:,})" if arm.num_captions not in (0, arm.scale) else "")


def _sample(study: Study, arm: Arm, setting: str, bucket: str = OVERALL) -> Sample | None:
    if setting not in arm.correct:
        return None
    mask = study.questions.mask(bucket)
    return sample(arm.correct[setting][:, mask], study.questions.videos[mask])


def _table(study: Study, setting: str, published: Mapping[Key, PublishedCell]) -> Table | None:
    arms = (*study.headline, *study.controls)
    if not any(setting in arm.correct or setting in run.scores for arm in arms for run in arm.runs):
        return None
    rows = [_row(study, arm, setting, published) for arm in arms]
    trained = [item for arm in study.finished if arm.scale > 0 and (item := _sample(study, arm, setting)) is not None]
    asked = np.zeros(len(study.questions.ids), dtype=bool)
    for arm in arms:
        if setting in arm.correct:
            asked |= ~np.isnan(arm.correct[setting]).all(axis=0)
    return Table(
        setting=setting,
        questions=int(asked.sum()),
        videos=len(np.unique(study.questions.videos[asked])),
        rows=rows,
        growth=difference(trained[-1], trained[0]) if len(trained) > 1 else None,
        joint_p=joint_p(trained),
    )


def _row(study: Study, arm: Arm, setting: str, published: Mapping[Key, PublishedCell]) -> Row:
    cells = {bucket: _cell(study, arm, setting, bucket) for bucket in BUCKETS}
    if arm.control is None:
        cells = {bucket: _beside(cell, published.get((setting, arm.scale, bucket))) for bucket, cell in cells.items()}
    return Row(
        arm=arm.name,
        label=arm_label(arm),
        scale=arm.scale,
        scale_label=arm.scale_label,
        control=arm.control,
        num_captions=arm.num_captions,
        caption_steps=arm.caption_steps,
        seeds=[run.seed for run in arm.runs],
        failed_seeds=[run.seed for run in arm.failed],
        reasons=sorted({run.reason or "no reason recorded" for run in arm.failed}),
        cells=cells,
    )


def _cell(study: Study, arm: Arm, setting: str, bucket: str) -> Cell:
    own = _sample(study, arm, setting, bucket)
    if own is None:
        scores = [run.scores[setting][bucket] for run in arm.runs if bucket in run.scores.get(setting, {})]
        return Cell(score=float(np.mean(scores)), seed_scores=scores, seed_spread=spread(scores)) if scores else Cell()
    answers = arm.correct[setting][:, study.questions.mask(bucket)]
    scores = [float(score) for score in 100 * np.nanmean(answers, axis=1)]
    base = None if arm.is_baseline or study.baseline is None else _sample(study, study.baseline, setting, bucket)
    return Cell(
        score=100 * own.accuracy,
        accuracy=accuracy(own),
        seed_scores=scores,
        seed_spread=spread(scores),
        delta=difference(own, base) if base is not None else None,
        seed_deltas=_seed_deltas(study, arm, setting, bucket) if base is not None else [],
        questions=answers.shape[1],
        answered=float((~np.isnan(answers)).sum(axis=1).mean()),
    )


def _seed_deltas(study: Study, arm: Arm, setting: str, bucket: str) -> list[float]:
    """Differences to the baseline seed by seed, for the seeds that both have."""
    base = study.baseline
    if base is None or len(arm.runs) != len(arm.correct[setting]) or len(base.runs) != len(base.correct[setting]):
        return []
    mask = study.questions.mask(bucket)
    scores = {run.seed: np.nanmean(row[mask]) for run, row in zip(base.runs, base.correct[setting], strict=True)}
    pairs = zip(arm.runs, arm.correct[setting], strict=True)
    return [float(100 * (np.nanmean(row[mask]) - scores[run.seed])) for run, row in pairs if run.seed in scores]


def _beside(cell: Cell, published: PublishedCell | None) -> Cell:
    if published is None:
        return cell
    return replace(
        cell,
        published=published.printed,
        published_delta=published.printed_delta,
        published_slip=published.slip,
    )


def with_holm(tables: list[Table]) -> list[Table]:
    """Holm's adjusted p for the planned family: every headline scale, overall, in every setting; buckets explore."""
    family = [
        (table.setting, row.arm, cell.delta.p)
        for table in tables
        for row in table.rows
        if row.control is None and (cell := row.cells[OVERALL]).delta is not None and cell.delta.p is not None
    ]
    p_values = holm([p for _, _, p in family])
    adjusted = {(setting, arm): p for (setting, arm, _), p in zip(family, p_values, strict=True)}
    return [
        replace(table, rows=[_row_with_holm(row, adjusted.get((table.setting, row.arm))) for row in table.rows])
        for table in tables
    ]


def _row_with_holm(row: Row, p_holm: float | None) -> Row:
    if p_holm is None:
        return row
    return replace(row, cells=row.cells | {OVERALL: replace(row.cells[OVERALL], p_holm=p_holm)})


def partner(study: Study, control: Arm) -> Arm | None:
    """The headline arm that a control answers to.

    A random subset: the core of the same size. A repeated core: the arm with the nearest number of caption steps, which
    was meant to be the largest; ties and unknown steps go to the larger scale.
    """
    trained = [arm for arm in study.finished if arm.scale > 0]
    if control.control == RANDOM:
        return next((arm for arm in trained if arm.scale == control.scale), None)
    larger = [arm for arm in trained if arm.scale > control.scale]
    steps = control.caption_steps
    if steps is None or any(arm.caption_steps is None for arm in larger):
        return larger[-1] if larger else None
    return min(larger, key=lambda arm: (abs((arm.caption_steps or 0) - steps), -arm.scale), default=None)


def _control(study: Study, control: Arm, setting: str) -> list[ControlRow]:
    headline = partner(study, control)
    own = _sample(study, control, setting)
    other = None if headline is None else _sample(study, headline, setting)
    if headline is None or own is None or other is None:
        return []
    base = None if study.baseline is None else _sample(study, study.baseline, setting)
    return [
        ControlRow(
            kind=control.control or "",
            setting=setting,
            control=control.name,
            headline=headline.name,
            control_label=arm_label(control),
            headline_label=headline.scale_label,
            control_steps=control.caption_steps,
            headline_steps=headline.caption_steps,
            control_gain=_gap(own, base),
            headline_gain=_gap(other, base),
            difference=difference(other, own),
        )
    ]


def _gap(arm: Sample, base: Sample | None) -> Estimate | None:
    return None if base is None else difference(arm, base)


def _probe(study: Study, arm: Arm, probe: str) -> list[ProbeRow]:
    own, right = _sample(study, arm, probe), _sample(study, arm, WITHOUT_SUBTITLES)
    if own is None:
        return []
    value = accuracy(own)
    at_chance = abs(value.value - CHANCE) <= PROBE_TOLERANCE
    seeds = len(arm.correct[probe])
    drop = None if right is None else difference(right, own)
    return [ProbeRow(probe, arm.name, arm_label(arm), seeds, value, CHANCE, at_chance, drop)]


def _letters(arm: Arm, setting: str) -> list[LetterRow]:
    counts = arm.letters.get(setting)
    return [LetterRow(setting, arm.name, arm_label(arm), _shares(counts))] if counts else []


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Percent of each letter, "none" for no letter, in order of the alphabet."""
    total = sum(counts.values())
    letters = sorted(counts, key=lambda letter: (letter == "", letter))
    return {str(letter) or "none": 100 * int(counts[letter]) / total for letter in letters}


def _run_order(run: RunResult) -> tuple[str, int, int, str]:
    return run.control or "", run.scale, run.seed, run.run


def _run(run: RunResult) -> RunRow:
    return RunRow(
        run=run.run,
        scale_label=run.scale_label,
        control=run.control,
        seed=run.seed,
        status=run.status,
        reason=run.reason,
        num_captions=run.num_captions,
        steps=dict(run.steps),
        seconds={name: stage.seconds for name, stage in run.stages.items()} | dict(run.timings),
        reused=[name for name, stage in run.stages.items() if stage.reused],
        settings=fingerprint(run.config) if run.config else "",
        fingerprints={name: stage.fingerprint for name, stage in run.stages.items()},
        scores={setting: scores[OVERALL] for setting, scores in run.scores.items() if OVERALL in scores},
    )


def _versions(runs: tuple[RunResult, ...]) -> dict[str, str]:
    """Versions that the runs agree on; the few they differ in joined by " / ", others left out."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, version in run.versions.items():
            found.setdefault(name, set()).add(str(version))
    return {name: " / ".join(sorted(versions)) for name, versions in sorted(found.items()) if len(versions) <= 3}
