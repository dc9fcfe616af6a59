"""captioner=demo: the captions of the demo world's videos, from the scene description in their manifest rows."""

import random
from dataclasses import dataclass, field

from sg.artefacts.manifest import VideoRecord
from sg.caption.captioners import CAPTIONERS, CaptionerConfig, RowCaptioner, WrittenCaption
from sg.core.errors import ConfigError, DataError
from sg.core.fingerprints import text_seed
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice


@dataclass
class DemoCaptionerConfig(CaptionerConfig):
    """Describes the scenes of a video of the demo world.

    Attributes:
        noise: a fault that captions have on purpose, of `sg.demo.caption_noise`; null for none.
        noise_rate: its rate, from 0 to 1.
        noise_seed: draws where it occurs.
    """

    name: str = field(default="demo", metadata=NOT_IDENTITY)
    noise: str | None = None
    noise_rate: float = 0.0
    noise_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise is not None:
            from sg.demo.caption_noise import FAULTS

            check_choice("captioner.noise", self.noise, tuple(FAULTS))
        if not 0 <= self.noise_rate <= 1 or (self.noise is None and self.noise_rate):
            raise ConfigError(
                f"captioner.noise_rate={self.noise_rate} should be from 0 to 1, and needs captioner.noise=FAULT."
            )


@CAPTIONERS.register("demo", DemoCaptionerConfig)
class DemoCaptioner(RowCaptioner):
    """Describes what a video of the demo world shows: the manifest's `extra` column holds its scenes."""

    model = "demo"

    def write(self, record: VideoRecord) -> WrittenCaption:
        """The full caption of a video, with the fault that the settings name.

        Raises:
            DataError: the row describes no scenes.
        """
        from sg.demo.caption_noise import with_fault
        from sg.demo.language import caption
        from sg.demo.world import VideoSpec

        config: DemoCaptionerConfig = self.config
        try:
            spec = VideoSpec.from_json(record.extra)
            if config.noise is not None:
                draw = random.Random(text_seed(config.noise, config.noise_seed, record.video_id))
                spec = with_fault(spec, config.noise, config.noise_rate, draw)
            return WrittenCaption(caption(spec))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"video {record.video_id!r} of source {record.source!r} has no demo scenes to describe: use "
                "captioner=given for captions that came with the data"
            ) from error
