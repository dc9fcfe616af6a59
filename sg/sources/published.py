"""The reader of each published set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sg.core.errors import ConfigError
from sg.sources.config import (
    AnnotatedDataConfig,
    HdVilaDataConfig,
    InternVidDataConfig,
    Kinetics400DataConfig,
    ShareGeminiDataConfig,
    WebVidDataConfig,
)
from sg.sources.scan.disk import Clip
from sg.sources.scan.items import Source


def build_source(config: AnnotatedDataConfig, clips: Sequence[Clip]) -> Source:
    """The reader of the set that `config` is about, for the films that lie on disk."""
    if isinstance(config, WebVidDataConfig):
        from sg.sources.sets.webvid import WebVid

        return WebVid()
    if isinstance(config, Kinetics400DataConfig):
        from sg.sources.sets.kinetics400 import Kinetics400

        return Kinetics400()
    if isinstance(config, InternVidDataConfig):
        from sg.sources.scan.numbered import Numbering
        from sg.sources.sets.internvid import InternVid

        return InternVid(Numbering.of(clips))
    if isinstance(config, HdVilaDataConfig):
        from sg.sources.sets.hdvila import HdVila

        return HdVila(config.unit, config.window_s)
    if isinstance(config, ShareGeminiDataConfig):
        from sg.sources.sets.sharegemini import ShareGemini

        return ShareGemini(Path(config.name_map) if config.name_map else None)
    raise ConfigError(f"data={config.name} is no published set that can be scanned.")
