"""Settings of the video language model under study."""

from dataclasses import dataclass, field
from typing import Any

from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.models.chat_univi.text.chat_formats import CHAT_FORMATS, VICUNA_V1
from sg.models.chat_univi.text.template import VICUNA_SYSTEM_PROMPT

ASPECTS = ("square", "pad")
DTYPES = ("float32", "bfloat16", "float16")

VISUAL_TOKENS_KEY = "visual_tokens"
AFTER_VISUAL_TOKENS = {VISUAL_TOKENS_KEY: False}
"""Marks a field that counts for the model, but acts only after the visual tokens: their cache stays valid."""


def _path() -> Any:
    """A field with the place of a part; the identity takes the content of what lies there instead."""
    return field(default=None, metadata=NOT_IDENTITY)


@dataclass
class ModelConfig:
    """Which parts the model is made of, how frames become visual tokens, and how prompts are worded.

    Paths are local folders or files (relative to the project folder) or ids on a model hub.

    Attributes:
        name: name in folders, tags and tables.
        language_model: language model of the Llama or Qwen architecture.
        vision_tower: CLIP or SigLIP tower; frozen.
        projector: a trained projector (`mm_projector.bin` or safetensors); null draws a new one from the seed.
        checkpoint: a whole Chat-UniVi model, published or ours, instead of the three above.
        tokenizer: a SentencePiece `tokenizer.model`, or a folder with one or with a `tokenizer.json`; null takes that
            of the language model.
        chat_format: how turns are marked: `vicuna_v1` (published), `chatml` (Qwen) or `llama_3`.
        system_prompt: text in front of every conversation; may be empty.
        select_layer: index of the tower's hidden state that is read; -2 is the output of the last layer but one.
        spatial_clusters: tokens per event after each of the three spatial merging stages.
        spatial_neighbours: number of neighbours in the density estimate of those stages.
        temporal_cluster_rate: events per frame.
        temporal_neighbours: number of neighbours in the density estimate of the temporal stage; reduced for clips with
            few events, as published.
        min_temporal_neighbours: lower bound of that reduction. The published weights were trained with 1; 3 avoids
            degenerate densities and is an experiment.
        max_frames: most frames that are sampled from one video.
        target_fps: frames sampled per second, as near as the frame rate of the file allows.
        image_aspect_ratio: `square` crops wide frames to a square (published), `pad` pads them.
        dtype: type of the weights.
        visual_token_dtype: type of the cached visual tokens.
    """

    name: str = field(default="???", metadata=NOT_IDENTITY)
    language_model: str | None = _path()
    vision_tower: str | None = _path()
    projector: str | None = _path()
    checkpoint: str | None = _path()
    tokenizer: str | None = _path()
    chat_format: str = field(default=VICUNA_V1, metadata=AFTER_VISUAL_TOKENS)
    system_prompt: str = field(default=VICUNA_SYSTEM_PROMPT, metadata=AFTER_VISUAL_TOKENS)
    select_layer: int = -2
    spatial_clusters: list[int] = field(default_factory=lambda: [64, 32, 16])
    spatial_neighbours: list[int] = field(default_factory=lambda: [5, 3, 3])
    temporal_cluster_rate: float = 1 / 16
    temporal_neighbours: int = 5
    min_temporal_neighbours: int = 1
    max_frames: int = 64
    target_fps: float = 1.0
    image_aspect_ratio: str = "square"
    dtype: str = "float32"
    visual_token_dtype: str = "float16"

    def __post_init__(self) -> None:
        parts = (self.language_model, self.vision_tower)
        if self.checkpoint is None and None in parts:
            raise ConfigError("model needs language_model and vision_tower, or a whole model as model.checkpoint.")
        if self.checkpoint is not None and any(part is not None for part in (*parts, self.projector)):
            raise ConfigError(
                "model.checkpoint is a whole model: set language_model, vision_tower and projector of model to null."
            )
        if len(self.spatial_clusters) != 3 or len(self.spatial_neighbours) != 3 or min(self.spatial_clusters) < 1:
            raise ConfigError(
                f"model.spatial_clusters={self.spatial_clusters} and model.spatial_neighbours="
                f"{self.spatial_neighbours} should be three numbers of at least 1 each."
            )
        if self.temporal_cluster_rate <= 0 or self.max_frames < 1 or self.target_fps <= 0:
            raise ConfigError("model.temporal_cluster_rate, model.max_frames and model.target_fps should be above 0.")
        for key, allowed in (
            ("chat_format", tuple(CHAT_FORMATS)),
            ("image_aspect_ratio", ASPECTS),
            ("dtype", DTYPES),
            ("visual_token_dtype", DTYPES),
        ):
            check_choice(f"model.{key}", getattr(self, key), allowed)
