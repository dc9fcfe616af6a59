"""Curate the videos of a source: `python -m sg.curate data=demo curator=tome`."""

import sg.sources.config  # noqa: F401 - its schemas are needed to compose the config
from sg.core.commands import command
from sg.curate.config import CurateConfig
from sg.curate.registry import CURATORS

CURATORS.load()


@command("curate", CurateConfig)
def main(config: CurateConfig) -> None:
    """Order the videos of the data, from the most to the least redundant, and write the merge forest."""
    from sg.curate.run import curate_data

    print(curate_data(config))


if __name__ == "__main__":
    main()
