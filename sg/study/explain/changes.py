"""The changes of `explain=[num_frames:8,prompt:video_mme]`, one after the other."""

import dataclasses
import json
import typing
from typing import Any

from sg.core.errors import ConfigError
from sg.core.mistakes import check_choice

MODEL = "model."


def parse(change: str) -> tuple[str, str]:
    """Key and value of `KEY:VALUE`; ConfigError if it has no such form."""
    key, colon, text = change.partition(":")
    if not colon or not key.strip() or not text.strip():
        raise ConfigError(
            f"explain has {change!r}: write each change as KEY:VALUE, a key of benchmark or model.KEY, such as "
            "explain=[num_frames:8,prompt:video_mme,model.max_frames:16]."
        )
    return key.strip(), text.strip()


def changed(settings: Any, key: str, text: str, shown: str = "") -> Any:
    """A copy of a settings dataclass with another value of a key, which may be dotted; the schema checks it.

    Args:
        text: the value; it is a number, true, false, null or a list as in JSON, unless the setting is a text.

    Raises:
        ConfigError: there is no such key, or the value is of another type.
    """
    shown, (name, _, rest) = shown or key, key.partition(".")
    check_choice("explain", name, [field.name for field in dataclasses.fields(settings)])
    old = getattr(settings, name)
    if rest:
        if not dataclasses.is_dataclass(old):
            raise ConfigError(f"explain has {shown}, but {name} has no keys of its own.")
        return dataclasses.replace(settings, **{name: changed(old, rest, text, shown)})
    if dataclasses.is_dataclass(old) and typing.get_type_hints(type(settings))[name] is type(old):
        raise ConfigError(f"explain has {shown}:{text}, but {shown} has keys of its own: write {shown}.KEY:VALUE.")
    value = text if isinstance(old, str) else _read(text)
    if isinstance(old, list) and not (isinstance(value, list) and value):
        raise ConfigError(f"explain has {shown}:{text}, expected a list such as {json.dumps(old)}.")
    kinds = (int, float) if type(old) is float else (type(old),)
    if isinstance(old, (bool, int, float)) and type(value) not in kinds:
        raise ConfigError(f"explain has {shown}:{text}, expected a value such as {old!r}.")
    return dataclasses.replace(settings, **{name: value})


def _read(text: str) -> Any:
    """Numbers, true, false, null and lists as in JSON; anything else is a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
