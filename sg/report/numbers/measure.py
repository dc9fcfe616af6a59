"""From a study's answers to its numbers: accuracies, differences from the baseline, Holm's correction, comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sg.artefacts.predictions import BUCKETS, OVERALL, SETTINGS, SHUFFLED_OPTIONS, WITHOUT_SUBTITLES
from sg.artefacts.result import RunResult
from sg.core.fingerprints import fingerprint
from sg.report.numbers.comparisons import (
    calibration_rows,
    compare_control,
    count_letters,
    count_pairs,
    letter_shares,
    probe_rows,
    study_shapes,
)
from sg.report.numbers.costs import cost_rows
from sg.report.numbers.estimates import ArmScore, accuracy, difference, joint_p, spread
from sg.report.numbers.held_out import held_out_table
from sg.report.numbers.published import Key, PublishedCell, published_for
from sg.report.numbers.registered import lost_registration, registered_result
from sg.report.numbers.statistics import holm
from sg.report.numbers.study import Arm, ArmScores, Study
from sg.report.numbers.summary import EQUIVALENCE, Cell, ControlRow, RunRow, Summary, Table, TableRow
from sg.report.numbers.topics import topic_rows
from sg.report.wording import accuracy_text, difference_text


def measure(study: Study) -> Summary:
    """Compute every number of the report on `study`."""
    published = published_for(study.benchmark)
    arms = (*study.finished, *study.controls)
    held_out, held_out_notes = held_out_table(study)
    registered = registered_result(study)
    tables = [table for setting in SETTINGS if (table := _table(study, setting, published)) is not None]
    controls = [row for setting in SETTINGS for arm in study.controls for row in compare_control(study, arm, setting)]
    [(tables, controls)] = with_holm([(tables, controls)])
    return Summary(
        study=study.name,
        benchmark=study.benchmark,
        model=study.model,
        weights=study.weights,
        commands=sorted({run.command for run in study.runs if run.command}),
        versions=_versions(study.runs),
        tables=tables,
        controls=controls,
        probes=probe_rows(study),
        pairs=[row for setting in SETTINGS for arm in study.finished for row in count_pairs(study, arm, setting)],
        letters=[row for setting in SETTINGS for arm in arms for row in count_letters(arm, setting)],
        answers=letter_shares(dict(zip(*np.unique(study.questions.answers, return_counts=True), strict=True))),
        runs=[_run(run) for run in sorted(study.runs, key=_run_order)],
        notes=[*study.notes, *held_out_notes, *lost_registration(study), *_shuffled_notes(study)],
        held_out=held_out,
        calibrations=[row for arm in arms for row in calibration_rows(arm)],
        topics=[row for setting in SETTINGS for row in topic_rows(study, setting)],
        costs=cost_rows(study),
        equivalence=(
            EQUIVALENCE if registered is None or registered.changed else registered.registration.equivalence_points
        ),
        registered=registered,
    )


def _shuffled_notes(study: Study) -> list[str]:
    """A note on the accuracy with shuffled options, for the largest arm that was asked this way."""
    for arm in reversed(study.finished):
        other, own = study.score(arm, SHUFFLED_OPTIONS), study.score(arm, WITHOUT_SUBTITLES)
        change = None if other is None or own is None else difference(other, own)
        if other is not None and change is not None:
            return [
                f"With shuffled options, the accuracy of {arm.label} without subtitles is "
                f"{accuracy_text(accuracy(other))} %, {difference_text(change)} points compared with the original "
                "order (95 % intervals)."
            ]
    return []


def _table(study: Study, setting: str, published: Mapping[Key, PublishedCell]) -> Table | None:
    arms = (*study.headline, *study.controls)
    if not any(setting in arm.correct or setting in run.scores for arm in arms for run in arm.runs):
        return None
    scores = {bucket: study.scores(setting, study.questions.mask(bucket)) for bucket in BUCKETS}
    rows = [_row(study, arm, setting, scores, published) for arm in arms]
    overall = scores[OVERALL]
    trained = [arm for arm in study.finished if arm.scale > 0 and arm.name in overall.by_name]
    # Arms may have been asked different questions, for example when videos could not be decoded: count the union.
    asked = np.zeros(len(study.questions.ids), dtype=bool)
    for arm in arms:
        if setting in arm.correct:
            asked |= ~np.isnan(arm.correct[setting]).all(axis=0)
    return Table(
        setting=setting,
        questions=int(asked.sum()),
        videos=len(np.unique(study.questions.videos[asked])),
        rows=rows,
        growth=overall.difference(trained[-1], trained[0]) if len(trained) > 1 else None,
        joint_p=joint_p([overall.by_name[arm.name] for arm in trained], overall.noise),
        shapes=study_shapes(study, overall),
    )


def _row(
    study: Study, arm: Arm, setting: str, scores: Mapping[str, ArmScores], published: Mapping[Key, PublishedCell]
) -> TableRow:
    cells = {bucket: _cell(study, arm, setting, bucket, scores[bucket]) for bucket in BUCKETS}
    if arm.control is None:
        cells = {bucket: _beside(cell, published.get((setting, arm.scale, bucket))) for bucket, cell in cells.items()}
    return TableRow(
        arm=arm.name,
        label=arm.label,
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


def _cell(study: Study, arm: Arm, setting: str, bucket: str, scores: ArmScores) -> Cell:
    own = scores.by_name.get(arm.name)
    if own is None:  # No answers per question (their file is missing): the scores of the results have no interval.
        known = [run.scores[setting][bucket] for run in arm.runs if bucket in run.scores.get(setting, {})]
        return Cell(score=float(np.mean(known)), seed_scores=known, seed_spread=spread(known)) if known else Cell()
    answers = arm.correct[setting][:, study.questions.mask(bucket)]
    by_seed = [float(own.unit * mean) for mean in own.means]
    delta = None if arm.is_baseline else scores.difference(arm, study.baseline)
    return Cell(
        score=own.value,
        accuracy=accuracy(own),
        seed_scores=by_seed,
        seed_spread=spread(by_seed),
        delta=delta,
        seed_deltas=_seed_deltas(own, scores.by_name.get(study.baseline.name)) if delta and study.baseline else [],
        questions=answers.shape[1],
        answered=float((~np.isnan(answers)).sum(axis=1).mean()),
    )


def _seed_deltas(own: ArmScore, base: ArmScore | None) -> list[float]:
    """Differences from the baseline per seed, for the seeds that both have."""
    shared = [seed for seed in own.seeds if base is not None and seed in base.seeds]
    return [] if base is None else [float(d) for d in own.unit * (own.over(shared).means - base.over(shared).means)]


def _beside(cell: Cell, published: PublishedCell | None) -> Cell:
    if published is None:
        return cell
    return replace(
        cell, published=published.printed, published_delta=published.printed_delta, published_slip=published.slip
    )


def measure_together(studies: Sequence[Study]) -> list[Summary]:
    """Measure studies of the same runs with several benchmarks: Holm's correction is over the comparisons of all."""
    summaries = [measure(study) for study in studies]
    corrected = with_holm([(summary.tables, summary.controls) for summary in summaries])
    return [
        replace(summary, tables=tables, controls=controls)
        for summary, (tables, controls) in zip(summaries, corrected, strict=True)
    ]


def with_holm(families: Sequence[tuple[list[Table], list[ControlRow]]]) -> list[tuple[list[Table], list[ControlRow]]]:
    """Add p adjusted by Holm's method for the planned comparisons, over the tables and controls of all `families`.

    Planned is every headline scale against no captions and every control against its headline arm, in every setting,
    over all questions. Durations and task types are not: they are exploratory, and a larger family would cost the
    planned comparisons power. A further benchmark is another look at the same question, so it counts.
    """
    planned: dict[tuple[int, str, str], float] = {}
    for number, (tables, controls) in enumerate(families):
        for table in tables:
            for row in table.rows:
                delta = row.cells[OVERALL].delta
                if row.control is None and delta is not None and delta.p is not None:
                    planned[number, table.setting, row.arm] = delta.p
        for pair in controls:
            if pair.difference.p is not None:
                planned[number, pair.setting, pair.control] = pair.difference.p
    adjusted = dict(zip(planned, holm(list(planned.values())), strict=True))
    return [
        (
            [
                replace(
                    table,
                    rows=[
                        row if row.control else _row_with_holm(row, adjusted.get((number, table.setting, row.arm)))
                        for row in table.rows
                    ],
                )
                for table in tables
            ],
            [replace(row, p_holm=adjusted.get((number, row.setting, row.control))) for row in controls],
        )
        for number, (tables, controls) in enumerate(families)
    ]


def _row_with_holm(row: TableRow, p_holm: float | None) -> TableRow:
    if p_holm is None:
        return row
    return replace(row, cells=row.cells | {OVERALL: replace(row.cells[OVERALL], p_holm=p_holm)})


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
        forgetting=None if run.forgetting is None else run.forgetting.per_token,
    )


def _versions(runs: tuple[RunResult, ...]) -> dict[str, str]:
    """Versions by package; up to three different ones are joined by " / ", packages with more are left out."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, version in run.versions.items():
            found.setdefault(name, set()).add(str(version))
    return {name: " / ".join(sorted(versions)) for name, versions in sorted(found.items()) if len(versions) <= 3}
