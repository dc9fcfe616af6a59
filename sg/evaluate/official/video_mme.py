"""The table that the official Video-MME script prints, text for text."""

from collections.abc import Iterable, Sequence

from sg.artefacts.predictions import OVERALL, Prediction
from sg.evaluate.scoring import BucketScores, Count, score_setting

DOMAINS = (
    "Knowledge",
    "Film & Television",
    "Sports Competition",
    "Artistic Performance",
    "Life Record",
    "Multilingual",
)
SUB_CATEGORIES = (
    *("Humanity & History", "Literature & Art", "Biology & Medicine", "Finance & Commerce", "Astronomy", "Geography"),
    *("Law", "Life Tip", "Technology", "Animation", "Movie & TV Show", "Documentary", "News Report", "Esports"),
    *("Basketball", "Football", "Athletics", "Other Sports", "Stage Play", "Magic Show", "Variety Show", "Acrobatics"),
    *("Handicraft", "Food", "Fashion", "Daily Life", "Travel", "Pet & Animal", "Exercise", "Multilingual"),
)
TASK_TYPES = (
    *("Temporal Perception", "Spatial Perception", "Attribute Perception", "Action Recognition", "Object Recognition"),
    *("OCR Problems", "Counting Problem", "Temporal Reasoning", "Spatial Reasoning", "Action Reasoning"),
    *("Object Reasoning", "Information Synopsis"),
)

_DOUBLE, _SINGLE = "=" * 37, "-" * 37


def _in_order(counts: dict[str, Count], official: Sequence[str]) -> dict[str, Count]:
    """Counts of all official categories in the official order, or `counts` if there are others (another benchmark)."""
    return {name: counts.get(name, Count()) for name in official} if set(counts) <= set(official) else counts


def _block(title: str, counts: dict[str, Count]) -> list[str]:
    lines = [f"{name}: {value.accuracy: .1f}%" for name, value in counts.items()]
    return [_SINGLE, title, _SINGLE, *lines]


def _bucket(title: str, domain_title: str, scores: BucketScores, breakdowns: bool) -> list[str]:
    lines = [_DOUBLE, title, _DOUBLE]
    if breakdowns:
        lines += _block(domain_title, _in_order(scores.domain, DOMAINS))
        lines += _block("Video Sub Categories", _in_order(scores.sub_category, SUB_CATEGORIES))
        lines += _block("Task Categories", _in_order(scores.task_type, TASK_TYPES))
    return lines + _block("Overall Performance", {"Overall": scores.overall})


def official_table(rows: Sequence[Prediction], durations: Iterable[str] | None = None, breakdowns: bool = True) -> str:
    """The output of the official script for the rows of one setting.

    `durations` are the buckets in the order of its command line (default: all that occur). `breakdowns` sets its three
    flags for domain, sub-category and task type.
    """
    scores = score_setting(rows, list(durations) if durations is not None else None)
    lines: list[str] = []
    for name, bucket in scores.buckets.items():
        if name != OVERALL:
            lines += [*_bucket(f"Evaluation on video Type: {name}", "Video Categories", bucket, breakdowns), "", ""]
    overall = scores.buckets[OVERALL]
    lines += _bucket("Evaluation on the entire dataset", "Video Domains", overall, breakdowns)
    return "\n".join(lines) + "\n"
