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
class ImportedCaptionerConfig(CaptionerConfig):
    """Captions that `python -m sg.caption import` read from a published file."""

    name: str = "imported"


ACTIONS = ("caption", "status", "audit", "export", "import", "merge", "forget", "doctor")
EXPORT_FORMATS = ("sharegemini", "chat_univi", "webdataset", "huggingface")


@dataclass
class CaptionConfig:
    """The settings of `python -m sg.caption`.

    Attributes:
        action: what to do; the first word of the command line sets it (`python -m sg.caption audit data=…`).
        dry_run: only print what captioning would cost and take.
        format: of an export; `out`: the file or folder that it writes.
        videos: of an export, whether films go into the shards.
        source: a published caption file to import, or the other ledgers of a merge, separated by commas.
        ids: a file with one video id a line, to forget or to export alone.
        name_map: the published map between clip names and WebVid's numbers.
        samples: clips that the audit shows with their frames, of each kind.
    """

    data: Any = None
    captioner: Any = None
    paths: PathsConfig = field(default_factory=PathsConfig)
    logger: Any = None
    action: str = "caption"
    dry_run: bool = False
    format: str = "sharegemini"
    out: str | None = None
    videos: bool = False
    source: str | None = None
    ids: str | None = None
    name_map: str | None = None
    samples: int = 20

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ConfigError(f"action={self.action!r} should be one of {', '.join(ACTIONS)}.")
        if self.format not in EXPORT_FORMATS:
            raise ConfigError(f"format={self.format!r} should be one of {', '.join(EXPORT_FORMATS)}.")


register(None, "caption_schema", CaptionConfig)
register("captioner", "demo_schema", DemoCaptionerConfig)
register("captioner", "given_schema", GivenCaptionerConfig)
register("captioner", "imported_schema", ImportedCaptionerConfig)
