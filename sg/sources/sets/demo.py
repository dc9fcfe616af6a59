"""The demo world as data: its video files are rendered when they are first needed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sg.core.identity import Identity
from sg.demo.config import DemoWorldConfig
from sg.sources.config import DataConfig
from sg.sources.registry import SOURCES


@dataclass
class DemoDataConfig(DataConfig):
    """The procedural demo world.

    Attributes:
        world: its size and seed.
    """

    world: DemoWorldConfig = field(default_factory=DemoWorldConfig)

    @property
    def is_made_on_the_way(self) -> bool:
        """Always: rendering takes minutes."""
        return True

    @property
    def has_current_manifest(self) -> bool:
        """Never: the world in the folder may be incomplete, or another one."""
        return False

    @property
    def token_source(self) -> str:
        """Empty: the captions and the dialogs of a world are about the same files, and share their visual tokens."""
        return ""

    @property
    def expected_captions(self) -> int:
        """One per video of the corpus."""
        return self.world.corpus_videos

    def manifest_identity(self) -> Identity:
        """The identity of the world."""
        from sg.demo.build import world_identity

        return world_identity(self.world)

    @property
    def demo_world(self) -> DemoWorldConfig:
        """The world itself."""
        return self.world

    @property
    def command_words(self) -> tuple[str, ...]:
        """The folders and the world of this data."""
        folders = (f"data.{key}={getattr(self, key)}" for key in ("dir", "videos"))
        return ("data=demo", *folders, *(f"data.world.{key}={value}" for key, value in vars(self.world).items()))

    def missing_files(self) -> Iterator[tuple[str, str]]:
        """None: the demo world needs no file of the user."""
        return iter(())


@SOURCES.register("demo", DemoDataConfig)
def make_demo(config: DemoDataConfig) -> Path:
    """Render the demo world, or the missing part of it; returns the path of its manifest."""
    from sg.demo.build import build_demo_world

    return build_demo_world(config.world, Path(config.dir))
