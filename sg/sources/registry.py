"""The registry of sources: each file in `sg/sources/sets` registers its settings and its scan."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sg.core.registry import Registry
from sg.sources.config import DataConfig

SOURCES: Registry[Callable[[Any], Path]] = Registry("data", "sg.sources.sets")
"""By name and settings class, the function that makes the manifest of such data and returns its path."""


def data_words(data: DataConfig) -> str:
    """The words that select `data` on a command line, for the commands that messages name."""
    option = data.option or (data.name if type(data) is DataConfig else SOURCES.name_of(data))
    return f"data={option}" if data.name == option else f"data={option} data.name={data.name}"
