"""The output of the official script of LVBench."""

from collections import defaultdict
from collections.abc import Sequence

from sg.artefacts.predictions import Prediction
from sg.evaluate.official.result import OfficialResult, counted, grouped

LEADERBOARD = {
    "key information retrieval": "KIR",
    "event understanding": "EU",
    "summarization": "Sum",
    "entity recognition": "ER",
    "reasoning": "Rea",
    "temporal grounding": "TG",
    "acc": "Overall",
}


def type_table(rows: Sequence[Prediction]) -> list[OfficialResult]:
    """The result of `rows`: a question counts once in each of its types and once in the total.

    A question without an answer leaves numerator and denominator.
    """
    answered = [row for row in rows if row.is_answered]
    types = grouped(answered, lambda row: row.task_type.split(", ") if row.task_type else [])
    shares: defaultdict[str, float] = defaultdict(int)
    shares.update({name: _share(members) for name, members in types.items()})
    if answered:
        shares["acc"] = _share(answered)
    result = {LEADERBOARD[name]: share for name, share in shares.items() if name in LEADERBOARD}
    text = f"{shares}\n"
    return [counted("accuracy", rows, answered_only=True, text=text, files={"result.json": result})]


def _share(rows: Sequence[Prediction]) -> float:
    return sum(row.is_correct for row in rows) / len(rows)
