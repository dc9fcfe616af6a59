"""The video language models of transformers: `model=hf model.checkpoint=...`, `model=qwen3_vl_4b`, ..."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.content import file_content
from sg.core.errors import ConfigError, MissingInputError
from sg.core.fingerprints import fingerprint
from sg.core.identity import NOT_IDENTITY, Identity, identity
from sg.core.mistakes import check_choice
from sg.models.hf import CONNECTOR_OUTPUT, TOWER_OUTPUT
from sg.models.hub_files import checkpoint_folder, local_path, part_identity, present_file
from sg.models.sizes import ModelSize
from sg.models.student import CONNECTOR, PARTS, STUDENTS, VISION, FeatureCache

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from sg.models.hf.media import ClipProcessor
    from sg.models.hf.processor import HfProcessor
    from sg.models.hf.student import HfStudent

DTYPES = ("float32", "bfloat16", "float16")
MODEL_VERSION = 1
"""Raise it when the same checkpoint gives another model, other ids or other labels: `sg.models.hf`."""
FEATURES_VERSION = 2
"""Raise it when the same file gives other features: `media.py`, `features.py`, `sg.video`."""
TOKENIZER = "tokenizer_config.json"
_TEXT_FILES = (".jinja", ".txt")
"""Suffixes of files that decide ids besides those that `part_identity` counts."""


def set_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that are null, which are the processor's own."""
    return {key: value for key, value in settings.items() if value is not None}


@dataclass
class HfConfig:
    """Any video language model that transformers loads with `AutoModelForImageTextToText`.

    Attributes:
        name: name in folders, tags and tables.
        checkpoint: a folder of `save_pretrained`, or OWNER/NAME on the model hub.
        system_prompt: text of the system message; null leaves it to the model's chat template.
        video: changed settings of the model's video processor: `fps` or `num_frames`, `max_frames`, `size`, ...
        image: changed settings of its image processor.
        parts: module names by part (connector, language_model, vision) that replace those that are found.
        stages: the recipe, unless `stages=` gives another.
        dtype: type of the weights. Weights that learn are kept in float32 under `trainer.precision=bf16-mixed`.
        feature_dtype: type of the cached features.
        architecture: values of the checkpoint's config.json, for plans without a download.
        planned: for plans without a download: `max_frames`, the most frames of a clip, and the mean numbers of
            `tokens_per_frame` (visual tokens) and `patches_per_frame` (positions in the tower).
    """

    name: str = field(default="???", metadata=NOT_IDENTITY)
    checkpoint: str | None = field(default=None, metadata=NOT_IDENTITY)
    system_prompt: str | None = None
    video: dict[str, Any] = field(default_factory=dict, metadata={"identity": set_values})
    image: dict[str, Any] = field(default_factory=dict, metadata={"identity": set_values})
    parts: dict[str, list[str]] = field(default_factory=dict)
    stages: list[str] = field(default_factory=lambda: ["caption"], metadata=NOT_IDENTITY)
    dtype: str = "float32"
    feature_dtype: str = "bfloat16"
    architecture: dict[str, Any] = field(default_factory=dict, metadata=NOT_IDENTITY)
    planned: dict[str, float] = field(default_factory=dict, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        if self.checkpoint is None:
            raise ConfigError(
                "model.checkpoint is not set: give the folder of a video language model, or OWNER/NAME on the hub."
            )
        check_choice("model.dtype", self.dtype, DTYPES)
        check_choice("model.feature_dtype", self.feature_dtype, DTYPES)
        for part in self.parts:
            check_choice("A part in model.parts", part, PARTS)

    @property
    def label(self) -> str:
        """How errors name the model."""
        return f"model.checkpoint={self.checkpoint}"


class HfKind:
    """Models of transformers; see `sg.models.hf`."""

    trainable = PARTS

    def untrained(self, config: HfConfig) -> Collection[str]:
        """None: all weights are in files."""
        return ()

    def default_stages(self, config: HfConfig) -> list[str]:
        """The recipe of the model's file."""
        return config.stages

    def identity(self, config: HfConfig, checkpoint: str | None = None) -> Identity:
        """What decides the model: its files, and the settings of wording and frames."""
        return identity(
            "base_model" if checkpoint is None else "checkpoint",
            settings=config,
            inputs={"weights": _content(checkpoint or config.checkpoint)},
            version=MODEL_VERSION,
        )

    def cache(self, config: HfConfig, trained: Collection[str], checkpoint: str | None = None) -> FeatureCache | None:
        """Everything that enters the language model; the tower's output if the connector learns."""
        if VISION in trained:
            return None
        level = TOWER_OUTPUT if CONNECTOR in trained else CONNECTOR_OUTPUT
        settings = {"video": set_values(config.video), "image": set_values(config.image), "dtype": config.dtype}
        work = identity(
            "visual_tokens",
            settings={**settings, "level": level},
            inputs={"weights": _content(checkpoint or config.checkpoint)},
            version=FEATURES_VERSION,
        )
        return FeatureCache(work, level, config.feature_dtype, checkpoint)

    def describe(self, config: HfConfig) -> ModelSize | None:
        """Sizes from the checkpoint's config, or from `model.architecture` where that is not on this machine."""
        from sg.models.hf.sizes import PlannedClips, model_size

        found, folder = _plain(config)
        if found is None:
            return None
        clips: ClipProcessor | PlannedClips = PlannedClips(**config.planned)
        if folder is not None and (folder == local_path(config.checkpoint or "") or (folder / TOKENIZER).is_file()):
            clips = _clips(config, folder)
        return model_size(found, config.label, config.dtype, config.feature_dtype, clips, config.parts)

    def missing(self, config: HfConfig) -> list[str]:
        """The checkpoint, if it is not on this machine.

        Raises:
            SgError: it is on this machine, and is damaged or no video language model.
        """
        from sg.models.hf.checkpoint import check_folder

        name = config.checkpoint or ""
        folder = local_path(name)
        if folder is not None:
            check_folder(folder, config.label)
            _clips(config, folder)
        if folder is not None or present_file(name, "config.json") is not None:
            return []
        if name.count("/") != 1 or name.startswith((".", "/", "~")):
            return [f"{config.label} is not a folder on this machine, and not OWNER/NAME on the hub"]
        return [f"{name} (weights: hf download {name}, or set model.checkpoint)"]

    def processor(self, config: HfConfig, checkpoint: str | None = None) -> HfProcessor:
        """Text and frames of the checkpoint."""
        from sg.models.hf.processor import HfProcessor
        from sg.models.hf.wording import Wording

        clips = _clips(config, _folder(config, checkpoint))
        return HfProcessor(clips, Wording(clips.processor, config.label, config.system_prompt))

    def blank(self, config: HfConfig) -> HfStudent:
        """The model without weights and without a processor."""
        from sg.models.hf.checkpoint import skeleton
        from sg.models.hf.student import HfStudent

        found, size = _plain(config)[0], self.describe(config)
        if found is None or size is None:
            raise MissingInputError(
                f"{config.label} is not on this machine: hf download it, or set model.architecture."
            )
        nothing: Any = None  # a rehearsal asks the processor for nothing
        return HfStudent(skeleton(found, config.label, config.dtype), nothing, config.label, size, config.parts)

    def load(self, config: HfConfig, checkpoint: str | None = None, seed: int = 0) -> HfStudent:
        """The model of the checkpoint; `seed` is not used, as all weights are in files."""
        from sg.models.hf.checkpoint import load_model
        from sg.models.hf.sizes import model_size
        from sg.models.hf.student import HfStudent

        model = load_model(_folder(config, checkpoint), config.dtype, config.label)
        processor = self.processor(config, checkpoint)
        size = model_size(model.config, config.label, config.dtype, config.feature_dtype, processor.clips, config.parts)
        return HfStudent(model, processor, config.label, size, config.parts)

    def export(self, config: HfConfig, checkpoint: str, folder: Path) -> None:
        """Write what `save_pretrained` writes; the folder of a stage has it already."""
        self.load(config, checkpoint).module.save_pretrained(folder)


def _folder(config: HfConfig, checkpoint: str | None) -> Path:
    return checkpoint_folder(checkpoint or config.checkpoint or "", "model.checkpoint")


def _plain(config: HfConfig) -> tuple[PreTrainedConfig | None, Path | None]:
    """The config of the model, from its folder if it is on this machine, else from `model.architecture`."""
    from sg.models.hf.checkpoint import check_folder, described_config, load_config

    path, folder = present_file(config.checkpoint or "", "config.json"), local_path(config.checkpoint or "")
    if folder is not None:
        return check_folder(folder, config.label), folder
    if path is not None and path.is_file():
        return load_config(path.parent, config.label), path.parent
    return (described_config(config.architecture, "model.architecture") if config.architecture else None), None


def _clips(config: HfConfig, folder: Path) -> ClipProcessor:
    from sg.models.hf.checkpoint import load_config, load_processor
    from sg.models.hf.media import ClipProcessor

    load_config(folder, config.label)
    video, image = set_values(config.video), set_values(config.image)
    return ClipProcessor(load_processor(folder, config.label), config.label, video, image)


def _content(name: str | None) -> str | None:
    """The content of all files of a checkpoint that decide it, or its name where it is not on this machine."""
    path = None if name is None else local_path(name)
    if path is None:
        return name
    texts = {file.name: file_content(file) for file in sorted(path.glob("[!.]*")) if file.suffix in _TEXT_FILES}
    return fingerprint({"weights": part_identity(name), "texts": texts})


STUDENTS.register("hf", HfConfig)(HfKind())
