"""Settings of the command `python -m sg.embed`."""

from dataclasses import dataclass, field
from typing import Any

from sg.core.commands import register
from sg.core.crew.workers import ENGINES
from sg.core.mistakes import check_choice
from sg.core.places.config import PathsConfig


@dataclass
class EmbedConfig:
    """The settings of `python -m sg.embed`.

    Attributes:
        data: the source.
        embedder: the model; its settings derive from `sg.embed.settings.EmbedderConfig`.
        engine: `local`, or `ray` for a Ray cluster (the one at RAY_ADDRESS, or a new one on this machine).
        paths: folders of this machine.
    """

    data: Any = None
    embedder: Any = None
    engine: str = "local"
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        check_choice("engine", self.engine, ENGINES)


register(None, "embed_schema", EmbedConfig)
