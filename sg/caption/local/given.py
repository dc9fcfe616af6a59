"""captioner=given: the captions that came with the data."""

from dataclasses import dataclass, field

from sg.artefacts.manifest import VideoRecord
from sg.caption.captioners import CAPTIONERS, CaptionerConfig, RowCaptioner, WrittenCaption
from sg.caption.cleaning import clean_caption
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.sources.scan.items import is_nothing


@dataclass
class GivenCaptionerConfig(CaptionerConfig):
    """Takes the captions that came with the data.

    Attributes:
        min_words: captions of fewer words are left out.
    """

    name: str = field(default="given", metadata=NOT_IDENTITY)
    min_words: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_words < 1:
            raise ConfigError(f"captioner.min_words={self.min_words} should be at least 1.")


@CAPTIONERS.register("given", GivenCaptionerConfig)
class GivenCaptioner(RowCaptioner):
    """Takes the text that came with a video, without the tokens and characters that would disturb a training."""

    model = "given"

    def write(self, record: VideoRecord) -> WrittenCaption:
        """The cleaned caption; empty when too few words remain, or for what programs write for a missing value."""
        text, flags = clean_caption(record.original_caption)
        is_caption = len(text.split()) >= self.config.min_words and not is_nothing(text)
        return WrittenCaption(text if is_caption else "", flags)
