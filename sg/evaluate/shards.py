"""Splits one evaluation among several processes or machines, and merges their files.

Shard i of n answers batches i, i + n, i + 2n, ... of the whole evaluation. A batch holds the same questions for every
number of shards, so the merged file equals that of a single process.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sg.artefacts.predictions import Prediction, PredictionWriter, read_predictions
from sg.core.errors import ConfigError, DataError, MissingInputError

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class EvaluationShard:
    """Part `index` of `count`."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Check that the part exists."""
        if not 0 <= self.index < self.count:
            raise ConfigError(f"shard={self.index} of shards={self.count} does not exist: count shards from 0.")

    @property
    def is_first(self) -> bool:
        """True for the part that also writes the rows of the questions that cannot be asked."""
        return self.index == 0

    @property
    def label(self) -> str:
        """Suffix of a progress bar's label: ", shard 1 of 4" (counted from 0), or "" for the whole."""
        return f", shard {self.index} of {self.count}" if self.count > 1 else ""

    def part(self, batches: Sequence[Item]) -> list[tuple[int, Item]]:
        """The batches of this part, with their numbers in the whole evaluation."""
        return list(enumerate(batches))[self.index :: self.count]

    def file(self, path: Path) -> Path:
        """The file of this part's answers: `predictions.1-of-4.jsonl` beside `path`, or `path` for the whole."""
        return path.with_name(f"{path.stem}.{self.index}-of-{self.count}{path.suffix}") if self.count > 1 else path


WHOLE = EvaluationShard()


def shard_files(path: Path) -> dict[EvaluationShard, Path]:
    """The files of all shards beside `path`."""
    pattern = re.compile(rf"{re.escape(path.stem)}\.(\d+)-of-(\d+){re.escape(path.suffix)}")
    names = [(file, pattern.fullmatch(file.name)) for file in sorted(path.parent.glob(f"{path.stem}.*"))]
    return {EvaluationShard(int(match[1]), int(match[2])): file for file, match in names if match}


def merge_shards(path: Path) -> list[Prediction]:
    """Merge the answers of all shards beside `path` into `path`, in the order of a single process; returns the rows.

    The shards' files stay. Answers in `path` are kept, so merging again changes nothing.

    Raises:
        MissingInputError: there are no files of shards.
        DataError: the file of a shard is missing, or the shards are of different models or settings.
    """
    files = shard_files(path)
    if not files:
        raise MissingInputError(f"There are no answers of shards beside {path}: run with shards=N first.")
    for count in {shard.count for shard in files}:
        absent = [str(index) for index in range(count) if EvaluationShard(index, count) not in files]
        if absent:
            raise DataError(f"Of shards={count} beside {path}, shard {', '.join(absent)} has not run: run it first.")
    rows = {row.key: row for file in files.values() for row in read_predictions(file)}
    made_by = {row.made_by for row in rows.values()}
    if len(made_by) > 1:
        raise DataError(f"The shards beside {path} are of different models or settings: delete those of the old ones.")
    with PredictionWriter(path, "".join(made_by)) as writer:
        writer.write(sorted(rows.values(), key=lambda row: row.batch))
    return read_predictions(path)
