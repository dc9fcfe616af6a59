"""`study.json`: the settings and data that the runs of a study share, so that other runs never join its tables.

A study's folder is named by settings without the paths of a machine. Two folders of videos under one `data.name` would
therefore meet in one study; the content of the data tells them apart. A folder that `hydra.sweep.dir` names could get
runs of other settings.
"""

import contextlib
from pathlib import Path

from sg.artefacts.result import FINISHED, RESULT_FILE, STUDY_FILE, read_result
from sg.core.content import file_content
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import file_lock, read_json, write_record
from sg.core.identity import Identity, differences, identity, made_by, recorded
from sg.evaluate.benchmark import Benchmark
from sg.study.config import TrainConfig, study_identity
from sg.study.stages import RunData

STUDY_DATA_VERSION = 2
"""Raise it when the inputs below change: every study then records its data again."""
_SHOWN = 3


def data_identity(config: TrainConfig, data: RunData, benchmark: Benchmark) -> Identity:
    """What the runs of a study share: settings, and the content of manifest, captions, dialogs and questions."""
    dialogs = {
        stage.name: [file_content(Path(source.dialogs)) for source in stage.sources] for stage in config.stage.stages
    }
    held_out = data.caption.held_out.content
    inputs = {**data.caption.content, "held_out": held_out, "dialogs": dialogs, "questions": benchmark.content_hash}
    study = study_identity(config)
    return identity(
        "study_data", settings=study.settings, inputs={**inputs, **study.inputs}, version=STUDY_DATA_VERSION
    )


def check_study_data(folder: Path, data: Identity) -> None:
    """Record the data of a run in the study's `study.json`, unless runs on other data have finished there.

    Args:
        folder: the run's folder, inside that of its study.

    Raises:
        ConfigError: the study holds results of other settings or on other data.
    """
    path = folder.parent / STUDY_FILE
    with file_lock(path.with_suffix(".lock")):
        before = recorded(read_json(path)) if path.is_file() else None
        if before is not None and before.name == data.name:
            return
        if before is not None and before.version == data.version:
            # The only run on this data may be made again on other data, but not with other settings.
            own = folder if before.settings == data.settings else None
            if finished := [run for run in _finished(folder.parent) if run != own]:
                changes = [str(change) for change in differences(before, data)]
                more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
                raise ConfigError(
                    f"The study {folder.parent} holds {len(finished)} finished runs of other settings or on other data "
                    f"({', '.join(changes[:_SHOWN])}{more}): give this study its own name (name=NAME) or folder "
                    "(hydra.sweep.dir=DIR), or its data a name (data.name=NAME), or delete that folder."
                )
        write_record(path, made_by(data))


def _finished(study: Path) -> list[Path]:
    """The folders of the finished runs of a study."""
    found = []
    for path in sorted(study.glob(f"*/{RESULT_FILE}")):
        with contextlib.suppress(DataError, MissingInputError):
            if read_result(path).status == FINISHED:
                found.append(path.parent)
    return found
