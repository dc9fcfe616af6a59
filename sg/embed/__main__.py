"""Embed the videos of a source: `python -m sg.embed data=demo`."""

import sg.sources.config  # noqa: F401 - its schemas are needed to compose the config
from sg.core.commands import command
from sg.embed.config import EmbedConfig


@command("embed", EmbedConfig)
def main(config: EmbedConfig) -> None:
    """Make a vector for every usable video of the data."""
    from sg.embed.run import embed_videos

    print(embed_videos(config.data, config.embedder, engine=config.engine))


if __name__ == "__main__":
    main()
