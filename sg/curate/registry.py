"""The registry of curators: `sg.curate.curators` and plug-ins register themselves here."""

from typing import Any, Protocol

from sg.core.registry import Registry
from sg.curate.inputs import Curated, CuratorInputs


class Curator(Protocol):
    """A function that orders the videos; it is registered together with the class of its settings."""

    def __call__(self, inputs: CuratorInputs, config: Any) -> Curated:
        """The merge forest of all videos of `inputs`.

        `config` is an instance of the settings class, which derives from `sg.curate.settings.CuratorConfig`.
        """
        ...


CURATORS: Registry[Curator] = Registry("curator", "sg.curate.curators")
