"""One tree of errors for what a user can mend.

The root derives from Hydra's compact exception, so Hydra prints the message as one sentence without a stack trace,
also inside a sweep (`HYDRA_FULL_ERROR=1` still shows the trace).
"""

from hydra.errors import CompactHydraException


class SgError(CompactHydraException):
    """A mistake or a lack that a user can mend; the message says how, in one sentence.

    `exit_code` is what a command ends with.
    """

    exit_code = 1


class ConfigError(SgError):
    """A setting is unknown, out of range, or contradicts another one."""


class MissingInputError(SgError):
    """A file that a step reads is not there; the message names the command that makes it."""


class DataError(SgError):
    """A file is there but holds something else than its format promises."""


class ModelError(SgError):
    """A checkpoint or a model cannot be loaded or used as asked."""
