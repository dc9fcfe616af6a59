"""The output of the official scripts of TempCompass, one per task, with the language model as judge switched off."""

from collections.abc import Sequence

from sg.artefacts.predictions import Prediction
from sg.evaluate.official.result import OfficialResult, counted, grouped

DIMENSIONS = ("action", "direction", "speed", "order", "attribute_change")
FINE_TYPES = (
    *("fine-grained action", "coarse-grained action", "object motion", "camera motion", "absolute speed"),
    *("relative speed", "order", "color & light change", "size & shape change", "combined change", "other change"),
)


def dimension_tables(rows: Sequence[Prediction]) -> list[OfficialResult]:
    """The result of each task; the authors give no number over tasks."""
    return [_table(task, members) for task, members in grouped(rows, lambda row: [row.domain]).items()]


def _table(task: str, rows: Sequence[Prediction]) -> OfficialResult:
    by_dim = grouped(rows, lambda row: [row.task_type])
    by_type = grouped(rows, lambda row: [row.sub_category])
    dims = {name: _rate(by_dim.get(name, [])) for name in DIMENSIONS} | {"avg": _rate(rows)}
    types = {name: _rate(by_type.get(name, [])) for name in FINE_TYPES}
    matched = round(sum(row.letter != "" for row in rows) * 100 / len(rows), 1)
    text = f"Accuracy Results:\n{dims}\n{types}\nMatch Success Rate={matched}\n"
    return counted("average accuracy", rows, answered_only=False, text=text, part=task)


def _rate(rows: Sequence[Prediction]) -> float | str:
    """Percent with one decimal, as Python rounds; the official script stops without questions."""
    return round(sum(row.is_correct for row in rows) * 100 / len(rows), 1) if rows else "n/a"
