"""The changes of `explain=[num_frames:8,prompt:video_mme]`, one after the other."""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import OmegaConf

from sg.core.errors import ConfigError
from sg.core.mistakes import check_choice

MODEL = "model."


def parse(change: str) -> tuple[str, Any]:
    """Key and value of `KEY:VALUE`; the value is read as YAML.

    Raises:
        ConfigError: it has no such form.
    """
    key, colon, text = change.partition(":")
    if not colon or not key.strip() or not text.strip():
        raise ConfigError(
            f"explain has {change!r}: write each change as KEY:VALUE, a key of benchmark or model.KEY, such as "
            "explain=[num_frames:8,prompt:video_mme,model.max_frames:16]."
        )
    return key.strip(), OmegaConf.create(f"value: {text}").value


def changed(settings: Any, key: str, value: Any, shown: str = "") -> Any:
    """A copy of a settings dataclass with another value of a key, which may be dotted; the schema checks it.

    Raises:
        ConfigError: there is no such key, or the value is of another type.
    """
    shown, (name, _, rest) = shown or key, key.partition(".")
    check_choice("explain", name, [field.name for field in dataclasses.fields(settings)])
    old = getattr(settings, name)
    if rest:
        if not dataclasses.is_dataclass(old):
            raise ConfigError(f"explain has {shown}, but {name} has no keys of its own.")
        value = changed(old, rest, value, shown)
    elif isinstance(old, (bool, int, float, str)) and not isinstance(
        value, (int, float) if type(old) is float else type(old)
    ):
        raise ConfigError(f"explain has {shown}:{value}, expected a value such as {old!r}.")
    return dataclasses.replace(settings, **{name: value})
