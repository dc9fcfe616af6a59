"""The settings of `python -m sg.caption`. Importing this module registers the schemas of all captioners."""

from dataclasses import dataclass, field
from typing import Any

from sg.caption.captioners import CAPTIONERS
from sg.caption.hosted.settings import ADAPTIVE
from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.mistakes import check_choice, check_numbers
from sg.core.output import FORMATS
from sg.core.places.config import PathsConfig

ACTIONS = ("caption", "status", "audit", "export", "import", "merge", "forget", "doctor", "prices", "judge", "sheet")
OF_ACTIONS = {
    "dry_run": ("caption",),
    "format": ("status", "export"),
    "out": ("export", "prices", "sheet"),
    "videos": ("export",),
    "source": ("import", "merge", "prices", "judge", "sheet"),
    "ids": ("forget", "export"),
    "name_map": ("import",),
    "samples": ("audit", "sheet"),
    "other": ("sheet",),
    "judge": ("judge", "sheet"),
    "alignment": ("judge",),
    "video": ("caption",),
    "prompt": ("caption",),
}
"""Settings of some actions only. Another action would not use them, and `dry_run` would not keep it back."""
EXPORT_FORMATS = ("sharegemini", "chat_univi", "webdataset", "huggingface")


@dataclass
class CaptionConfig:
    """The settings of `python -m sg.caption`.

    Attributes:
        action: what to do; the first word of the command line sets it (`python -m sg.caption audit data=…`).
        dry_run: only print what captioning would cost and take.
        calibrate: with dry_run: the number of videos whose tokens the service counts first, free of charge.
        format: of an export one of EXPORT_FORMATS, null for sharegemini; of every other action text (null) or json.
        out: the file or folder that an export writes; of prices: the file of the new copy.
        videos: of an export: whether video files go into the shards.
        source: a published caption file to import, a price list, or several files, separated by commas: the other
            ledgers of a merge, the other captions of the same videos whose union a judge takes as the reference.
        ids: a file with one video id per line: the videos to forget, or the only ones to export.
        name_map: the published map between file names and WebVid's numbers.
        samples: the number of videos that the sheet shows, or per kind the audit.
        other: the second captioner of a sheet, `captioner@other=NAME`.
        judge: the captioner that judges, `captioner@judge=NAME`; null: the facts of the demo world.
        alignment: the image-text model that judges (CLIP, SigLIP), as a folder or OWNER/REPOSITORY.
        video: one video file to caption instead of the data; its caption is printed. For captioner=chat_univi.
        prompt: the prompt of captioner=chat_univi; null takes `captioner.prompt`.
    """

    data: Any = None
    captioner: Any = None
    other: Any = None
    judge: Any = None
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
    alignment: str | None = None
    video: str | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        check_choice("action", self.action, ACTIONS)
        for name, actions in OF_ACTIONS.items():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default and self.action not in actions:
                raise ConfigError(f"{name}= is a setting of {', '.join(actions)}, and {self.action} does not use it.")
        if self.action == "caption" and getattr(self.captioner, "buy", None) == ADAPTIVE:
            raise ConfigError(
                "captioner.buy=adaptive is for train.py, which trains on what it buys: this command would buy all."
            )
        check_numbers("", self, samples=1, calibrate=0)
        formats = EXPORT_FORMATS if self.action == "export" else FORMATS
        if self.format is not None:
            check_choice("format", self.format, formats)
        if self.videos and self.format != "webdataset":
            raise ConfigError("videos=true puts the videos into shards: add format=webdataset.")
        if self.calibrate and not self.dry_run:
            raise ConfigError(f"calibrate={self.calibrate} is a number of videos for the estimate: add dry_run=true.")
        if (self.video or self.prompt) and not CAPTIONERS.of(self.captioner).answers_prompts:
            raise ConfigError(
                "video= and prompt= need a model that answers: captioner=chat_univi captioner.checkpoint=DIR."
            )


register(None, "caption_schema", CaptionConfig)
CAPTIONERS.load()
