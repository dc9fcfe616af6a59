"""Arrays of an unfinished curation on disk, as NumPy's zip archives, which keep a checksum of every array."""

import logging
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg.core.errors import DataError, first_line

log = logging.getLogger(__name__)


def read_arrays(path: Path, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays in the file at `path` by name, all or the given ones; DataError if it is missing or damaged."""
    try:
        with np.load(path) as data:
            return {name: data[name] for name in names or data.files}
    except PermissionError:  # it is not damaged
        raise
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} is damaged ({first_line(error)}): if curation stops here, delete its folder `unfinished` and run "
            "it again."
        ) from error


def read_state_arrays(path: Path, names: set[str]) -> dict[str, NDArray[Any]] | None:
    """The arrays of a state; None if there is none, or a damaged one: the run then starts from an earlier state."""
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path)
        if missing := names - arrays.keys():
            raise DataError(f"{path} lacks {min(missing)}.")
    except DataError as error:
        log.warning("The curation resumes from an earlier state or from its beginning, because %s", error)
        return None
    return arrays
