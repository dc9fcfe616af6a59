"""The result of benchmarks whose authors publish no script: LongVideoBench, your own questions."""

from collections.abc import Sequence

from sg.artefacts.predictions import Prediction
from sg.evaluate.official.result import OfficialResult, counted, grouped, percent
from sg.evaluate.official.video_mme import official_table


def video_mme_result(rows: Sequence[Prediction]) -> list[OfficialResult]:
    """Video-MME's table, whose accuracy divides by the answered questions."""
    return [counted("accuracy of the answered questions", rows, answered_only=True, text=official_table(rows))]


def group_accuracies(rows: Sequence[Prediction]) -> list[OfficialResult]:
    """LongVideoBench: accuracy of all questions, by the group of the video's length and by category."""
    lines = []
    for groups in (grouped(rows, lambda row: [row.domain]), grouped(rows, lambda row: [row.task_type])):
        for name in sorted(groups):
            right = sum(row.is_correct for row in groups[name])
            lines.append(f"{name or 'other'}: {percent(right, len(groups[name])):.1f}% of {len(groups[name])}")
    right = sum(row.is_correct for row in rows)
    lines.append(f"overall: {percent(right, len(rows)):.1f}% of {len(rows)}")
    return [counted("accuracy", rows, answered_only=False, text="\n".join(lines) + "\n")]
