"""The Lightning checkpoint from which an interrupted stage resumes."""

import logging
import zipfile
from pathlib import Path

from sg.artefacts.checkpoint import resume_points
from sg.core.errors import first_line

log = logging.getLogger(__name__)

_PARTS = {"state_dict", "optimizer_states", "loops", "callbacks", "global_step"}


def resume_from(folder: Path, stage: str) -> Path | None:
    """The last intact Lightning checkpoint in the folder of a stage, or None to train it from its beginning.

    Every damaged checkpoint is reported, and the one before it is tried.
    """
    for path in reversed(resume_points(folder)):
        problem = _problem(path)
        if not problem:
            log.info("stage %s: resumes from %s", stage, path.stem)
            return path
        log.warning("stage %s: %s is damaged (%s), so training resumes from an earlier step", stage, path, problem)
    return None


def _problem(path: Path) -> str:
    """What is wrong with a Lightning checkpoint; "" if it is intact.

    PyTorch writes zip archives, which keep a checksum of every tensor. PyTorch does not check it on reading.
    """
    import torch

    from sg.train.sharded_checkpoints import sharded_problem

    try:
        if path.is_dir():
            return sharded_problem(path)
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            return f"the checksum of {damaged} differs"
        parts = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        missing = _PARTS - set(parts)
    except Exception as error:  # noqa: BLE001 - damage makes zipfile and unpickling raise almost anything
        return first_line(error)
    return f"it has no {min(missing)}" if missing else ""
