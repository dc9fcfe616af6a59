"""The power of a study in words: the table of what designs resolve, another seed, and the cheapest design."""

from collections.abc import Mapping, Sequence
from typing import Any

from sg.artefacts.arms import CONTRASTS
from sg.report.numbers.power import MAX_SEEDS, SEEDS_OF_ADVICE
from sg.report.wording import joined, plural


def power_text(record: Mapping[str, Any]) -> str:
    """Return the record of `sg.report.commands.power` or of a plan as text."""
    lines = [
        f"power: smallest true difference that 80 % of such studies of {plural(record['arms'], 'arm')} find, in points "
        "of accuracy (two-sided 5 %, interval over videos and seeds)",
        f"  {record['basis']}",
        *_table(record["rows"]),
    ]
    if any(points is None for row in record["rows"] for points in row["points"].values()):
        lines.append("  -: cannot be obtained; with one seed nothing shows how much a run differs from its repetition")
    if any(row["seeds"] == 1 and None not in row["points"].values() for row in record["rows"]):
        lines.append("  1 seed: if training again changes no more than single answers; its interval covers videos only")
    if record.get("another_seed"):
        lines.append(f"  {_another_seed(record['another_seed'])}")
    answers: dict[str, list[str]] = {}
    for design in record.get("wanted", []):
        answers.setdefault(_wanted(design), []).append(design["contrast"])
    lines += [f"  {joined(contrasts)}{answer}" for answer, contrasts in answers.items()]
    return "\n".join(lines)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    contrasts = list(rows[0]["points"])
    width = max(len("benchmarks"), *(len(_names(row)) for row in rows)) + 2
    lines = [f"  {'benchmarks':<{width}}{'seeds':<7}" + "".join(f"{name:<16}" for name in contrasts)]
    for row in rows:
        cells = ["-" if row["points"][name] is None else f"{row['points'][name]:.1f}" for name in contrasts]
        lines.append((f"  {_names(row):<{width}}{row['seeds']:<7}" + "".join(f"{cell:<16}" for cell in cells)).rstrip())
    return [*lines, "  " + "; ".join(f"{name}: {CONTRASTS[name]}" for name in contrasts)]


def _names(row: Mapping[str, Any]) -> str:
    return " + ".join(row["benchmarks"])


def _price(record: Mapping[str, Any]) -> str:
    """`7 runs, 205 GPU-hours, $512`."""
    parts = [plural(record["runs"], "run")]
    if record.get("hours") is not None:
        parts.append(f"{record['hours']:,.0f} GPU-hours")
    if record.get("usd") is not None:
        parts.append(f"${record['usd']:,.0f}")
    return ", ".join(parts)


def _another_seed(record: Mapping[str, Any]) -> str:
    changes = joined(
        [
            f"{name} {'-' if before is None else f'{before:.1f}'} -> {record['after'][name]:.1f}"
            for name, before in record["before"].items()
        ]
    )
    where = f" on {record['benchmark']}, which resolves most" if record.get("benchmark") else ""
    seeds = f"{record['seeds']} instead of {record['seeds'] - 1}"
    return f"one more seed ({seeds}) for {_price(record)}: {changes} points{where}"


def _wanted(design: Mapping[str, Any]) -> str:
    goal = f" of {design['wanted_points']:g} points"
    if design["seeds"] is None:
        text = f"{goal}: not resolved by {MAX_SEEDS} seeds on {joined(list(design['benchmarks']))}"
        needed = design["questions"]
        return text + (f"; {SEEDS_OF_ADVICE} seeds take about {needed:,} such questions" if needed else "")
    return (
        f"{goal}, cheapest design: {plural(design['seeds'], 'seed')} of {plural(design['arms'], 'arm')} on "
        f"{' + '.join(design['benchmarks'])} ({_price(design)}; it resolves {design['points']:.2f})"
    )
