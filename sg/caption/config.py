"""Settings of the captioners and of the command."""

import re
from dataclasses import dataclass, field
from typing import Any

from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.output import FORMATS
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
class ChatUniViCaptionerConfig(CaptionerConfig):
    """A trained checkpoint of this project says what it sees.

    Attributes:
        checkpoint: a stage's folder, or any model that `model.checkpoint` takes.
        model: how frames are sampled and prompts are worded, and the tokenizer where the checkpoint has none; of the
            model that the checkpoint was made from.
        prompt: what is asked about every film; `prompt="..."` of the command sets it, too.
        max_new_tokens: where a caption ends at the latest.
        batch_size: films that are answered together.
    """

    name: str = "chat_univi"
    checkpoint: str | None = None
    model: Any = None
    prompt: str = "Describe this video in detail."
    max_new_tokens: int = 512
    batch_size: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.max_new_tokens, self.batch_size) < 1 or not self.prompt.strip():
            raise ConfigError(
                "captioner.max_new_tokens and captioner.batch_size should be at least 1, prompt some text."
            )


@dataclass
class CaptionConfig:
    """The settings of `python -m sg.caption`.

    Attributes:
        action: what to do; the first word of the command line sets it (`python -m sg.caption audit data=…`).
        dry_run: only print what captioning would cost and take.
        calibrate: with dry_run, the number of clips whose tokens the service counts first, which costs nothing.
        format: of an export one of EXPORT_FORMATS, null for sharegemini; of every other action text (null) or json.
        out: the file or folder that an export writes.
        videos: of an export, whether films go into the shards.
        source: a published caption file to import, or the other ledgers of a merge, separated by commas.
        ids: a file with one video id a line, to forget or to export alone.
        name_map: the published map between clip names and WebVid's numbers.
        samples: clips that the audit shows with their frames, of each kind.
        video: one film to caption instead of the data; its caption is printed. For captioner=chat_univi.
        prompt: what captioner=chat_univi asks; null leaves it to `captioner.prompt`.
    """

    data: Any = None
    captioner: Any = None
    paths: PathsConfig = field(default_factory=PathsConfig)
    logger: Any = None
    action: str = "caption"
    dry_run: bool = False
    calibrate: int = 0
    format: str | None = None
    out: str | None = None
    videos: bool = False
    source: str | None = None
    ids: str | None = None
    name_map: str | None = None
    samples: int = 20
    video: str | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ConfigError(f"action={self.action!r} should be one of {', '.join(ACTIONS)}.")
        formats = EXPORT_FORMATS if self.action == "export" else FORMATS
        if self.format is not None and self.format not in formats:
            raise ConfigError(f"format={self.format!r} of {self.action} should be one of {', '.join(formats)}.")
        if self.calibrate < 0 or (self.calibrate and not self.dry_run):
            raise ConfigError(f"calibrate={self.calibrate} is a number of clips for the estimate: add dry_run=true.")
        if (self.video or self.prompt) and not isinstance(self.captioner, ChatUniViCaptionerConfig):
            raise ConfigError(
                "video= and prompt= need a model that answers: captioner=chat_univi captioner.checkpoint=DIR."
            )


register(None, "caption_schema", CaptionConfig)
register("captioner", "demo_schema", DemoCaptionerConfig)
register("captioner", "given_schema", GivenCaptionerConfig)
register("captioner", "chat_univi_captioner_schema", ChatUniViCaptionerConfig)
register("captioner", "imported_schema", ImportedCaptionerConfig)
