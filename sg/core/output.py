"""Results for people and for programs: `format=text` prints text, `format=json` prints one JSON object.

A JSON object stands alone on stdout, so that it can be piped; everything else that the command prints goes to stderr.
It has the keys `kind` (plan, doctor, ...) and `schema`, the version of that kind's layout: it is raised when a key is
renamed, removed or changes its meaning, not when a key is added.
"""

import contextlib
import io
import json
import logging
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sg.core.mistakes import check_choice

TEXT, JSON = "text", "json"
FORMATS = (TEXT, JSON)

_ASKS_FOR_JSON = re.compile(rf"\+{{0,2}}format=(['\"]?){JSON}\1")

# Where the JSON object goes while `sys.stdout` is redirected to stderr.
_stdout: list[Any] = []


class LogFile(logging.FileHandler):
    """A log file whose folder is made with the first line, so that a refused command leaves nothing behind."""

    def _open(self) -> io.TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


def check_format(value: str) -> None:
    """Raise ConfigError unless `value` is a format."""
    check_choice("format", value, FORMATS)


@contextlib.contextmanager
def json_alone(arguments: Sequence[str]) -> Iterator[None]:
    """With `format=json` in `arguments`, redirect stdout to stderr inside the block, except what `show` prints."""
    if not any(_ASKS_FOR_JSON.fullmatch(word) for word in arguments):
        yield
        return
    _stdout.append(sys.stdout)
    try:
        # Hydra's log handlers take the stream that `sys.stdout` is when Hydra sets them up, hence inside this block.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _stdout.pop()


def show(kind: str, schema: int, record: Mapping[str, Any], text: Callable[[], str], output_format: str) -> None:
    """Print `record` as JSON with its kind and schema version, or the text that `text` returns.

    Args:
        kind: what the record is, such as `plan`.
        schema: version of the layout of `record`.
        record: plain data: mappings, sequences, text, numbers, None. NaN and infinity become null.
        text: returns the same record as text; called only for `format=text`.
        output_format: the command's `format` setting.
    """
    if output_format == JSON:
        stream = _stdout[-1] if _stdout else sys.stdout
        print(json.dumps({"kind": kind, "schema": schema, **_plain(record)}, indent=2), file=stream, flush=True)
    else:
        print(text())


def _plain(value: Any) -> Any:
    """`value` with lists for other sequences and None for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
