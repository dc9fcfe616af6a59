"""Captions of a data set, for callers that need them to continue, such as a study."""

from pathlib import Path

from sg.caption.captioners import CaptionerConfig, captioner_of
from sg.sources.config import DataConfig


def caption_videos(data: DataConfig, captioner: CaptionerConfig) -> Path:
    """The path of the captioner's captions of the data.

    Captions that cost no money are written, or written again when the manifest or the captioner changed.

    Raises:
        ConfigError: no captioner is registered for these settings.
        MissingInputError: the manifest is missing, or captions that only another command makes.
        DataError: no video has a caption.
    """
    return captioner_of(captioner).captions(data)
