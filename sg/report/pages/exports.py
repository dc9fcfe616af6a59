"""The numbers of a study as Markdown and CSV, for documents and other programs."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import fields

from sg.artefacts.predictions import BUCKETS
from sg.report.numbers.corpus import CorpusNumbers
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.summary import RunRow, Summary, Table, TableRow
from sg.report.pages.conclusion import Conclusion
from sg.report.pages.held_out import COLUMNS, HEADINGS, control_text, loss_cells, loss_legend, loss_rows
from sg.report.pages.tables import (
    cell_delta,
    cell_score,
    controls_legend,
    legend,
    probes_legend,
    published_text,
    row_note,
)
from sg.report.wording import BUCKET_TITLES, SETTING_TITLES, accuracy_text, difference_text, joined, model_text, p_text


def markdown(summary: Summary, conclusion: Conclusion) -> str:
    """Return the report as Markdown: verdict, tables, controls, probes, statements."""
    parts = [f"# {cell_text(summary.study)}", f"**{cell_text(conclusion.verdict)}**"]
    parts += [f"{cell_text(model_text(summary))}."] if summary.model else []
    for table in summary.tables:
        parts += [f"## {SETTING_TITLES[table.setting]}", _table_md(table), f"{legend(table)}."]
    if summary.held_out is not None:
        rows = [loss_cells(row) for row in summary.held_out.rows]
        controls = [f"- {control_text(row)}" for row in summary.held_out.controls]
        parts += ["## Held-out captions", _grid_md(list(HEADINGS), rows), f"{loss_legend(summary.held_out)}."]
        parts += ["\n".join(controls)] if controls else []
    if summary.controls:
        header = ["Headline", "Control", "Setting", "Headline - control, points [95 % interval]", "p", "p (Holm)"]
        rows = [
            [
                row.headline_label,
                row.control_label,
                SETTING_TITLES[row.setting],
                difference_text(row.difference),
                p_text(row.difference.p),
                p_text(row.p_holm),
            ]
            for row in summary.controls
        ]
        parts += ["## Controls", controls_legend(summary), _grid_md(header, rows)]
    if summary.probes:
        header = ["Probe", "Captions", "Accuracy, % [95 % interval]", "Against chance"]
        cells = [
            [SETTING_TITLES[row.probe], row.label, accuracy_text(row.accuracy), row.against_chance]
            for row in summary.probes
        ]
        parts += ["## Leak probes", probes_legend(summary.probes), _grid_md(header, cells)]
    parts += [
        "## What the numbers support",
        "\n".join(f"- {item.topic}: {cell_text(item.text)}" for item in conclusion.statements),
    ]
    return "\n\n".join(parts) + "\n"


def _table_md(table: Table) -> str:
    has_published = any(cell.published is not None for row in table.rows for cell in row.cells.values())
    header = ["Captions", "Seeds"] + [BUCKET_TITLES[bucket] for bucket in BUCKETS]
    header += ["Published (overall, short, medium, long)"] if has_published else []
    rows = []
    for row in table.rows:
        cells = [
            f"{cell_score(cell)} ({delta})" if (delta := cell_delta(cell)) else cell_score(cell)
            for cell in row.cells.values()
        ]
        line = [row.label + (f" — {note}" if (note := row_note(row)) else ""), str(len(row.seeds)), *cells]
        if has_published:
            line.append(joined([published_text(cell) for cell in row.cells.values() if cell.published is not None]))
        rows.append(line)
    return _grid_md(header, rows)


def _grid_md(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell_text(cell) for cell in line) + " |" for line in lines)


def cell_text(text: str) -> str:
    """Escape `text` so that Markdown shows it literally: no HTML, no broken table."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    for sign in "|`[]":
        escaped = escaped.replace(sign, "\\" + sign)
    return escaped.replace("* ", "\\* ").replace("*)", "\\*)")


def corpus_markdown(corpus: CorpusNumbers) -> str:
    """Return captions and clusters as two Markdown tables; a sentence replaces an empty one."""
    words = [
        [group.name, group.kind, f"{group.captions:,}", "–".join(f"{group.words[place]:.0f}" for place in (0, 2, 4)),
         f"{group.vocabulary:,}", "–" if group.vocabulary_of_draw is None else f"{group.vocabulary_of_draw:,}"]
        for group in corpus.captions
    ]  # fmt: skip
    cores = [
        [core.name, f"{core.size:,}", f"{sum(count for low, count in core.histogram if low == 1):,}",
         f"{max((low for low, count in core.histogram if count), default=0):,}",
         "–" if core.cut is None else f"{core.cut:.3f}"]
        for core in corpus.cores
    ]  # fmt: skip
    header = [
        "Name",
        "Kind",
        "Captions",
        "Words per caption (5th–50th–95th percentile)",
        "Distinct words",
        "in a random draw",
    ]
    parts = [_grid_md(header, words) if words else "This source has no numbers about captions."]
    header = ["Core", "Clusters", "Clusters of one video", "Videos in the largest, at least", "Cosine at the cut"]
    parts.append(_grid_md(header, cores) if cores else "This source has no numbers about cores.")
    return "\n\n".join(parts) + "\n"


def letters_markdown(summary: Summary) -> str:
    """Return the share of each answered letter and of the right answers, as Markdown; a sentence if there are none."""
    if not summary.letters:
        return "This source has no answers per question, so the answered letters are unknown.\n"
    letters = sorted({letter for row in summary.letters for letter in row.shares}, key=lambda name: (len(name), name))

    def shares(of: Mapping[str, float]) -> list[str]:
        return [f"{of[letter]:.1f}" if letter in of else "–" for letter in letters]

    rows = [["right answers", "", *shares(summary.answers)]]
    rows += [[row.label, SETTING_TITLES[row.setting], *shares(row.shares)] for row in summary.letters]
    note = 'Share of each letter in % of all answers, over all seeds; "none" means that no letter could be read.'
    return f"{note}\n\n{_grid_md(['Captions', 'Setting', *letters], rows)}\n"


CSV_COLUMNS = (
    "study", "benchmark", "setting", "scale", "scale_label", "control", "num_captions", "caption_steps", "bucket",
    "seeds", "score", "score_low", "score_high", "seed_spread", "delta", "delta_low", "delta_high", "delta_p",
    "delta_p_holm", "questions", "answered", "published", "published_delta", "published_slip", "reason",
)  # fmt: skip


def tables_csv(summary: Summary) -> str:
    """Return CSV with one row per arm, setting and bucket; numbers are not rounded."""
    rows = [
        _csv_row(summary, table, row, bucket) for table in summary.tables for row in table.rows for bucket in BUCKETS
    ]
    return csv_text(CSV_COLUMNS, rows)


def _csv_row(summary: Summary, table: Table, row: TableRow, bucket: str) -> list[object]:
    cell = row.cells[bucket]
    return [
        summary.study, summary.benchmark, table.setting, row.scale, row.scale_label, row.control, row.num_captions,
        row.caption_steps, bucket, len(row.seeds), cell.score, *_bounds(cell.accuracy), cell.seed_spread,
        cell.delta and cell.delta.value, *_bounds(cell.delta), cell.delta and cell.delta.p, cell.p_holm,
        cell.questions, cell.answered, cell.published, cell.published_delta, cell.published_slip,
        "; ".join(row.reasons),
    ]  # fmt: skip


def _bounds(estimate: Estimate | None) -> tuple[float | None, float | None]:
    return (None, None) if estimate is None else (estimate.low, estimate.high)


TOPIC_COLUMNS = (
    "setting", "kind", "name", "arm", "scale", "control", "questions", "score", "delta", "delta_low", "delta_high",
)  # fmt: skip


def topics_csv(summary: Summary) -> str:
    """Return CSV with one row per arm, setting and task type or domain."""
    return csv_text(
        TOPIC_COLUMNS,
        [
            [row.setting, row.kind, row.name, row.arm, row.scale, row.control, row.questions, row.score,
             row.delta and row.delta.value, *_bounds(row.delta)]
            for row in summary.topics
        ],
    )  # fmt: skip


COST_COLUMNS = (
    "arm", "scale", "control", "device", "captions", "caption_usd", "align_hours", "caption_hours", "instruct_hours",
    "evaluate_hours", "hours",
)  # fmt: skip


def costs_csv(summary: Summary) -> str:
    """Return CSV with one row per arm: device hours per stage, and the price of its captions in US dollars."""
    return csv_text(COST_COLUMNS, [[getattr(row, name) for name in COST_COLUMNS] for row in summary.costs])


def losses_csv(summary: Summary) -> str:
    """Return CSV with one row per arm and group of held-out captions; numbers are not rounded."""
    return csv_text(COLUMNS, loss_rows(summary))


def runs_csv(summary: Summary) -> str:
    """Return CSV with one row per run, failed runs with their reason; dictionaries are lists of `name=value`."""
    names = [field.name for field in fields(RunRow)]
    return csv_text(names, [[_flat(getattr(run, name)) for name in names] for run in summary.runs])


def _flat(value: object) -> object:
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    return " ".join(value) if isinstance(value, list) else value


def csv_text(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return CSV with `header`; None is an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return stream.getvalue()
