"""What turns a video into a caption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sg.artefacts.manifest import VideoRecord
from sg.caption.cleaning import clean_caption
from sg.caption.config import CaptionerConfig, DemoCaptionerConfig, GivenCaptionerConfig
from sg.core.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Written:
    """A caption and what it took; an empty caption means that there is none for this video."""

    caption: str
    quality_flags: tuple[str, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


class Captioner(Protocol):
    """Writes captions; its attributes go into every row's provenance."""

    @property
    def model(self) -> str:
        """What writes."""

    @property
    def model_version(self) -> str:
        """Which version of it; another version may write other captions."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The settings that it writes with."""

    def write(self, record: VideoRecord) -> Written:
        """The caption of a video."""


def build_captioner(config: CaptionerConfig) -> Captioner:
    """The captioner of a config."""
    if isinstance(config, DemoCaptionerConfig):
        return DemoCaptioner()
    if isinstance(config, GivenCaptionerConfig):
        return GivenCaptioner(config)
    raise ConfigError(f"captioner={config.name} cannot be used here: expected demo or given.")


class DemoCaptioner:
    """Tells what a film of the demo world shows: the manifest's `extra` holds its scenes."""

    model = "demo"
    model_version = "1"
    parameters: Mapping[str, Any] = {}

    def write(self, record: VideoRecord) -> Written:
        """The full caption of a film; DataError when its row describes no scenes."""
        from sg.demo.language import caption_from_extra

        try:
            return Written(caption_from_extra(record.extra))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"video {record.video_id!r} of source {record.source!r} has no demo scenes to tell about: use "
                "captioner=given for captions that came with the data"
            ) from error


class GivenCaptioner:
    """Takes the text that came with a video, cleaned of what would disturb a training."""

    model = "given"
    model_version = "1"

    def __init__(self, config: GivenCaptionerConfig) -> None:
        self._min_words = config.min_words
        self.parameters: Mapping[str, Any] = {key: value for key, value in asdict(config).items() if key != "name"}

    def write(self, record: VideoRecord) -> Written:
        """The cleaned caption; empty when too few words are left."""
        text, flags = clean_caption(record.original_caption)
        return Written(text if len(text.split()) >= self._min_words else "", flags)
