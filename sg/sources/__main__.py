"""Make the manifest of a source: `python -m sg.sources data=folder data.videos=DIR`."""

from sg.core.commands import command
from sg.sources.config import SourcesConfig


@command("sources", SourcesConfig)
def main(config: SourcesConfig) -> None:
    """Make the manifest, or say where it is."""
    from sg.sources.manifests import make_manifest

    print(make_manifest(config.data))


if __name__ == "__main__":
    main()
