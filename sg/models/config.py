"""Settings of the video language model under study."""

from dataclasses import dataclass, field

from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.models.chat_univi.text.chat_formats import CHAT_FORMATS, VICUNA_V1
from sg.models.chat_univi.text.template import VICUNA_SYSTEM_PROMPT

ASPECTS = ("square", "pad")
DTYPES = ("float32", "bfloat16", "float16")
TOKEN_DTYPES = DTYPES


@dataclass
class ModelConfig:
    """Which parts the model is made of, how frames become visual tokens, and how prompts are worded.

    Paths are local folders or files (relative ones start from the project folder) or ids on a model hub.

    Attributes:
        name: name in folders, tags and tables.
        language_model: Llama- or Qwen-architecture language model.
        vision_tower: CLIP or SigLIP tower; frozen.
        projector: a ready projector (`mm_projector.bin` or safetensors); null starts a new one from the seed.
        checkpoint: a whole Chat-UniVi model, published or ours, instead of the three above.
        tokenizer: a SentencePiece `tokenizer.model`, or a folder with one or with a `tokenizer.json`; null takes the
            language model's own.
        chat_format: how turns are marked: `vicuna_v1` (published), `chatml` (Qwen) or `llama_3`.
        system_prompt: text in front of every conversation; empty for none.
        select_layer: whose hidden state of the tower is read; -2 leaves the last layer out.
        spatial_clusters: tokens an event has after each of the three spatial merging stages.
        spatial_neighbours: neighbours of the density in those stages.
        temporal_cluster_rate: events a frame.
        temporal_neighbours: neighbours of the density of the temporal stage, shrunk for few events as published.
        min_temporal_neighbours: 3 repairs that shrinking, an experiment; 1 is what the published weights know.
        max_frames: frames of a film at most.
        target_fps: frames a second, as near as the film's rate allows.
        image_aspect_ratio: `square` cuts the sides of wide frames off (published), `pad` keeps them.
        dtype: type of the weights.
        visual_token_dtype: type of the cached visual tokens.
    """

    name: str = "???"
    language_model: str | None = None
    vision_tower: str | None = None
    projector: str | None = None
    checkpoint: str | None = None
    tokenizer: str | None = None
    chat_format: str = VICUNA_V1
    system_prompt: str = VICUNA_SYSTEM_PROMPT
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
            ("visual_token_dtype", TOKEN_DTYPES),
        ):
            if getattr(self, key) not in allowed:
                raise ConfigError(f"model.{key}={getattr(self, key)!r} should be one of {', '.join(allowed)}.")


register("model", "chat_univi_schema", ModelConfig)
