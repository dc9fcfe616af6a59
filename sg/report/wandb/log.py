"""The study in W&B: one summary run with one point per scale, final values, tables and pictures."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sg.artefacts.predictions import PROBES
from sg.core.tracking import Tracker
from sg.report.numbers.corpus import CorpusNumbers
from sg.report.numbers.summary import Summary
from sg.report.pages.conclusion import Conclusion
from sg.report.pages.exports import runs_csv, tables_csv, topics_csv

CAPTIONS_AXIS = "captions"
"""Key of the x axis of the study's curves: the number of captions."""


def log_report(
    tracker: Tracker,
    summary: Summary,
    conclusion: Conclusion,
    figures: Mapping[str, Sequence[Path]],
    sheets: Sequence[Path],
) -> None:
    """Log the study as one summary run: one point per scale, final values, tables and figures."""
    for scale, values in sorted(_curve(summary).items()):
        tracker.log({CAPTIONS_AXIS: float(scale), **values})
    tracker.summary({**_final_values(summary), "verdict": conclusion.verdict, "tone": conclusion.tone})
    texts = {"scores": tables_csv(summary), "runs": runs_csv(summary), "topics": topics_csv(summary)}
    for name, text in texts.items():
        header, *rows = csv.reader(io.StringIO(text))
        tracker.table(f"tables/{name}", header, rows)
    for name, paths in figures.items():
        tracker.image(f"figures/{name}", paths[0])
    for path in sheets:
        tracker.image(f"gallery/{path.stem}", path)


def _curve(summary: Summary) -> dict[int, dict[str, float]]:
    """Scale -> headline scores and differences under the keys that the runs use, `<benchmark>/<setting>/<bucket>`."""
    points: dict[int, dict[str, float]] = {}
    for table in summary.tables:
        for row in table.rows:
            for bucket, cell in row.cells.items():
                if row.control is not None or cell.score is None:
                    continue
                key = f"{summary.benchmark or 'benchmark'}/{table.setting}/{bucket}"
                values = points.setdefault(row.scale, {})
                values[key] = cell.score
                if cell.delta is not None:
                    values |= {f"{key}/delta": cell.delta.value, f"{key}/delta_low": cell.delta.low}
                    values[f"{key}/delta_high"] = cell.delta.high
    for loss in summary.held_out.rows if summary.held_out is not None else []:
        if loss.control is None:
            points.setdefault(loss.scale, {})["held_out/loss_per_token"] = loss.loss.value
    return points


def log_corpus(tracker: Tracker, corpus: CorpusNumbers | None) -> None:
    """Log what the study trained on: numbers of each core, and tables of clusters and captions; nothing for None."""
    if corpus is None:
        return
    tracker.summary(dict(_corpus_values(corpus)))
    if corpus.captions:
        columns = ["kind", "name", "captions", "captions read", "p5", "p25", "p50", "p75", "p95", "distinct words"]
        rows = [
            [group.kind, group.name, group.captions, group.captions_read, *group.words, group.vocabulary]
            for group in corpus.captions
        ]
        tracker.table("tables/captions", columns, rows)
    if corpus.cores:
        bars = [[core.name, low, count] for core in corpus.cores for low, count in core.histogram]
        tracker.table("tables/clusters", ["core", "smallest size", "clusters"], bars)


def _corpus_values(corpus: CorpusNumbers) -> Iterator[tuple[str, float]]:
    yield "curation/videos", float(corpus.videos)
    for core in corpus.cores:
        if core.cut is not None:
            yield f"curation/{core.name}/cut_similarity", core.cut
        yield f"curation/{core.name}/singletons", float(sum(count for low, count in core.histogram if low == 1))
    for group in corpus.captions:
        yield f"captions/{group.name}/words_median", group.words[2]
        yield f"captions/{group.name}/distinct_words", float(group.vocabulary)


def _final_values(summary: Summary) -> dict[str, float | str]:
    """The values of the summary run: scores of the largest scale, controls, probes, costs."""
    curve = _curve(summary)
    values: dict[str, float | str] = dict(curve[max(curve)]) if curve else {}
    for row in summary.controls:
        values[f"control/{row.kind}/{row.setting}/difference"] = row.difference.value
        values[f"control/{row.kind}/{row.setting}/difference_low"] = row.difference.low
    for cost in (row for row in summary.costs if row.control is None):
        values[f"cost/{cost.arm}/device_hours"] = cost.hours
        if cost.caption_usd is not None:
            values[f"cost/{cost.arm}/caption_usd"] = cost.caption_usd
    for probe in (row for row in summary.probes if row.probe in PROBES):
        values[f"probe/{probe.probe}"] = probe.accuracy.value
    return values
