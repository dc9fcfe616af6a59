"""Stage checkpoints: `stages/<stage>-<fingerprint>/` holds a model in our layout and its provenance.

`stage.json` is written last, so a folder with that file is complete. `resume/` holds the Lightning checkpoints of an
unfinished stage and is deleted when the stage is complete.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sg.core.errors import DataError
from sg.core.files import read_json, write_json

INFO_FILE = "stage.json"
RESUME_FOLDER = "resume"
LOSS_FILE = "loss.csv"


@dataclass(frozen=True, slots=True)
class StageInfo:
    """Provenance of a stage checkpoint.

    Attributes:
        stage: its name.
        fingerprint: name of its identity.
        parent: fingerprint of the stage that it started from; None for the base model.
        steps: number of optimiser steps.
        samples: number of samples that these steps saw.
        distinct_samples: number of different samples among them that have a supervised token.
        cut_samples: number of samples of an epoch that were cut to `max_length`.
        unsupervised_samples: number of samples of an epoch without a supervised token.
        final_loss: mean loss of the last tenth of the steps, in nats per supervised token.
        seconds: wall time of training, summed over all sessions.
        made_by, identity, code: what decided its weights, and the version that trained it; see `sg.core.identity`.
    """

    stage: str
    fingerprint: str
    parent: str | None
    steps: int
    samples: int
    distinct_samples: int
    final_loss: float | None
    seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)
    made_by: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    cut_samples: int = 0
    unsupervised_samples: int = 0


def stage_folder(root: Path, stage: str, fingerprint: str) -> Path:
    """The folder of the checkpoint of `stage` with `fingerprint`, below `root`."""
    return root / f"{stage}-{fingerprint}"


def resume_points(folder: Path) -> list[Path]:
    """Lightning checkpoints of an unfinished stage in `folder`, by their optimiser steps, the last one last."""
    return sorted((folder / RESUME_FOLDER).glob("step=*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))


def read_stage_info(folder: Path) -> StageInfo | None:
    """Provenance of the checkpoint in `folder`, or None when it is missing or incomplete.

    Raises:
        DataError: `stage.json` is damaged.
    """
    path = folder / INFO_FILE
    if not path.is_file():
        return None
    try:
        return StageInfo(**read_json(path))
    except TypeError as error:
        raise DataError(f"{path} does not describe a stage ({error}); delete {folder} to train it again.") from error


def write_stage_info(folder: Path, info: StageInfo) -> None:
    """Mark the checkpoint in `folder` as complete."""
    write_json(folder / INFO_FILE, asdict(info))
