"""captioner=demo: the captions of the demo world's videos, from the scene description in their manifest rows."""

from __future__ import annotations

from dataclasses import dataclass, field

from sg.artefacts.manifest import VideoRecord
from sg.caption.captioners import CAPTIONERS, CaptionerConfig, RowCaptioner, WrittenCaption
from sg.core.errors import DataError
from sg.core.identity import NOT_IDENTITY


@dataclass
class DemoCaptionerConfig(CaptionerConfig):
    """Describes the scenes of a video of the demo world."""

    name: str = field(default="demo", metadata=NOT_IDENTITY)


@CAPTIONERS.register("demo", DemoCaptionerConfig)
class DemoCaptioner(RowCaptioner):
    """Describes what a video of the demo world shows: the manifest's `extra` column holds its scenes."""

    model = "demo"

    def write(self, record: VideoRecord) -> WrittenCaption:
        """The full caption of a video.

        Raises:
            DataError: the row describes no scenes.
        """
        from sg.demo.language import caption_from_extra

        try:
            return WrittenCaption(caption_from_extra(record.extra))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"video {record.video_id!r} of source {record.source!r} has no demo scenes to describe: use "
                "captioner=given for captions that came with the data"
            ) from error
