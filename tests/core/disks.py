"""Errors of a full disk and of missing permissions, from the system itself."""

import contextlib
import encodings.utf_8_sig  # noqa: F401 - other users may not be able to import it
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NOBODY = 65534


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A real error of the system for files above `size` bytes, like that of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def folder_for_all() -> Iterator[Path]:
    """A folder that every user can reach; those of pytest belong to one."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def closed(*paths: Path, mode: int = 0o555) -> Iterator[None]:
    """These files and folders have this mode, and the user has no right to open others, also not as root."""
    before = {path: path.stat().st_mode & 0o7777 for path in paths}
    user = os.geteuid()
    try:
        for path in paths:
            path.chmod(mode)
        if not user:
            os.seteuid(_NOBODY)
        yield
    finally:
        os.seteuid(user)
        for path, old in before.items():
            path.chmod(old)
