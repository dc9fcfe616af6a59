"""The JSON files that the report writes, from dataclasses and back; null stands for NaN, which JSON does not have."""

import math
import types
import typing
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from sg.core.errors import DataError
from sg.core.files import read_json, write_record


def save_record(path: Path, record: Any) -> None:
    """Write the dataclass `record` as JSON."""
    write_record(path, _plain(asdict(record)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def load_record(kind: type, path: Path) -> Any:
    """Read the JSON file at `path` as an instance of the dataclass `kind`; fields with a default may be missing.

    Raises:
        DataError: the file is not JSON, or lacks a field of `kind`.
    """
    try:
        return _load(kind, read_json(path))
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read by this version ({error}): write it again with `python -m sg.report study=FOLDER`."
        ) from error


def _load(kind: Any, value: Any) -> Any:
    """Rebuild the annotated type `kind` from plain JSON data."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _load(next(item for item in arguments if item is not type(None)), value)
    if origin is list:
        return [_load(arguments[0], item) for item in value]
    if origin is dict:
        return {key: _load(arguments[1], item) for key, item in value.items()}
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = [f for f in fields(kind) if f.name in value or (f.default is MISSING and f.default_factory is MISSING)]
        return typing.cast(Any, kind)(**{f.name: _load(hints[f.name], value[f.name]) for f in known})
    return math.nan if kind is float and value is None else value
