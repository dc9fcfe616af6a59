"""Embed the videos of a source: `python -m sg.embed data=demo`."""

from sg.core.commands import command
from sg.embed.config import EmbedConfig
from sg.embed.registry import EMBEDDERS
from sg.sources.config import OF_TRAINING
from sg.sources.registry import SOURCES

EMBEDDERS.load()
SOURCES.load()


@command("embed", EmbedConfig, unused=OF_TRAINING)
def main(config: EmbedConfig) -> None:
    """Make one vector per usable video of the data."""
    from sg.embed.run import embed_videos

    print(embed_videos(config.data, config.embedder, engine=config.engine))


if __name__ == "__main__":
    main()
