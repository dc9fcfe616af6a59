"""Stage checkpoints: `stages/<stage>-<fingerprint>/` holds a model in our layout and its provenance.

`stage.json` is written last, after all files are on the disk, and keeps their checksums. A folder with that file is
complete. `resume/` holds the Lightning checkpoints of an
unfinished stage and is deleted when the stage is complete.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sg.core.content import FileState, file_content, file_stamp, file_state
from sg.core.errors import DataError
from sg.core.files import finish_file, read_json, write_record
from sg.core.places.mirror import fetch, push

INFO_FILE = "stage.json"
RESUME_FOLDER = "resume"
LOSS_FILE = "loss.csv"
_RESUME_NAME = re.compile(r"step=(\d+)(?:-v(\d+))?\.ckpt")


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
        files: stamp and content of every file of the checkpoint, by name; empty in checkpoints of older versions.
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
    files: Mapping[str, Any] = field(default_factory=dict)
    made_by: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    cut_samples: int = 0
    unsupervised_samples: int = 0


def stage_folder(root: Path, stage: str, fingerprint: str) -> Path:
    """The folder of the checkpoint of `stage` with `fingerprint`, below `root`."""
    return root / f"{stage}-{fingerprint}"


def resume_points(folder: Path) -> list[Path]:
    """Lightning checkpoints of an unfinished stage in `folder`, by their optimiser steps, the last one last.

    Lightning adds `-v1`, `-v2`, ... to the name of a checkpoint whose plain name is taken.
    """
    names = ((_RESUME_NAME.fullmatch(path.name), path) for path in (folder / RESUME_FOLDER).glob("step=*.ckpt"))
    found = [(int(name[1]), int(name[2] or 0), path) for name, path in names if name]
    return [path for _, _, path in sorted(found)]


def read_stage_info(folder: Path, fingerprint: str | None = None) -> StageInfo | None:
    """Provenance of the checkpoint in `folder`, or None when it is missing or incomplete.

    Args:
        folder: the folder, which people may rename.
        fingerprint: that of the wanted stage; None takes any.

    Raises:
        DataError: `stage.json` is damaged, or the folder holds another stage.
    """
    path = folder / INFO_FILE
    if not path.is_file():
        return None
    try:
        info = StageInfo(**read_json(path))
    except TypeError as error:
        raise DataError(f"{path} does not describe a stage ({error}); delete {folder} to train it again.") from error
    if fingerprint not in (None, info.fingerprint):
        own = stage_folder(folder.parent, info.stage, info.fingerprint)
        raise DataError(
            f"{folder} holds another stage, {own.name}: give it the name {own.name} again, or delete it, and run the "
            "same command again."
        )
    return info


def write_stage_info(folder: Path, info: StageInfo) -> StageInfo:
    """Flush the files in `folder` to the disk, mark the checkpoint as complete, and return `info` with their states."""
    states: dict[str, FileState | None] = {}
    for path in sorted([*folder.iterdir(), *folder.glob("adapters/*")]):
        if path.is_file() and path.name != INFO_FILE:
            finish_file(path)
            states[path.relative_to(folder).as_posix()] = file_state(path)
    info = replace(info, files={name: asdict(state) for name, state in states.items() if state is not None})
    push(folder)
    write_record(folder / INFO_FILE, asdict(info))
    return info


def check_stage_files(folder: Path) -> None:
    """Check the files of the stage checkpoint in `folder`; does nothing for another folder.

    An untouched file is known by its size, time and inode. All bytes of another file, such as a copy, are read once.

    Raises:
        DataError: a file is missing, or differs from what was written.
    """
    fetch(folder)
    info = read_stage_info(folder)
    for name, state in {} if info is None else info.files.items():
        path, written = folder / name, FileState(**state)
        stamp = file_stamp(path)
        if stamp is None or (stamp != written.stamp and file_content(path) != written.content):
            what = "missing" if stamp is None else "damaged or was edited (its checksum differs)"
            raise DataError(f"{path} is {what}: delete {folder} and run the same command again to train it again.")
