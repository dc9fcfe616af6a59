"""Settings of `python -m sg.export`."""

from dataclasses import dataclass, field
from typing import Any

from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.mistakes import check_choice
from sg.core.places.config import PathsConfig
from sg.evaluate.benchmark import BENCHMARKS
from sg.models.student import STUDENTS

BENCHMARKS.load()
STUDENTS.load()

OFFICIAL, LMMS_EVAL = "official", "lmms_eval"


@dataclass
class ExportConfig:
    """What is exported: a checkpoint, or a file of answers.

    Attributes:
        checkpoint: folder of a stage, or any other that `model.checkpoint` takes.
        predictions: a file of answers of any kind that `evaluate.py predictions=` reads; `benchmark` has its questions.
        out: the folder that is written.
        format: of the answers: `official`, the files of the benchmark's authors, or `lmms_eval`, its sample logs.
    """

    checkpoint: str | None = None
    predictions: str | None = None
    out: str = "???"
    format: str = OFFICIAL
    model: Any = None
    benchmark: Any = None
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        check_choice("format", self.format, (OFFICIAL, LMMS_EVAL))
        if (self.checkpoint is None) is (self.predictions is None):
            raise ConfigError(
                "sg export takes one of checkpoint=FOLDER (a trained model) and predictions=FILE (answers to export)."
            )


register(None, "export_schema", ExportConfig)
