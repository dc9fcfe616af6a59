"""Scales: the number of captions in training, as users write it (`50k`, `100000`, `1e5`, `0`, `all`)."""

import re

from sg.core.errors import ConfigError
from sg.core.mistakes import nearest

_SCALE = re.compile(r"(?P<number>\d+(?:\.\d+)?(?:e\+?\d+)?)(?P<unit>[km]?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_scale(text: str | int | float, key: str = "data.scale") -> int | None:
    """The number of captions in `text`; `None` is all captions, and 0 omits the caption stage.

    `100000`, `100k`, `0.1m`, `1e5` and `100000.0` are the same scale.

    Raises:
        ConfigError: `text` is not a scale; the message names the setting `key`.
    """
    written = str(text).strip()
    if written.lower() == "all":
        return None
    match = _SCALE.fullmatch(written.replace("_", ""))
    value = float(match["number"]) * _UNITS[match["unit"].lower()] if match else -1.0
    if not 0 <= value < 1e15 or value != int(value):
        start = _SCALE.match(written)
        meant = nearest(written, ["all"])
        if start and start["unit"] and written[start.end() :].isalpha():
            meant = f" (did you mean {start[0]}?)"
        raise ConfigError(f"{key}={written!r} is not a scale{meant}: write a number such as 50k, 75000, 0 or all.")
    return int(value)


def scale_label(scale: int) -> str:
    """The short name of a scale: 50_000 -> `50k`, 530 -> `530`, 1_500_000 -> `1500k`."""
    return f"{scale // 1000}k" if scale and scale % 1000 == 0 else str(scale)
