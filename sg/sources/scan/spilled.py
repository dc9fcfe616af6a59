"""Values of a scan that are in a file instead of in memory."""

from __future__ import annotations

import os
import pickle
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Spilled(Sequence[Any]):
    """Values by number, in a file without a name, which the system removes with the process; 8 bytes of memory each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `__exit__`
        self._number = self._file.fileno()
        self._starts, self._flushed = array("q", [0]), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def append(self, value: Any) -> int:
        """Add a value; returns its number."""
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        self._file.write(data)
        self._starts.append(self._starts[-1] + len(data))
        return len(self) - 1

    def __getitem__(self, number: Any) -> Any:
        start, end = self._starts[number], self._starts[number + 1]
        if end > self._flushed:
            self._file.flush()
            self._flushed = self._starts[-1]
        return pickle.loads(os.pread(self._number, end - start, start))
