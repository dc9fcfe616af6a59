"""The output of the official script of Video-MME-v2."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sg.artefacts.answer_rules.groups import GROUPS, RELEVANCE, group_score, linear_score
from sg.artefacts.answers import MISSING_CELLS
from sg.artefacts.predictions import Prediction
from sg.core.errors import DataError
from sg.evaluate.official.result import OfficialResult, grouped

SIZE = 4
LEVELS = ("level_1", "level_2", "level_3")
NONE, NAN = "None", "nan"
"""The script writes its table to a file and reads it again, and a head `None` comes back as `nan`."""

Groups = list[list[Prediction]]


def group_table(rows: Sequence[Prediction], output: Path | None = None) -> list[OfficialResult]:
    """The official result of `rows`, four consecutive ones of which are a group.

    Args:
        output: the stem of the files that the script would write; its last lines name them.

    Raises:
        DataError: the number of rows is not a multiple of four (three are left: they form a group, as officially), or a
            task type is not a kind of groups.
    """
    groups = _checked_groups(rows)
    final = _aggregates(groups)
    second = _means(groups, lambda row: row.domain)
    third = _means(groups, lambda row: row.sub_category)
    answered = [row for row in rows if row.official_score >= 0]
    missing = sum(row.response in MISSING_CELLS for row in rows)
    lines = [f"Total: {len(rows)}, no prediction: {missing}, failed to extract: {len(rows) - len(answered) - missing}"]
    if answered:
        share = sum(row.is_correct for row in answered) / len(answered)
        lines.append(f"Simple accuracy (valid only): {share * 100:.2f}%")
    lines += ["", *_block("Metric", final)]
    for title, means in (("Second Head", second), ("Third Head", third)):
        lines += ["", *_block(title, means)]
    if output is not None:
        lines += ["", f"Rating saved to {output}_rating.json", f"Scored data saved to {output}_scored.tsv"]
    rating = {
        "final_rating": final,
        "second_head_rating": _as_read_back(second),
        "third_head_rating": _as_read_back(third),
    }
    unanswered = len(rows) - len(answered)
    return [
        OfficialResult(
            metric="group score",
            value=final["total"],
            strict=_mean([_score(group, strict=True) for group in groups]),
            unanswered=unanswered,
            lucky=0,
            text="\n".join(lines) + "\n",
            files={"rating.json": rating},
        )
    ]


def _checked_groups(rows: Sequence[Prediction]) -> Groups:
    groups = [list(rows[at : at + SIZE]) for at in range(0, len(rows), SIZE)]
    if len(rows) % SIZE in (1, 2):
        raise DataError(f"Video-MME-v2 scores groups of {SIZE} questions, but there are {len(rows)}: answer all.")
    for group in groups:
        if len({row.video_id for row in group}) > 1:
            raise DataError(
                f"The answers {', '.join(row.question_id for row in group)} are not a group, because they are of "
                "several videos: answer all questions, or give benchmark=video_mme_v2 benchmark.folder=DIR."
            )
    for row in rows:
        if row.task_type not in GROUPS:
            raise DataError(
                f"question {row.question_id} has the task type {row.task_type!r}, expected one of {', '.join(GROUPS)}."
            )
    return groups


def _score(group: Sequence[Prediction], strict: bool = False) -> float:
    scores = [row.official_score for row in group]
    return group_score(group[-1].task_type, [max(score, 0) for score in scores] if strict else scores)


def _aggregates(groups: Groups) -> dict[str, float]:
    """The scores by level and kind, and of all groups. A group's facts are those of its last row.

    The official script stops at a level `None` of a last row; here its group counts in all numbers but the levels.
    """
    relevance = [group for group in groups if group[-1].task_type == RELEVANCE]
    chosen = {level: [group for group in groups if group[-1].duration == level] for level in LEVELS}
    return {
        **{level: _mean([_score(group) for group in members]) for level, members in chosen.items()},
        "relevance_score": _mean([_score(group) for group in relevance]),
        "relevance_linear_score": _mean([linear_score([row.official_score for row in group]) for group in relevance]),
        "logic_score": _mean([_score(group) for group in groups if group[-1].task_type != RELEVANCE]),
        "total": _mean([_score(group) for group in groups]),
    }


def _means(groups: Groups, head: Callable[[Prediction], str]) -> dict[str, float]:
    by_head = grouped([group[-1] for group in groups], lambda row: [head(row)])
    scores = {id(group[-1]): _score(group) for group in groups}
    return {name: _mean([scores[id(row)] for row in rows]) for name, rows in by_head.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _block(title: str, values: Mapping[str, float]) -> list[str]:
    shown = [f"{NAN if name == NONE else name:<30} {value:>8.2f}" for name, value in values.items()]
    return [f"{title:<30} {'Score':>8}", "-" * 40, *shown]


def _as_read_back(means: Mapping[str, float]) -> dict[str, float]:
    return {"NaN" if name == NONE else name: value for name, value in means.items()}
