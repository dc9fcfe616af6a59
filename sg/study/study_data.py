"""`study.json`: the data that the runs of a study share, so that runs on other data never join its tables.

A study's folder is named by settings without the paths of a machine. Two folders of videos under one `data.name` would
therefore meet in one study; the content of the data tells them apart.
"""

from __future__ import annotations

from pathlib import Path

from sg.artefacts.result import FINISHED, RESULT_FILE, read_result
from sg.core.content import file_content
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import file_lock, read_json, write_json
from sg.core.identity import Identity, differences, identity, made_by, recorded
from sg.evaluate.benchmark import Benchmark
from sg.study.config import TrainConfig
from sg.study.stages import RunData

STUDY_FILE = "study.json"
STUDY_DATA_VERSION = 1
"""Raise it when the inputs below change: every study then records its data again."""


def data_identity(config: TrainConfig, data: RunData, benchmark: Benchmark) -> Identity:
    """The data of a study by content: manifest, captions, dialogs of every source, questions."""
    dialogs = {
        stage.name: [file_content(Path(source.dialogs)) for source in stage.sources] for stage in config.stage.stages
    }
    inputs = {**data.caption.content, "dialogs": dialogs, "questions": benchmark.content_hash}
    return identity("study_data", settings={}, inputs=inputs, version=STUDY_DATA_VERSION)


def check_study_data(folder: Path, data: Identity) -> None:
    """Record the data of a run in the study's `study.json`, unless runs on other data have finished there.

    Args:
        folder: the run's folder, inside that of its study.

    Raises:
        ConfigError: the study holds results on other data.
    """
    path = folder.parent / STUDY_FILE
    with file_lock(path.with_suffix(".lock")):
        before = recorded(read_json(path)) if path.is_file() else None
        if before is not None and before.name == data.name:
            return
        others = [] if before is None else _finished_beside(folder)
        if before is not None and others:
            changed = ", ".join(str(change) for change in differences(before, data))
            raise ConfigError(
                f"The study {folder.parent} holds {len(others)} finished runs on other data ({changed}): give this "
                "study its own name (name=NAME) or its data (data.name=NAME), or delete that folder."
            )
        write_json(path, made_by(data))


def _finished_beside(folder: Path) -> list[str]:
    """The finished runs of the study other than the one in `folder`."""
    found = []
    for path in sorted(folder.parent.glob(f"*/{RESULT_FILE}")):
        try:
            is_finished = read_result(path).status == FINISHED
        except (DataError, MissingInputError):
            continue
        if is_finished and path.parent != folder:
            found.append(path.parent.name)
    return found
