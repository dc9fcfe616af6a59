"""Make the manifest of a source: `python -m sg.sources data=folder data.videos=DIR`."""

from sg.core.commands import command
from sg.sources.config import SourcesConfig


@command("sources", SourcesConfig)
def main(config: SourcesConfig) -> None:
    """Scan the source and say where its manifest is."""
    from sg.sources.manifests import scan

    print(scan(config.data))


if __name__ == "__main__":
    main()
