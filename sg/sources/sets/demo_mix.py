"""A mix of demo worlds: `data=mix` in miniature, whose sources are rendered when they are first needed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sg.demo.config import DemoWorldConfig
from sg.sources.registry import SOURCES
from sg.sources.sets.mix import MixDataConfig, draw_mix


@dataclass
class DemoMixDataConfig(MixDataConfig):
    """Several demo worlds, drawn by weight.

    Attributes:
        world: the world that the tiny model's dialogs and the benchmark come from.
        worlds: the world of each source, by the name of the source; a source without a world has to be scanned before.
    """

    world: DemoWorldConfig = field(default_factory=DemoWorldConfig)
    worlds: dict[str, DemoWorldConfig] = field(default_factory=dict)

    @property
    def is_made_on_the_way(self) -> bool:
        """Whether every source with a weight is a demo world."""
        return bool(self.drawn) and self.drawn.keys() <= self.worlds.keys()

    @property
    def demo_world(self) -> DemoWorldConfig:
        """The world of the dialogs and the benchmark."""
        return self.world

    def missing_files(self) -> Iterator[tuple[str, str]]:
        """Empty if all sources are demo worlds; otherwise as for a mix of real sources."""
        return iter(()) if self.is_made_on_the_way else super().missing_files()


@SOURCES.register("demo_mix", DemoMixDataConfig)
def draw_demo_mix(config: DemoMixDataConfig) -> Path:
    """Render the worlds of the sources with a weight, then draw the mix; returns the path of its manifest."""
    from sg.demo.build import build_demo_world

    for name in config.drawn.keys() & config.worlds.keys():
        build_demo_world(config.worlds[name], Path(config.drawn[name].dir))
    return draw_mix(config)
