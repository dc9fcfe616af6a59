"""The settings that every embedder has."""

from dataclasses import dataclass, field

from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice, check_folder_name

DTYPES = ("auto", "float32", "bfloat16", "float16")


def actual_reader(reader: str) -> str:
    """The frame reader that a setting stands for."""
    return "pyav" if reader == "auto" else reader


@dataclass
class EmbedderConfig:
    """Base class of the settings of all embedders.

    Attributes:
        name: names the vectors in folders and tables.
        num_frames: frames per video that the model sees, from the middles of equal segments.
        image_size: width and height in pixels that they are resized to; the aspect ratio is not kept.
        antialias: smooth while resizing.
        reader: frame reader: auto, pyav, decord, torchcodec.
        batch_size: videos that pass through the model at once.
        rows_per_part: videos per part of the result; a killed run loses at most the parts in progress.
        workers: processes that decode; 0 takes one per core.
        timeout_s: seconds after which the decoding of a video is given up.
        device: `auto` takes a GPU if there is one; or cpu, cuda, cuda:1.
        num_threads: threads of the model on a CPU; 0 keeps torch's default.
    """

    name: str = field(default="???", metadata=NOT_IDENTITY)
    num_frames: int = 8
    image_size: int = 224
    antialias: bool = True
    reader: str = field(default="auto", metadata={"identity": actual_reader})
    # These decide where and how fast the work is done. At most the last bit of a vector depends on them.
    batch_size: int = field(default=32, metadata=NOT_IDENTITY)
    rows_per_part: int = field(default=1000, metadata=NOT_IDENTITY)
    workers: int = field(default=0, metadata=NOT_IDENTITY)
    timeout_s: float = field(default=300.0, metadata=NOT_IDENTITY)
    device: str = field(default="auto", metadata=NOT_IDENTITY)
    num_threads: int = field(default=1, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        from sg.video.reader import check_backend

        check_folder_name("embedder.name", self.name)
        for key in ("num_frames", "image_size", "batch_size", "rows_per_part"):
            if getattr(self, key) < 1:
                raise ConfigError(f"embedder.{key}={getattr(self, key)} should be at least 1.")
        for key in ("workers", "num_threads"):
            if getattr(self, key) < 0:
                raise ConfigError(f"embedder.{key}={getattr(self, key)} should be at least 0.")
        if not self.timeout_s > 0:
            raise ConfigError(f"embedder.timeout_s={self.timeout_s} should be above 0.")
        check_backend(self.reader)

    @property
    def protects_vectors(self) -> bool:
        """True when existing vectors of other settings must not be replaced without asking."""
        return False

    @property
    def depends_on_machine(self) -> bool:
        """True when another machine may compute in another data type with the same settings."""
        return False


@dataclass
class PublishedEmbedderConfig(EmbedderConfig):
    """Base class of the settings of embedders with published weights.

    Attributes:
        dtype: type of the weights: `auto` is bfloat16 on a GPU and float32 on a CPU.
        revision: branch, tag or commit of a hub repository; null for its main branch.
        replace: replace vectors of other settings in the same folder; if false, they are kept and the run is refused.
    """

    # Counts as the type that `auto` resolves to, and the revision as the content of the weights, see `model_facts`.
    dtype: str = field(default="auto", metadata=NOT_IDENTITY)
    revision: str | None = field(default=None, metadata=NOT_IDENTITY)
    replace: bool = field(default=False, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("embedder.dtype", self.dtype, DTYPES)

    @property
    def protects_vectors(self) -> bool:
        """True unless `replace` is set: the vectors may have taken days."""
        return not self.replace

    @property
    def depends_on_machine(self) -> bool:
        """True for `dtype=auto`."""
        return self.dtype == "auto"
