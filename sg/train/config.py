"""Settings of the training stages, of the machine that trains, and their checks."""

from dataclasses import dataclass, field

from sg.core.commands import register
from sg.core.errors import ConfigError

PARTS = ("projector", "language_model")
SAMPLES = ("dialogs", "captions")


@dataclass
class DialogSource:
    """One file of conversations in Chat-UniVi/LLaVA JSON, and the folder that its media paths start from."""

    dialogs: str = "???"
    media: str = "???"


@dataclass
class StageConfig:
    """One training stage: what trains, on what, with which optimiser.

    Attributes:
        name: name of the stage, in folders and in logs.
        trains: the parts that learn, of `projector` and `language_model`; the vision tower is frozen in every stage.
        samples: `dialogs` reads the files in `sources`; `captions` makes one sample of every caption of the core.
        sources: the dialog files; empty for `captions`.
        requests: what the user's turn may ask for, one drawn a clip (for `captions`).
        learning_rate: peak rate; linear warm-up over `warmup_fraction` of the steps, then cosine to 0.
        batch_size: samples an optimiser step over all devices.
        micro_batch_size: samples a device holds at once; the rest is accumulated.
        epochs: passes over the data.
        max_length: ids a sample is cut to, before its visual tokens are spliced in.
        max_samples: takes a seeded draw of that many samples; null takes all.
        group_by_length: batches hold samples of like length (faster; off in the reference).
    """

    name: str = "???"
    trains: list[str] = field(default_factory=lambda: ["projector"])
    samples: str = "dialogs"
    sources: list[DialogSource] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    learning_rate: float = 2e-5
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    warmup_fraction: float = 0.03
    gradient_clip: float = 1.0
    epochs: int = 1
    batch_size: int = 128
    micro_batch_size: int = 16
    max_length: int = 2048
    max_samples: int | None = None
    group_by_length: bool = False

    def __post_init__(self) -> None:
        where = f"stage.{self.name}"
        unknown = [part for part in self.trains if part not in PARTS]
        if unknown or not self.trains:
            raise ConfigError(f"{where}.trains={self.trains} should name parts of the model: {', '.join(PARTS)}.")
        if self.samples not in SAMPLES:
            raise ConfigError(f"{where}.samples={self.samples!r} should be one of {', '.join(SAMPLES)}.")
        if self.samples == "captions" and not self.requests:
            raise ConfigError(
                f"{where}.requests is empty: a caption stage needs at least one way to ask for a caption."
            )
        if self.learning_rate <= 0 or self.epochs < 1 or self.batch_size < 1 or self.micro_batch_size < 1:
            raise ConfigError(
                f"{where} needs learning_rate > 0, epochs, batch_size and micro_batch_size >= 1 "
                f"(got {self.learning_rate}, {self.epochs}, {self.batch_size}, {self.micro_batch_size})."
            )
        if not 0 <= self.warmup_fraction < 1:
            raise ConfigError(f"{where}.warmup_fraction={self.warmup_fraction} should lie in [0, 1).")


@dataclass
class RecipeConfig:
    """The three stages in their order; `caption` is the one that the study adds."""

    align: StageConfig = field(default_factory=lambda: StageConfig(name="align"))
    caption: StageConfig = field(default_factory=lambda: StageConfig(name="caption"))
    instruct: StageConfig = field(default_factory=lambda: StageConfig(name="instruct"))


@dataclass
class TrainerConfig:
    """The machine that trains: devices, precision, strategy, and how often a stage is saved on its way.

    Attributes:
        accelerator: `cpu` or `gpu`.
        devices: how many of them.
        strategy: Lightning's name: `auto`, `ddp`, `fsdp`.
        precision: Lightning's name: `32-true`, `bf16-mixed`, `bf16-true`.
        num_threads: CPU threads of a process; 1 leaves the other cores to the other jobs of a sweep.
        checkpoint_every_steps: a killed stage loses at most this many optimiser steps.
        visual_token_cache: compute each clip's merged tokens once for all stages, scales and seeds.
        decode_workers: processes that read films while the tower computes.
    """

    accelerator: str = "cpu"
    devices: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    num_threads: int = 1
    checkpoint_every_steps: int = 100
    visual_token_cache: bool = True
    decode_workers: int = 1

    def __post_init__(self) -> None:
        if self.accelerator not in ("cpu", "gpu"):
            raise ConfigError(f"trainer.accelerator={self.accelerator!r} should be cpu or gpu.")
        if self.devices < 1 or self.num_threads < 1 or self.checkpoint_every_steps < 1 or self.decode_workers < 0:
            raise ConfigError("trainer.devices, num_threads and checkpoint_every_steps should be at least 1.")


def num_steps(num_draws: int, batch_size: int) -> int:
    """Optimiser steps that `num_draws` samples take."""
    return -(-num_draws // batch_size)


def micro_batches(stage: StageConfig, devices: int) -> tuple[int, int]:
    """(samples a device takes at once, how often gradients are accumulated) so that the global batch size is kept.

    Raises:
        ConfigError: the global batch cannot be split that way.
    """
    per_device, rest = divmod(stage.batch_size, devices)
    micro = min(stage.micro_batch_size, per_device)
    if rest or not micro or per_device % micro:
        raise ConfigError(
            f"stage.{stage.name}.batch_size={stage.batch_size} cannot be split over {devices} devices in micro-batches "
            f"of {stage.micro_batch_size}: choose a micro_batch_size and trainer.devices that divide it."
        )
    return micro, per_device // micro


register("stage", "stage_schema", StageConfig)
register("trainer", "trainer_schema", TrainerConfig)
