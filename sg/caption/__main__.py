"""Caption the videos of a source: `python -m sg.caption data=demo`; or one film with a trained model: `video=FILE`."""

import dataclasses
from pathlib import Path

import sg.models.config
import sg.sources.config  # noqa: F401 - its schemas are needed to compose the config
from sg.caption.config import CaptionConfig
from sg.core.commands import command


@command("caption", CaptionConfig)
def main(config: CaptionConfig) -> None:
    """Caption every usable video of the data, or one film."""
    from sg.caption.run import caption_videos

    captioner = config.captioner
    if config.prompt is not None:
        captioner = dataclasses.replace(captioner, prompt=config.prompt)
    if config.video is None:
        print(caption_videos(config.data, captioner))
        return
    from sg.caption.chat_univi import caption_film

    print(caption_film(Path(config.video), captioner))


if __name__ == "__main__":
    main()
