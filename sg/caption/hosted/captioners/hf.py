"""captioner=hf: any video model of transformers captions in this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sg.caption.captioners import CAPTIONERS
from sg.caption.hosted.hosted_captioner import HostedCaptioner
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.crew.workers import ENGINES, check_engine
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY, Identity
from sg.core.mistakes import check_choice
from sg.models.student import STUDENTS

if TYPE_CHECKING:
    from sg.caption.hosted.services.in_process import InProcess


@dataclass
class HfCaptionerConfig(HostedCaptionerConfig):
    """The settings of captioner=hf.

    Attributes:
        student: the model, a file of conf/model.
        batch_size: videos that are answered together.
        decode_workers: processes that read videos meanwhile; with 1, a thread of the same process.
        engine: where the model runs: `local`, or `ray` for one model per GPU (or CPU) of a Ray cluster, the one at
            RAY_ADDRESS or a new one on this machine.
    """

    reads_paths = True
    reads_ranges = True
    sends_fps = False

    student: Any = None
    transport: str = field(default="path", metadata=NOT_IDENTITY)
    batch_size: int = field(default=8, metadata=NOT_IDENTITY)
    decode_workers: int = field(default=4, metadata=NOT_IDENTITY)
    engine: str = field(default="local", metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("captioner.engine", self.engine, ENGINES)
        if min(self.batch_size, self.decode_workers) < 1 or self.transport != "path":
            raise ConfigError(
                "captioner=hf needs captioner.batch_size and captioner.decode_workers of 1 or more, and reads files "
                "itself (captioner.transport=path)."
            )
        if self.base_url or self.key_file:
            raise ConfigError("captioner.base_url and captioner.key_file have no effect on captioner=hf: it asks none.")
        if ignored := sorted(self.generation.keys() - {"max_output_tokens"}):
            raise ConfigError(
                f"captioner.generation.{ignored[0]} has no effect on captioner=hf: its answers are greedy."
            )

    @property
    def weights(self) -> Identity:
        """The model by its content."""
        return STUDENTS.of(self.student).identity(self.student)

    def service(self) -> InProcess:
        """The loaded model.

        Raises:
            ConfigError: Ray is not installed.
        """
        check_engine("captioner.engine", self.engine)
        from sg.caption.hosted.services.in_process import InProcess

        return InProcess(self.student, self.batch_size, self.decode_workers, self.engine)


CAPTIONERS.register("hf", HfCaptionerConfig)(HostedCaptioner)
