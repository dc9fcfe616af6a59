"""The output of the official scripts of MVBench and MLVU, which share their form."""

from collections.abc import Sequence

from sg.artefacts.predictions import Prediction
from sg.evaluate.official.result import OfficialResult, counted, grouped, percent


def task_table(rows: Sequence[Prediction]) -> list[OfficialResult]:
    """The result of `rows`: accuracy by task, and of all questions."""
    tasks = grouped(rows, lambda row: [row.task_type])
    rates = {task: _rate(members) for task, members in tasks.items()} | {"Avg": _rate(rows)}
    last = list(tasks)[-1]
    text = "\n".join(
        [
            f"Part  Acc: {rates[last]:.2f}%",
            f"Total Acc: {rates['Avg']:.2f}%",
            f"{'-' * 30} {last} {'-' * 30}",
            str(rates),
        ]
    )
    return [
        counted(
            "average accuracy", rows, answered_only=False, text=text + "\n", files={"upload_leaderboard.json": rates}
        )
    ]


def task_mean_table(rows: Sequence[Prediction]) -> list[OfficialResult]:
    """MLVU's result: M-Avg is the mean over tasks; the script prints the average over questions, as MVBench's does."""
    (pooled,) = task_table(rows)
    tasks = grouped(rows, lambda row: [row.task_type]).values()
    strict = [percent(sum(row.is_strictly_correct for row in members), len(members)) for members in tasks]
    rates = [_rate(members) for members in tasks]
    return [
        OfficialResult(
            metric="M-Avg",
            value=sum(rates) / len(rates),
            strict=sum(strict) / len(strict),
            unanswered=pooled.unanswered,
            lucky=pooled.lucky,
            text=pooled.text,
            files=pooled.files,
        )
    ]


def _rate(rows: Sequence[Prediction]) -> float:
    # In this order, as officially: 100 * 29 / 50 has another last digit.
    return sum(row.is_correct for row in rows) / len(rows) * 100
