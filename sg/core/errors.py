"""Errors that a user can fix, and the exit codes of all commands.

The root derives from Hydra's compact exception: Hydra prints its message as one sentence without a stack trace, also
inside a sweep (`HYDRA_FULL_ERROR=1` still prints the trace).
"""

import errno
import re
from enum import IntEnum

from hydra.errors import CompactHydraException


class ExitCode(IntEnum):
    """What a command exits with. `docs/installation.md` has the same table, and a test compares them."""

    OK = 0
    FAILED = 1  # a run, a job of a sweep, or a step failed
    USAGE = 2  # a setting or the command line is wrong; nothing was started
    BUDGET = 3  # captioning stopped at its budget
    QUOTA = 4  # captioning stopped at the provider's quota of the day
    MODEL_DRIFT = 5  # the captioning service answered with another model than the one asked for
    MISSING = 6  # an input does not exist: found by a dry run, by `sg doctor`, or by the step that reads it
    INTERRUPTED = 130  # Ctrl-C
    TERMINATED = 143  # SIGTERM, as a shell reports it


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised like Ctrl-C: everything that ends in order on Ctrl-C also does on SIGTERM."""


class SgError(CompactHydraException):
    """An error that a user can fix; the message says how, in one sentence."""

    exit_code = ExitCode.FAILED


class ConfigError(SgError):
    """A setting is unknown, out of range, or contradicts another one."""

    exit_code = ExitCode.USAGE


class MissingInputError(SgError):
    """A file that a step reads does not exist; the message names the command that makes it."""

    exit_code = ExitCode.MISSING


class DataError(SgError):
    """A file exists, but its content breaks its format."""


class ModelError(SgError):
    """A checkpoint or a model cannot be loaded or used as asked."""


class JobTerminatedError(SgError):
    """A job of a sweep was ended by SIGTERM."""

    exit_code = ExitCode.TERMINATED


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_ODD_PLACE = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ESTALE}
"""A folder where a file should be and the reverse, a path that leads nowhere, a disk or network disk that fails."""
# Words of the errors of SQLite, safetensors and PyTorch, which carry no number.
_FULL_WORDS = re.compile(
    r"no space left on device|os error (28|27|122)\b|disk is full|disk quota exceeded|file too large"
    r"|pytorchstreamwriter failed writing",
    re.IGNORECASE,
)
_CLOSED_WORDS = re.compile(
    r"os error (30|13)\b|read-?only (database|file system)|permission denied|unable to open database file",
    re.IGNORECASE,
)


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def disk_problem(error: BaseException) -> str | None:
    """One sentence if a full disk, a lack of permission or an unusable path is behind `error`; None otherwise.

    None also where an `SgError` is behind it, which is a sentence already.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, SgError):
            return None
        number, words = getattr(link, "errno", None), str(link)
        name = getattr(link, "filename", None)
        where = f"{name} cannot be" if name else "A file cannot be"
        reason = (name and getattr(link, "strerror", "")) or (words.strip().splitlines() or [""])[-1]
        if number in _FULL or _FULL_WORDS.search(words):
            return (
                f"{where} written, because the disk is full ({reason}): make room, then run the same command again; "
                "finished work is kept."
            )
        if number in _CLOSED or _CLOSED_WORDS.search(words):
            return (
                f"{where} read or written ({reason}): change its permissions, or choose another folder (paths.work, "
                "paths.runs, paths.demo_world, data.dir), then run the same command again."
            )
        if isinstance(link, OSError) and number in _ODD_PLACE and name:
            return f"{where} read or written ({reason}): check this path and its disk, then run the same command again."
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return None
