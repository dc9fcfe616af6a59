"""Identities of models and of visual tokens: settings, and the content of all weight files. Never loads a model."""

from dataclasses import fields

from sg.core.identity import Identity, identity, settings_of
from sg.models.chat_univi.settings import VISUAL_TOKENS_KEY, ModelConfig
from sg.models.hub_files import part_identity

VISUAL_TOKENS_VERSION = 3
"""Raise it when the same file gives other tokens: `vision.py`, `merging.py`, `abstractor.py`, `processor.py`,
`sg.video`.

It is not in those files because they import torch, and making an identity must be fast.
"""
BASE_MODEL_VERSION = 1
"""Raise it when the same parts give another model or other ids: `build.py`, `modeling.py`, `splice.py`, `text`."""


def visual_token_identity(config: ModelConfig) -> Identity:
    """What decides the visual tokens of a clip besides the clip: it names their cache."""
    settings = settings_of(config)
    later = {field.name for field in fields(ModelConfig) if not field.metadata.get(VISUAL_TOKENS_KEY, True)}
    return identity(
        "visual_tokens",
        settings={key: value for key, value in settings.items() if key not in later},
        inputs={"tower": part_identity(config.checkpoint or config.vision_tower)},
        version=VISUAL_TOKENS_VERSION,
    )


def base_model_identity(config: ModelConfig) -> Identity:
    """What decides the model before its first stage, besides the seed: an input of stages and captions."""
    return identity(
        "base_model",
        settings=config,
        inputs={
            "visual_tokens": visual_token_identity(config),
            "language_model": part_identity(config.checkpoint or config.language_model),
            "projector": part_identity(config.projector),
            "tokenizer": part_identity(config.tokenizer),
        },
        version=BASE_MODEL_VERSION,
    )


def checkpoint_identity(config: ModelConfig, checkpoint: str) -> Identity:
    """What decides a model that is loaded from `checkpoint` and used with the tower and the tokenizer of `config`."""
    tokenizer = config.tokenizer or config.checkpoint or config.language_model
    return identity(
        "checkpoint",
        settings=config,
        inputs={
            "visual_tokens": visual_token_identity(config),
            "weights": part_identity(checkpoint),
            "tokenizer": part_identity(tokenizer, prefix="" if config.tokenizer else "tokenizer"),
        },
        version=BASE_MODEL_VERSION,
    )
