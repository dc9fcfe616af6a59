"""Make the manifest of a source: `python -m sg.sources data=folder data.videos=DIR`."""

from sg.core.commands import command
from sg.sources.config import SourcesConfig
from sg.sources.registry import SOURCES

SOURCES.load()


@command("sources", SourcesConfig)
def main(config: SourcesConfig) -> None:
    """Scan the source and print the path of its manifest."""
    from sg.sources.manifests import scan

    print(scan(config.data))


if __name__ == "__main__":
    main()
