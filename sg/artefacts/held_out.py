"""The held-out caption loss of a run: how well its model predicts captions of videos that no run trains on.

The loss resolves much smaller effects than the accuracy on multiple-choice questions: every word of every caption
counts, and the result is not rounded to right or wrong.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_json, write_record
from sg.core.fingerprints import fingerprint

HELD_OUT_FILE = "held_out.json"


@dataclass(frozen=True, slots=True)
class CaptionLoss:
    """The loss of one held-out caption.

    Attributes:
        video_id: its video; `source`: the dataset of the video.
        tokens: number of predicted tokens: the caption and the token that ends the turn.
        nats: sum of their negative log-likelihoods.
    """

    video_id: str
    source: str
    tokens: int
    nats: float


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """The mean losses of a run over the held-out captions, in nats, and a hash over the loss of each caption.

    Attributes:
        per_token: sum of the losses divided by the number of tokens; `per_caption`: divided by the number of captions.
    """

    captions: int
    tokens: int
    per_token: float
    per_caption: float
    content: str


def mean_loss(rows: Sequence[CaptionLoss]) -> HeldOutLoss | None:
    """The means over `rows`; None if there are none."""
    if not rows:
        return None
    tokens, nats = sum(row.tokens for row in rows), sum(row.nats for row in rows)
    return HeldOutLoss(len(rows), tokens, nats / tokens, nats / len(rows), fingerprint([asdict(row) for row in rows]))


def write_caption_losses(folder: Path, rows: Sequence[CaptionLoss], made_by: str) -> None:
    """Write the losses of a run to its folder, atomically; `made_by` names what decided them."""
    write_record(folder / HELD_OUT_FILE, {"made_by": made_by, "captions": [asdict(row) for row in rows]})


def read_caption_losses(folder: Path, expected: HeldOutLoss) -> list[CaptionLoss]:
    """The losses in the run's folder, which are those that its result records.

    Raises:
        MissingInputError: there is no such file.
        DataError: it holds other losses than the result records.
    """
    path = folder / HELD_OUT_FILE
    if not path.is_file():
        raise MissingInputError(f"There is no {path}: run the same command again.")
    data = read_json(path)
    try:
        rows = [CaptionLoss(**row) for row in data["captions"]]
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{path} does not hold held-out losses ({error}): delete it and run the command again."
        ) from error
    if mean_loss(rows) != expected:
        raise DataError(f"{path} holds other losses than the run's result records: run the same command again.")
    return rows
