"""The study's tables as text: how a cell is written, and the report for the terminal."""

from collections.abc import Iterable, Sequence

from sg.artefacts.arms import ARM_KINDS
from sg.artefacts.predictions import BUCKETS, OVERALL
from sg.report.numbers.comparisons import ABOVE
from sg.report.numbers.summary import Cell, ControlRow, ProbeRow, RunRow, Summary, Table, TableRow
from sg.report.pages.conclusion import Conclusion
from sg.report.pages.held_out import loss_lines
from sg.report.pages.verdict import LEVEL
from sg.report.wording import (
    BUCKET_TITLES,
    EQUAL_NOISE,
    SETTING_TITLES,
    accuracy_text,
    covered_text,
    difference_text,
    model_text,
    p_text,
    percent,
    plural,
    seeds_text,
    signed,
)

CELL_WIDTH = 23
REASON_LENGTH = 96


def terminal_text(summary: Summary, conclusion: Conclusion) -> str:
    """Return the report that is printed at the end of a sweep: tables, controls, probes, notes, verdict."""
    blocks = [model_text(summary), *(_table_text(table) for table in summary.tables)]
    blocks += [loss_lines(summary.held_out)] if summary.held_out is not None else []
    blocks += [_controls_text(summary), _probes_text(summary.probes), _failed_text(summary.runs)]
    blocks += ["\n".join(summary.notes), _wrapped(conclusion.verdict)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def legend(table: Table) -> str:
    """Return the explanation of a table's numbers: units, denominators and intervals."""
    scores = "accuracy in % of the answered questions, mean ± standard deviation over training seeds"
    if all(row.cells[OVERALL].delta is None for row in table.rows):
        return f"{scores}; no difference from no captions, because no run without captions finished beside others"
    covered = covered_text(row.cells[OVERALL].delta for row in table.rows)
    assumed = f"; {EQUAL_NOISE}" if "and" in covered else ""
    return (
        f"{scores}; difference from no captions in points over the seeds that both have, with its 95 % interval over "
        f"{covered} ({plural(table.videos, 'video')}{assumed}); * p < .05 after Holm's correction (overall only; "
        "durations are exploratory)"
    )


def controls_legend(summary: Summary) -> str:
    """Return a sentence that explains the kinds of controls in the tables; empty if there are none."""
    kinds = dict.fromkeys(row.kind for row in summary.controls)
    return "; ".join(f"{ARM_KINDS[kind].label}: {ARM_KINDS[kind].meaning}" for kind in kinds)


def controls_intervals(summary: Summary) -> str:
    """Return what the intervals of the controls cover."""
    return f"95 % intervals over {covered_text(row.difference for row in summary.controls)}"


def probes_legend(probes: Sequence[ProbeRow]) -> str:
    """Return what the leak probes measure, with the accuracy of guessing."""
    return (
        "Accuracy in % without the right video and without subtitles, with 95 % intervals over videos; guessing "
        f"reaches {probes[0].chance:.0f} %."
    )


def cell_score(cell: Cell) -> str:
    """Write a score as `38.0 ±0.6`, or `38.0` for a single seed."""
    return percent(cell.score) + (f" ±{cell.seed_spread:.1f}" if cell.seed_spread is not None else "")


def cell_delta(cell: Cell) -> str:
    """Write a difference as `+9.0 [+6.6, +11.5]*`, the star if p < .05 after Holm; empty for the baseline."""
    if cell.delta is None:
        return ""
    return difference_text(cell.delta) + ("*" if cell.p_holm is not None and cell.p_holm < LEVEL else "")


def row_note(row: TableRow) -> str:
    """Return the failed seeds of a row with their reasons, and the seeds that its difference leaves out; or ""."""
    notes = []
    if row.failed_seeds:
        which = "failed" if not row.seeds else f"{plural(len(row.failed_seeds), 'seed')} failed"
        notes.append(f"{which}: {'; '.join(row.reasons)}")
    delta = row.cells[OVERALL].delta
    left_out = [] if delta is None else [seed for seed in row.seeds if seed not in delta.seeds]
    if delta is not None and left_out:
        verb = "is" if len(left_out) == 1 else "are"
        notes.append(
            f"difference over {seeds_text(delta.seeds)}: {seeds_text(left_out)} {verb} not shared with no captions"
        )
    return "; ".join(notes)


def _table_text(table: Table) -> str:
    width = max([len(row.label) for row in table.rows] + [len("captions")]) + 2
    lines = [
        f"{SETTING_TITLES[table.setting]} ({plural(table.questions, 'question')})",
        _wrapped(legend(table)),
        "captions".ljust(width) + "".join(BUCKET_TITLES[bucket].ljust(CELL_WIDTH) for bucket in BUCKETS),
    ]
    for row in table.rows:
        cells = [row.cells[bucket] for bucket in BUCKETS]
        lines.append(_line(row.label, width, [cell_score(cell) for cell in cells]))
        if any(cell.delta for cell in cells):
            lines.append(_line("", width, [cell_delta(cell) for cell in cells]))
        if any(cell.published is not None for cell in cells):
            lines.append(_line("  published", width, [published_text(cell) for cell in cells]))
        if note := row_note(row):
            lines.append("  " + (note if len(note) <= REASON_LENGTH else note[: REASON_LENGTH - 1] + "…"))
    return "\n".join(line.rstrip() for line in lines)


def _line(label: str, width: int, cells: Iterable[str]) -> str:
    return label.ljust(width) + "".join(cell.ljust(CELL_WIDTH) for cell in cells)


def published_text(cell: Cell) -> str:
    """Write the published accuracy and difference as `43.2 +2.0`; a misprint is marked."""
    if cell.published is None:
        return ""
    delta = f" {signed(cell.published_delta)}" if cell.published_delta is not None else ""
    return f"{cell.published:.1f}{delta}" + (" (misprint)" if cell.published_slip else "")


def _controls_text(summary: Summary) -> str:
    if not summary.controls:
        return ""
    title = f"Controls (headline minus control, points of overall accuracy, {controls_intervals(summary)})"
    lines = [title, *(f"  {line}" for line in controls_legend(summary).split("; "))]
    for row in summary.controls:
        setting = SETTING_TITLES[row.setting].lower()
        lines.append(
            f"  {control_title(row)}, {setting}: {difference_text(row.difference)}, {p_text(row.difference.p)} "
            f"(Holm {p_text(row.p_holm)})"
        )
    return "\n".join(lines)


def control_title(row: ControlRow) -> str:
    """Write the pair as `530k - 50k equal-step (332 | 320 steps)`."""
    steps = (
        f" ({row.headline_steps} | {row.control_steps} steps)"
        if None not in (row.headline_steps, row.control_steps)
        else ""
    )
    return f"{row.headline_label} - {row.control_label}{steps}"


def _probes_text(probes: list[ProbeRow]) -> str:
    if not probes:
        return ""
    lines = [_wrapped(f"Leak probes: {probes_legend(probes)[:1].lower()}{probes_legend(probes)[1:]}")]
    largest = {row.probe: row for row in probes}
    for row in (row for row in probes if row is largest[row.probe] or row.against_chance == ABOVE):
        mark = "ABOVE chance" if row.against_chance == ABOVE else f"against chance: {row.against_chance}"
        lines.append(f"  {SETTING_TITLES[row.probe]}, {row.label}: {accuracy_text(row.accuracy)} %, {mark}")
    return "\n".join(lines)


def _failed_text(runs: list[RunRow]) -> str:
    failed = [run for run in runs if run.status != "finished"]
    return "\n".join(["Failed runs", *(f"  {run.run}: {run.reason}" for run in failed)]) if failed else ""


def _wrapped(text: str, width: int = 100) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))
