"""The settings that every curator has."""

from dataclasses import dataclass, field

from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_folder_name
from sg.curate.checks import check_seed


@dataclass
class CuratorConfig:
    """Base class of the settings of all curators.

    Attributes:
        name: folder of the result.
        seed: keys the hash of ids that orders the videos; random choices of the curator follow from it too.
    """

    name: str = field(default="???", metadata=NOT_IDENTITY)
    seed: int = 0

    def __post_init__(self) -> None:
        check_folder_name("curator.name", self.name)
        check_seed(self.seed)

    @property
    def uses_captions(self) -> bool:
        """True when the lengths of the captions can change the order."""
        return False

    @property
    def most_in_memory(self) -> int | None:
        """The largest number of videos whose vectors this curator holds in memory; None means all of them."""
        return None
