"""Caption the videos of a source: `python -m sg.caption data=demo`."""

import sg.sources.config  # noqa: F401 - its schemas are needed to compose the config
from sg.caption.config import CaptionConfig
from sg.core.commands import command


@command("caption", CaptionConfig)
def main(config: CaptionConfig) -> None:
    """Caption every usable video of the data."""
    from sg.caption.run import caption_videos

    print(caption_videos(config.data, config.captioner))


if __name__ == "__main__":
    main()
