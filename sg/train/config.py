"""Settings of the training stages, of the machine that trains, and their checks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from sg.core.commands import register
from sg.core.crew.workers import ENGINES
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice, check_numbers
from sg.models.student import CONNECTOR, LANGUAGE_MODEL, PARTS
from sg.train.schedule import SCHEDULES

SAMPLES = ("dialogs", "captions")
ALIGN, CAPTION = "align", "caption"
STAGES = (ALIGN, CAPTION, "instruct")
"""What a recipe is made of, in its order."""
PEFT = ("none", "lora", "qlora")
STRATEGIES = ("auto", "ddp", "fsdp")
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true")


@dataclass
class DialogSource:
    """One file of conversations in Chat-UniVi/LLaVA JSON, and the folder that its media paths start from.

    The paths do not count in an identity: the dialogs and the media files count by their content.

    Attributes:
        name: prefix of the media paths in the visual-token cache; needed if two sources use the same file names.
        weight: how often an epoch contains each dialog; 0.5 takes a seeded half of the dialogs, 2 takes each one twice.
        samples: number of dialogs in the file, for plans that are made before the file exists.
        frames: frames of a typical clip of the source, for plans: 1 for images, 0 for text only.
        mixed_frames: frames of a clip -> number of dialogs, for the plans of a file that mixes images and videos.
    """

    dialogs: str = field(default="???", metadata=NOT_IDENTITY)
    media: str = field(default="???", metadata=NOT_IDENTITY)
    name: str = ""
    weight: float = 1.0
    samples: int | None = field(default=None, metadata=NOT_IDENTITY)
    frames: int = field(default=1, metadata=NOT_IDENTITY)
    mixed_frames: dict[int, int] = field(default_factory=dict, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ConfigError(f"The weight {self.weight} of {self.dialogs} should be above 0; leave the source out.")
        if self.mixed_frames and sum(self.mixed_frames.values()) != self.samples:
            counted = sum(self.mixed_frames.values())
            raise ConfigError(
                f"The mixed_frames of {self.dialogs} count {counted} dialogs, not samples={self.samples}."
            )


@dataclass
class LoraConfig:
    """Low-rank adapters on all linear layers of the trained parts but connector and head.

    Attributes:
        rank, alpha, dropout: of the adapters, whose product is scaled by alpha / rank.
        learning_rate: peak rate of the adapters; the connector keeps the rate of the stage.
    """

    rank: int = 64
    alpha: int = 16
    dropout: float = 0.05
    learning_rate: float = 2e-4

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1 or self.learning_rate <= 0:
            raise ConfigError(
                f"lora needs rank >= 1, alpha > 0, dropout in [0, 1) and learning_rate > 0 "
                f"(got {self.rank}, {self.alpha}, {self.dropout}, {self.learning_rate})."
            )


@dataclass
class TypicalSample:
    """Mean sizes of a stage's samples, for plans that are made before the data exists.

    Attributes:
        frames: frames of a clip (for `captions`; each source of dialogs has its own value).
        text_tokens: ids of a sample without its frames.
        answer_tokens: supervised ids among them.
    """

    frames: int = 18
    text_tokens: int = 160
    answer_tokens: int = 100


def _names_of_version_0_1(parts: list[str]) -> list[str]:
    return ["projector" if part == CONNECTOR else part for part in parts]


@dataclass
class StageConfig:
    """One training stage: what trains, on what, with which optimiser.

    Attributes:
        name: name of the stage, in folders and in logs.
        trains: the trained parts, of `connector`, `language_model` and `vision`; the others are frozen.
        samples: `dialogs` reads the files in `sources`; `captions` makes one sample of every caption of the core.
        sources: the dialog files; empty for `captions`.
        requests: texts of the user's turn, of which one is drawn for each clip (for `captions`).
        learning_rate: peak rate, reached by a linear warm-up over `warmup_fraction` of the steps.
        schedule: the rate after the warm-up: `cosine` or `linear` to 0, or `constant`.
        batch_size: samples per optimiser step, over all devices.
        micro_batch_size: samples per device and forward pass; gradients are accumulated over the batch. The result is
            the same up to the rounding of sums.
        loss_samples: number of samples whose supervised tokens are averaged together; a step's loss is the mean of
            those means. 16 is the batch per device in Chat-UniVi's recipe; here it holds for any number of devices.
        epochs: passes over the data.
        max_length: largest number of ids per sample.
        max_samples: takes a seeded draw of that many samples; null takes all.
        group_by_length: batches hold samples of similar length (faster; off in the reference).
        peft: `none` trains the weights themselves, `lora` adapters that are merged into them at the end of the stage,
            `qlora` adapters over weights in 4 bits (needs bitsandbytes). The connector itself is always trained.
        lora: the adapters.
        merge_adapters: false keeps the adapters in the folder `adapters` of the checkpoint, in peft's files, beside the
            weights that they belong to; later stages and evaluation read both.
        typical: sizes of a sample, for plans.
    """

    name: str = "???"
    # Stages of version 0.1 count: there, the connector was called by its name in Chat-UniVi.
    trains: list[str] = field(default_factory=lambda: [CONNECTOR], metadata={"identity": _names_of_version_0_1})
    samples: str = "dialogs"
    sources: list[DialogSource] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    learning_rate: float = 2e-5
    schedule: str = "cosine"
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    warmup_fraction: float = 0.03
    gradient_clip: float = 1.0
    epochs: int = 1
    batch_size: int = 128
    micro_batch_size: int = field(default=16, metadata=NOT_IDENTITY)
    max_length: int = 2048
    max_samples: int | None = None
    group_by_length: bool = False
    loss_samples: int = 16
    peft: str = "none"
    lora: LoraConfig = field(default_factory=LoraConfig)
    # Counted by `stage_identity` where adapters are kept apart.
    merge_adapters: bool = field(default=True, metadata=NOT_IDENTITY)
    typical: TypicalSample = field(default_factory=TypicalSample, metadata=NOT_IDENTITY)

    @property
    def trains_whole(self) -> list[str]:
        """The parts whose own weights are trained; with adapters that is the connector alone."""
        return [part for part in self.trains if part not in self.adapted]

    @property
    def largest_clip(self) -> int:
        """Frames of the largest usual clip of the stage: memory has to suffice for it."""
        counts = [count for source in self.sources for count in (source.mixed_frames or [source.frames])]
        return max(counts, default=self.typical.frames)

    @property
    def adapted(self) -> list[str]:
        """The parts that are trained through adapters."""
        return [part for part in self.trains if part != CONNECTOR and self.peft != "none"]

    @property
    def has_adapters(self) -> bool:
        """True if a part is trained through adapters."""
        return bool(self.adapted)

    def __post_init__(self) -> None:
        where = f"stage.{self.name}"
        check_choice(f"{where}.schedule", self.schedule, SCHEDULES)
        check_choice(f"{where}.peft", self.peft, PEFT)
        check_numbers(f"{where}.", self, loss_samples=1, weight_decay=0, gradient_clip=0, max_length=1, max_samples=1)
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ConfigError(f"{where}.beta1={self.beta1} and beta2={self.beta2} should lie in [0, 1).")
        unknown = [part for part in self.trains if part not in PARTS]
        if unknown or not self.trains:
            raise ConfigError(f"{where}.trains={self.trains} should name parts of the model: {', '.join(PARTS)}.")
        check_choice(f"{where}.samples", self.samples, SAMPLES)
        unused = {"captions": "sources", "dialogs": "requests"}[self.samples]
        if getattr(self, unused):
            raise ConfigError(f"{where}.{unused} has no effect on a stage of {where}.samples={self.samples}.")
        if self.peft != "none" and not self.has_adapters:
            raise ConfigError(
                f"{where}.peft={self.peft} adapts no weight: {where}.trains=[{','.join(self.trains)}] names neither "
                "language_model nor vision. stage.peft sets the stages that train the language model."
            )
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
    """The settings of the stages; `caption` is the one that the study adds.

    Attributes:
        align, instruct: None for a recipe without them.
        peft: `lora` or `qlora` for every stage that trains the language model; null leaves it to the stages.
        max_missing: largest share of a stage's samples that may be left out because their media are missing or cannot
            be read; 0 stops before training at the first one.
    """

    # Both count in the identities of the stages: `peft` is copied into the settings of the stages, and the samples that
    # `max_missing` leaves out are absent from their inputs.

    align: StageConfig | None = None
    caption: StageConfig = field(default_factory=lambda: StageConfig(name=CAPTION))
    instruct: StageConfig | None = None
    peft: str | None = field(default=None, metadata=NOT_IDENTITY)
    max_missing: float = field(default=0.0, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        if self.peft is not None:
            check_choice("stage.peft", self.peft, PEFT)
        if not 0 <= self.max_missing <= 1:
            raise ConfigError(f"stage.max_missing={self.max_missing} is a share and should lie in [0, 1].")
        for slot, stage in zip(STAGES, (self.align, self.caption, self.instruct), strict=True):
            if stage is None:
                continue
            if stage.name != slot:
                raise ConfigError(f"stage.{slot}.name={stage.name!r} should be {slot!r}, its key in `stage`.")
            if self.peft is not None and LANGUAGE_MODEL in stage.trains:
                stage.peft = self.peft
            if not stage.merge_adapters and not stage.has_adapters:
                raise ConfigError(f"stage.{slot}.merge_adapters=false needs adapters: add stage.peft=lora.")

    @property
    def trained(self) -> set[str]:
        """The parts that a stage trains."""
        return {part for stage in self.stages for part in stage.trains}

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        """The stages of the recipe in their order."""
        return tuple(stage for stage in (self.align, self.caption, self.instruct) if stage is not None)

    @property
    def others(self) -> tuple[StageConfig, ...]:
        """The stages that train on dialogs."""
        return tuple(stage for stage in self.stages if stage is not self.caption)

    def of(self, names: Sequence[str], model: str) -> Self:
        """The recipe of these stages; `model` has their settings.

        Raises:
            ConfigError: the names are not a recipe, or the model has no settings of a stage.
        """
        if CAPTION not in names or list(names) != [name for name in STAGES if name in names]:
            raise ConfigError(
                f"stages=[{','.join(names)}] should list some of {', '.join(STAGES)} in this order, with {CAPTION}: "
                "the study inserts data.scale there."
            )
        for name in names:
            stage = getattr(self, name)
            if stage is None or (name == CAPTION and stage.samples != "captions"):
                raise ConfigError(
                    f"stages=[{','.join(names)}] has the stage {name}, but model={model} has no settings of it: leave "
                    f"it out, or take those of another model, such as stage@stage.{name}=chat_univi_7b_v15/{name}."
                )
        left_out: dict[str, Any] = {name: None for name in STAGES if name not in names}
        return replace(self, **left_out)


def _is_sharded(strategy: str) -> bool:
    return strategy == "fsdp"


@dataclass
class TrainerConfig:
    """The machine that trains: devices, precision, strategy, and how often a stage is saved during training.

    Settings that only distribute the same computation (devices, threads, workers) do not count in an identity.
    Settings that change how values are rounded count: precision, packing, sharding, checkpointing, and whether tokens
    are cached.

    Attributes:
        accelerator: `cpu` or `gpu`.
        devices: how many of them on each machine; with more than one, one process per device.
        nodes: how many machines; each is started by `torchrun` or by Slurm.
        strategy: `ddp` keeps the model on every device, `fsdp` shards it over them; `auto` is `ddp` for several.
        precision: `32-true`; `bf16-mixed` computes in bfloat16 and keeps trained weights in float32; `bf16-true`.
        num_threads: CPU threads per process; 1 leaves the other cores to the other jobs of a sweep.
        checkpoint_every_steps: a killed stage loses at most this many optimiser steps.
        evaluate_every: share of a stage's steps after which a fixed sample of about `evaluate_questions` questions is
            scored with the weights of the moment, such as 0.25; null scores none.
        visual_token_cache: compute each clip's merged tokens once for all stages, scales and seeds.
        visual_token_engine: where they are computed: `local`, or `ray` (the cluster at RAY_ADDRESS, or a new one).
        decode_workers: processes that read media files while the tower computes; 0 and 1 read in the same process.
        packed: a micro-batch is one row without padding; samples never attend to one another.
        gradient_checkpointing: keep one tensor per layer for the backward pass and recompute the rest.
        peak_tflops: dense peak of one device in the precision of the run, for the MFU; null looks the device up.
        expected_mfu: share of the peak that a plan assumes.
    """

    accelerator: str = "cpu"
    devices: int = field(default=1, metadata=NOT_IDENTITY)
    nodes: int = field(default=1, metadata=NOT_IDENTITY)
    # The strategy counts: FSDP rounds gathered weights to the precision of the products, DDP relies on autocast.
    strategy: str = field(default="auto", metadata={"identity": _is_sharded})
    precision: str = "32-true"
    num_threads: int = field(default=1, metadata=NOT_IDENTITY)
    checkpoint_every_steps: int = field(default=100, metadata=NOT_IDENTITY)
    evaluate_every: float | None = field(default=None, metadata=NOT_IDENTITY)
    evaluate_questions: int = field(default=300, metadata=NOT_IDENTITY)
    # Cached tokens are rounded to `model.visual_token_dtype`.
    visual_token_cache: bool = True
    visual_token_engine: str = field(default="local", metadata=NOT_IDENTITY)
    decode_workers: int = field(default=1, metadata=NOT_IDENTITY)
    packed: bool = False
    gradient_checkpointing: bool = False
    peak_tflops: float | None = field(default=None, metadata=NOT_IDENTITY)
    expected_mfu: float = field(default=0.25, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        if self.accelerator not in ("cpu", "gpu"):
            raise ConfigError(f"trainer.accelerator={self.accelerator!r} should be cpu or gpu.")
        least = min(self.devices, self.nodes, self.num_threads, self.checkpoint_every_steps)
        if least < 1 or self.decode_workers < 0:
            raise ConfigError("trainer.devices, nodes, num_threads and checkpoint_every_steps should be at least 1.")
        for key, allowed in (("strategy", STRATEGIES), ("precision", PRECISIONS), ("visual_token_engine", ENGINES)):
            check_choice(f"trainer.{key}", getattr(self, key), allowed)
        if self.peak_tflops is not None and self.peak_tflops <= 0:
            raise ConfigError(f"trainer.peak_tflops={self.peak_tflops} should be above 0, or null to look it up.")
        if self.evaluate_every is not None and (not 0.01 <= self.evaluate_every <= 1 or self.evaluate_questions < 1):
            raise ConfigError("trainer.evaluate_every should be 0.01 to 1, or null, evaluate_questions at least 1.")
        if self.evaluate_every is None and self.evaluate_questions != type(self).evaluate_questions:
            raise ConfigError(
                f"trainer.evaluate_questions={self.evaluate_questions} needs trainer.evaluate_every, such as 0.25."
            )
        if self.evaluate_every is not None and self.shards:
            raise ConfigError("trainer.evaluate_every asks a whole model: leave it out under trainer.strategy=fsdp.")
        if not 0 < self.expected_mfu <= 1:
            raise ConfigError(f"trainer.expected_mfu={self.expected_mfu} should lie in (0, 1].")

    @property
    def world_size(self) -> int:
        """Devices of all machines."""
        return self.nodes * self.devices

    @property
    def shards(self) -> bool:
        """True if the weights are sharded over the devices."""
        return _is_sharded(self.strategy)


def num_steps(num_draws: int, batch_size: int) -> int:
    """Optimiser steps that `num_draws` samples take."""
    return -(-num_draws // batch_size)


def micro_batches(stage: StageConfig, devices: int) -> tuple[int, int]:
    """(samples per device and forward pass, number of accumulated passes) that make up the global batch.

    Raises:
        ConfigError: the global batch cannot be split that way.
    """
    per_device, rest = divmod(stage.batch_size, devices)
    micro = min(stage.micro_batch_size, stage.loss_samples, per_device)
    if rest or not micro or per_device % micro:
        raise ConfigError(
            f"stage.{stage.name}.batch_size={stage.batch_size} cannot be split over {devices} devices in micro-batches "
            f"of {stage.micro_batch_size}: choose a micro_batch_size and trainer.devices that divide it."
        )
    if min(stage.loss_samples, stage.batch_size) % micro:
        raise ConfigError(
            f"stage.{stage.name}.loss_samples={stage.loss_samples} should be a multiple of the micro-batch ({micro} "
            f"samples with {devices} devices): set stage.{stage.name}.micro_batch_size to a number that divides it."
        )
    return micro, per_device // micro


register("stage", "stage_schema", StageConfig)
register("trainer", "trainer_schema", TrainerConfig)
