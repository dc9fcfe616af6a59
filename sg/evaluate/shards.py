"""One evaluation in several processes or on several machines, and their files merged into one.

Shards take turns with the batches of the whole, so a batch holds the same questions however many shards there are, and
the merged file is the one that a single process would have written.
"""

from __future__ import annotations

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
        """Refuse a part that does not exist."""
        if not 0 <= self.index < self.count:
            raise ConfigError(f"shard={self.index} of shards={self.count} does not exist: count shards from 0.")

    @property
    def is_first(self) -> bool:
        """True for the part that also writes the rows of questions that cannot be asked."""
        return self.index == 0

    @property
    def label(self) -> str:
        """Text behind a progress bar's label: ", shard 1 of 4" (counted from 0), nothing for the whole."""
        return f", shard {self.index} of {self.count}" if self.count > 1 else ""

    def part(self, batches: Sequence[Item]) -> list[tuple[int, Item]]:
        """This part of the batches with their numbers in the whole."""
        return list(enumerate(batches))[self.index :: self.count]

    def file(self, path: Path) -> Path:
        """Where this part's answers go: `predictions.1-of-4.jsonl` beside `path`, `path` itself for the whole."""
        return path.with_name(f"{path.stem}.{self.index}-of-{self.count}{path.suffix}") if self.count > 1 else path


WHOLE = EvaluationShard()


def shard_files(path: Path) -> dict[EvaluationShard, Path]:
    """The files of all shards that lie beside `path`, whatever their number."""
    pattern = re.compile(rf"{re.escape(path.stem)}\.(\d+)-of-(\d+){re.escape(path.suffix)}")
    names = [(file, pattern.fullmatch(file.name)) for file in sorted(path.parent.glob(f"{path.stem}.*"))]
    return {EvaluationShard(int(match[1]), int(match[2])): file for file, match in names if match}


def merge_shards(path: Path) -> list[Prediction]:
    """Put the answers of all shards beside `path` into `path`, in the order of a single process; the rows.

    The shards' files stay. Answers that `path` holds already are kept, so merging twice changes nothing.

    Raises:
        MissingInputError: there are no files of shards.
        DataError: a shard has written nothing, or the shards are of different models or settings.
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
