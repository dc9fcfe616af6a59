"""Configuration of the composite model; defaults are Chat-UniVi-7B v1.5.

See `docs/reference/chat_univi.md`, sections 1 and 2.
"""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from sg.models.chat_univi.abstractor import MergeSettings

VICUNA_7B_V15: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

CLIP_VIT_L_14_336: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}


@strict
class ChatUniViConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """A language model, a vision tower, and how the tower's patches are merged into visual tokens.

    `text_config` and `vision_config` are configs (or their dictionaries with a `model_type`) of any Llama- or
    Qwen-architecture language model and any CLIP or SigLIP vision tower.
    """

    model_type = "sg_chat_univi"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama", init_kwargs=VICUNA_7B_V15),
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="clip_vision_model", init_kwargs=CLIP_VIT_L_14_336
        ),
    }

    text_config: Any = None
    vision_config: Any = None
    vision_select_layer: int = -2
    spatial_clusters: list[int] | tuple[int, ...] = (64, 32, 16)
    spatial_neighbours: list[int] | tuple[int, ...] = (5, 3, 3)
    temporal_cluster_rate: float = 1 / 16
    temporal_neighbours: int = 5
    min_temporal_neighbours: int = 1
    max_frames: int = 64
    image_aspect_ratio: str = "square"
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        self.tie_word_embeddings = self.tie_word_embeddings or self.text_config.tie_word_embeddings

    @property
    def merging(self) -> MergeSettings:
        """How visual tokens are merged."""
        return MergeSettings(
            clusters=tuple(self.spatial_clusters),
            neighbours=tuple(self.spatial_neighbours),
            temporal_rate=self.temporal_cluster_rate,
            temporal_neighbours=self.temporal_neighbours,
            min_temporal_neighbours=self.min_temporal_neighbours,
        )
