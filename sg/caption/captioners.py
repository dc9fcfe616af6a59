"""Captioners: what all of them have, and the registry that knows them.

One captioner is one file: it defines a settings class and a `Captioner`, and registers both in `CAPTIONERS`. A YAML
file of the same name in `conf/captioner/` makes it selectable.
"""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from sg.artefacts.captions import CaptionRecord, captions_place, other_captions, write_captions
from sg.artefacts.manifest import Manifest, VideoRecord, read_manifest
from sg.artefacts.tables import read_info
from sg.core.errors import DataError
from sg.core.files import file_lock
from sg.core.identity import NOT_IDENTITY, Identity, identity, made_by
from sg.core.mistakes import check_folder_name
from sg.core.progress import track
from sg.core.registry import Registry
from sg.core.tracking import LoggerConfig
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

log = logging.getLogger(__name__)

ROW_CAPTIONS_VERSION = 1
"""Raised when `RowCaptioner` would write other captions from the same rows and settings."""


@dataclass
class CaptionerConfig:
    """What the settings of every captioner have.

    Attributes:
        name: names the captions in folders and tables.
    """

    name: str = field(default="???", metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        check_folder_name("captioner.name", self.name)


class Captioner(ABC):
    """A way to obtain the captions of a data set, made from its settings."""

    answers_prompts: ClassVar[bool] = False
    """Whether it can answer `prompt=` about one file, `video=`; its settings then have a field `prompt`."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def captions(self, data: DataConfig) -> Path:
        """The path of the data's captions; they are written first where that costs no money.

        Raises:
            MissingInputError: the captions are missing and another command makes them; the message names it.
        """

    @property
    def recipe(self) -> Identity | None:
        """What decides the captions of any videos: settings, model, prompt; None if that is not known."""
        return None

    def place(self, data: DataConfig, *, for_writing: bool = False) -> Path:
        """The path of the data's captions of these settings, which may not exist yet; see `captions_place`.

        Raises:
            ConfigError: there are captions of several settings, and these settings do not say which ones are wanted.
        """
        return captions_place(data.captions_path(self.config.name).parent, self.recipe, for_writing=for_writing)

    def others(self, data: DataConfig) -> str:
        """The data's captions that this captioner wrote with other settings, and how to use them; empty without any."""
        found = other_captions(data.captions_path(self.config.name).parent, self.recipe)
        return found and f"{found}: to use them, give the settings of captioner that differ"

    def identity_of(self, manifest: Manifest) -> Identity | None:
        """What decides the captions of a manifest; None where existing captions are taken as they are."""
        return None

    def caption(self, data: DataConfig, logger: LoggerConfig) -> Path:
        """Do what `python -m sg.caption` does with this captioner; returns the path of the captions."""
        return self.captions(data)

    def estimate(self, data: DataConfig, calibrate: int) -> str:
        """What captioning the data costs and takes; `calibrate` videos are counted by the service first."""
        return f"captioner={self.config.name} asks no service and costs nothing."

    def caption_file(self, path: Path) -> str:
        """The caption of one video file, for captioners with `answers_prompts`."""
        raise NotImplementedError


CAPTIONERS: Registry[type[Captioner]] = Registry("captioner", "sg.caption.local", "sg.caption.hosted.captioners")


def captioner_of(config: CaptionerConfig) -> Captioner:
    """The captioner of these settings; ConfigError if no captioner is registered for their class."""
    return CAPTIONERS.of(config)(config)


@dataclass(frozen=True, slots=True)
class WrittenCaption:
    """A caption and what it took; an empty caption means that this video has none."""

    caption: str
    quality_flags: tuple[str, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


class RowCaptioner(Captioner):
    """A captioner that writes each caption from one row of the manifest; `model` and `model_version` are recorded."""

    model: ClassVar[str]
    model_version: ClassVar[str] = "1"
    """Raised when `write` would return other captions for the same rows and settings."""

    @abstractmethod
    def write(self, record: VideoRecord) -> WrittenCaption:
        """The caption of one video."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The settings, as each caption records them."""
        return {key: value for key, value in asdict(self.config).items() if key != "name"}

    def captions(self, data: DataConfig) -> Path:
        """Write a caption for every usable video, unless the existing captions have the same identity.

        Raises:
            MissingInputError: there is no manifest.
            DataError: no video has a caption.
        """
        manifest = read_manifest(make_manifest(data))
        work = self.identity_of(manifest)
        with file_lock(data.captions_path(self.config.name).with_suffix(".lock")):
            path = self.place(data, for_writing=True)
            if read_info(path).get("fingerprint") == work.name:
                return path
            rows = list(self._rows(manifest))
            if not rows:
                raise DataError(
                    f"None of the {len(manifest.usable())} usable videos of data={data.name} has a caption: give them "
                    "with data.captions=FILE, or choose another captioner."
                )
            write_captions(path, rows, captions_info(work, self.recipe, self.config.name, manifest.content_hash))
        log.info("captions: %d of %d usable videos (captioner %s)", len(rows), len(manifest.usable()), self.config.name)
        return path

    @property
    def recipe(self) -> Identity:
        """The settings, and the version of `write`."""
        inputs = {"model": self.model, "model_version": self.model_version}
        return identity("captions", settings=self.config, inputs=inputs, version=ROW_CAPTIONS_VERSION)

    def identity_of(self, manifest: Manifest) -> Identity:
        """What decides the captions of a manifest."""
        return of_manifest(self.recipe, manifest.content_hash)

    def _rows(self, manifest: Manifest) -> Iterator[CaptionRecord]:
        usable = manifest.usable()
        parameters = json.dumps(dict(self.parameters), sort_keys=True)
        for record in track(usable.records(), "captions", "videos", total=len(usable)):
            written = self.write(record)
            if written.caption.strip():
                yield CaptionRecord(
                    video_id=record.video_id,
                    caption=written.caption,
                    model=self.model,
                    model_version=self.model_version,
                    parameters=parameters,
                    input_tokens=written.input_tokens,
                    output_tokens=written.output_tokens,
                    cost_usd=written.cost_usd,
                    created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                    quality_flags=written.quality_flags,
                )


def of_manifest(recipe: Identity, manifest_hash: str) -> Identity:
    """The identity of the captions that a recipe writes for a manifest."""
    return replace(recipe, inputs={**recipe.inputs, "manifest": manifest_hash})


def captions_info(work: Identity, recipe: Identity, captioner: str, manifest_hash: str) -> dict[str, Any]:
    """What `captions.parquet` records about its origin; `recipe` is what decides them, whatever the videos."""
    described = {"fingerprint": work.name, "captioner": captioner, "manifest": manifest_hash, **made_by(work)}
    return described | {"recipe_identity": recipe.plain()}
