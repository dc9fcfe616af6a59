"""Scores of judged captions, and how well a judge finds false claims and faulty captions."""

from collections.abc import Sequence
from math import isnan
from statistics import fmean

from sg.artefacts.judged import SCORES, TRUE, UNCLEAR, JudgedCaption


def auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """The probability that a good one scores above a bad one; equal scores count half. NaN if one side is empty."""
    import numpy as np

    if not good or not bad:
        return float("nan")
    ranked = np.sort(np.asarray(bad, float))
    below, above = np.searchsorted(ranked, good, "left"), np.searchsorted(ranked, good, "right")
    return float((below + above).sum() / (2 * len(good) * len(bad)))


def means(rows: Sequence[JudgedCaption]) -> dict[str, float]:
    """The mean of every score over the captions that have it."""
    found = {}
    for name in SCORES:
        values = [value for row in rows if not isnan(value := getattr(row, name))]
        found[name] = fmean(values) if values else float("nan")
    return found


def agreement(rows: Sequence[JudgedCaption], truth: Sequence[JudgedCaption]) -> dict[str, float]:
    """How a judge's verdicts on claims agree with the true ones: precision and recall of its `false`, and accuracy.

    Args:
        rows: the verdicts of a judge.
        truth: the true verdicts on the same captions, with the same claims.
    """
    pairs = [
        (said, true)
        for row, known in zip(rows, truth, strict=True)
        for said, true in zip(row.verdicts, known.verdicts, strict=True)
        if said != UNCLEAR
    ]
    found = sum(said != TRUE and true != TRUE for said, true in pairs)
    called, false = sum(said != TRUE for said, _ in pairs), sum(true != TRUE for _, true in pairs)
    right = sum((said == TRUE) == (true == TRUE) for said, true in pairs)
    counts = {"accuracy": (right, len(pairs)), "precision": (found, called), "recall": (found, false)}
    return {name: part / whole if whole else float("nan") for name, (part, whole) in counts.items()}
