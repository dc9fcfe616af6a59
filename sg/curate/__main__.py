"""Curate the videos of a source: `python -m sg.curate data=demo curator=tome`."""

import re
import sys

from sg.core.commands import command
from sg.curate.config import CurateConfig
from sg.curate.registry import CURATORS
from sg.sources.config import OF_TRAINING
from sg.sources.registry import SOURCES

CURATORS.load()
SOURCES.load()


@command("curate", CurateConfig, unused=OF_TRAINING)
def _curate(config: CurateConfig) -> None:
    """Order the videos of the data, from the most to the least redundant, and write the merge forest."""
    from sg.curate.run import curate_data

    print(curate_data(config))


def main() -> None:
    """Run the command line, in which `embedder=NAME` and `captioner=NAME` name what other steps have made.

    Hydra would take both for choices of the groups of these names, which this step does not have.
    """
    sys.argv[1:] = [re.sub(r"^(\+{0,2})(embedder|captioner)=", r"\1\2.name=", word) for word in sys.argv[1:]]
    _curate()


if __name__ == "__main__":
    main()
