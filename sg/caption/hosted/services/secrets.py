"""The API key: taken from the environment or a file that only its owner can read, and kept out of everything else."""

import logging
import os
import re
import stat
from pathlib import Path

from sg.core.errors import ConfigError

GEMINI_KEY_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
HIDDEN = "[key hidden]"
_MIN_HIDDEN = 8
_KEY_PATTERN = re.compile(
    r"AIza[0-9A-Za-z_-]{35}|(?<![0-9A-Za-z])sk-[0-9A-Za-z_-]{20,}"
    r"|(?<=[?&])(?:X-(?:Goog|Amz)-(?:Signature|Credential|Security-Token)|sig|Signature)=[^&\s\"']+"
)
"""API keys, and what makes a signed URL valid."""


class Secret:
    """A key that `print`, `repr` and `str` hide, and that cannot be pickled; `reveal` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("an API key is not pickled")


def read_key(variables: tuple[str, ...], key_file: str | None) -> Secret:
    """The key from the first of the environment `variables` that is set, else from the file.

    Raises:
        ConfigError: there is no key, or other users may read the file.
    """
    for name in variables:
        if value := os.environ.get(name, "").strip():
            return _kept(value)
    if key_file is None:
        raise ConfigError(f"There is no API key: set the environment variable {variables[0]}, or captioner.key_file.")
    path = Path(key_file).expanduser()
    if not path.is_file():
        raise ConfigError(f"captioner.key_file={key_file} does not exist: write the API key there (mode 0600).")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"Other users can read captioner.key_file={key_file}: run chmod 600 {key_file}.")
    value = path.read_text(encoding="utf-8").strip()
    if not value:
        raise ConfigError(f"captioner.key_file={key_file} is empty: write the API key there.")
    return _kept(value)


def looks_like_a_key(text: str) -> bool:
    """Whether a text contains what could be an API key."""
    return _KEY_PATTERN.search(text) is not None


class Redaction(logging.Filter):
    """Hides keys in log records: every known key, and every text that looks like one."""

    def __init__(self) -> None:
        super().__init__()
        self._literal: set[str] = set()

    def add(self, value: str) -> None:
        """Hide this text from now on, unless it is so short that captions may contain it, such as `EMPTY`."""
        if len(value) >= _MIN_HIDDEN:
            self._literal.add(value)

    def clean(self, text: str) -> str:
        """The text with every key replaced, and with everything that looks like one."""
        return _KEY_PATTERN.sub(HIDDEN, self.clean_caption(text))

    def clean_caption(self, text: str) -> str:
        """The text with every known key replaced: a caption may have words that only look like a key."""
        for value in self._literal:
            text = text.replace(value, HIDDEN)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; no record is dropped."""
        message = record.getMessage()
        if (cleaned := self.clean(message)) != message:
            record.msg, record.args = cleaned, ()
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_info, record.exc_text = None, self.clean(trace)
        return True


REDACTION = Redaction()
"""The one filter of the process. Every log handler gets it before an SDK is imported, because SDKs log requests."""


def _kept(value: str) -> Secret:
    REDACTION.add(value)
    for handler in logging.getLogger().handlers:
        if REDACTION not in handler.filters:
            handler.addFilter(REDACTION)
    return Secret(value)
