"""Curate the videos of a source: `python -m sg.curate data=demo curator=tome`."""

from sg.core.commands import command
from sg.curate.config import CurateConfig
from sg.curate.registry import CURATORS
from sg.sources.registry import SOURCES

CURATORS.load()
SOURCES.load()


@command("curate", CurateConfig)
def main(config: CurateConfig) -> None:
    """Order the videos of the data, from the most to the least redundant, and write the merge forest."""
    from sg.curate.run import curate_data

    print(curate_data(config))


if __name__ == "__main__":
    main()
