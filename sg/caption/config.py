"""Settings of the captioners and of the command."""

import re
from dataclasses import dataclass, field
from typing import Any

from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.paths import PathsConfig


@dataclass
class CaptionerConfig:
    """What every captioner has.

    Attributes:
        name: names the captions in folders and tables.
    """

    name: str = "???"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ConfigError(
                f"captioner.name={self.name!r} names a folder: expected letters, digits, dots and dashes."
            )


@dataclass
class DemoCaptionerConfig(CaptionerConfig):
    """Tells what a film of the demo world shows, from the scene description in its manifest row."""

    name: str = "demo"


@dataclass
class GivenCaptionerConfig(CaptionerConfig):
    """Takes the captions that came with the data.

    Attributes:
        min_words: captions of fewer words are left out.
    """

    name: str = "given"
    min_words: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_words < 1:
            raise ConfigError(f"captioner.min_words={self.min_words} should be at least 1.")


@dataclass
class CaptionConfig:
    """The settings of `python -m sg.caption`."""

    data: Any = None
    captioner: Any = None
    paths: PathsConfig = field(default_factory=PathsConfig)


register(None, "caption_schema", CaptionConfig)
register("captioner", "demo_schema", DemoCaptionerConfig)
register("captioner", "given_schema", GivenCaptionerConfig)
