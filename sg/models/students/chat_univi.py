"""The students of Chat-UniVi's architecture, at any size: `model=tiny`, `model=chat_univi_7b_v15`, ..."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from sg.core.identity import Identity
from sg.models.chat_univi.identity import base_model_identity, checkpoint_identity, visual_token_identity
from sg.models.chat_univi.settings import ModelConfig
from sg.models.chat_univi.sizes import missing_weights, model_size
from sg.models.hub_files import local_path
from sg.models.sizes import ModelSize
from sg.models.student import CONNECTOR, LANGUAGE_MODEL, STUDENTS, FeatureCache

if TYPE_CHECKING:
    from sg.models.chat_univi.inputs import ChatUniViInputs
    from sg.models.chat_univi.student import ChatUniViStudent

_TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json")


class ChatUniViKind:
    """A frozen tower, token merging without parameters, a linear projector, a language model."""

    trainable = (CONNECTOR, LANGUAGE_MODEL)

    def untrained(self, config: ModelConfig) -> Collection[str]:
        """The projector, unless a file or a whole checkpoint holds it."""
        return (CONNECTOR,) if config.checkpoint is None and config.projector is None else ()

    def default_stages(self, config: ModelConfig) -> tuple[str, ...]:
        """The recipe of Chat-UniVi, with the stage that the study adds."""
        return ("align", "caption", "instruct")

    def identity(self, config: ModelConfig, checkpoint: str | None = None) -> Identity:
        """What decides the model; see `StudentKind`."""
        return base_model_identity(config) if checkpoint is None else checkpoint_identity(config, checkpoint)

    def cache(self, config: ModelConfig, trained: Collection[str], checkpoint: str | None = None) -> FeatureCache:
        """The merged visual tokens before the projector: they do not depend on a trained weight."""
        return FeatureCache(visual_token_identity(config), "merged", config.visual_token_dtype)

    def describe(self, config: ModelConfig) -> ModelSize | None:
        """Sizes for plans."""
        return model_size(config)

    def missing(self, config: ModelConfig) -> list[str]:
        """The parts that are not on this machine."""
        return missing_weights(config)

    def processor(self, config: ModelConfig, checkpoint: str | None = None) -> ChatUniViInputs:
        """Text and frames; a checkpoint's own tokenizer is used where it has one."""
        from sg.models.chat_univi.build import build_inputs

        folder = None if checkpoint is None or config.tokenizer is not None else local_path(checkpoint)
        if folder is not None and any((folder / name).is_file() for name in _TOKENIZER_FILES):
            config = dataclasses.replace(config, tokenizer=checkpoint)
        return build_inputs(config)

    def blank(self, config: ModelConfig) -> ChatUniViStudent:
        """The model without weights."""
        from sg.models.chat_univi.build import blank_model
        from sg.models.chat_univi.student import ChatUniViStudent

        return ChatUniViStudent(blank_model(config))

    def load(self, config: ModelConfig, checkpoint: str | None = None, seed: int = 0) -> ChatUniViStudent:
        """The model before its first stage, with a projector drawn from `seed`, or that of a checkpoint."""
        from sg.models.chat_univi.build import build_model, load_checkpoint
        from sg.models.chat_univi.student import ChatUniViStudent

        return ChatUniViStudent(
            build_model(config, seed) if checkpoint is None else load_checkpoint(checkpoint, config.dtype)
        )

    def export(self, config: ModelConfig, checkpoint: str, folder: Path) -> None:
        """Write the files of the published checkpoints."""
        from sg.models.chat_univi.published.checkpoint import known_tower, write_reference_files

        model = self.load(config, checkpoint).module
        write_reference_files(model, folder, tower_name=known_tower(model))


STUDENTS.register("chat_univi", ModelConfig)(ChatUniViKind())
