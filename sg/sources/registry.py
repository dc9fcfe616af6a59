"""The registry of sources: each file in `sg/sources/sets` registers its settings and its scan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sg.core.registry import Registry

SOURCES: Registry[Callable[[Any], Path]] = Registry("data", "sg.sources.sets")
"""By name and settings class, the function that makes the manifest of such data and returns its path."""
