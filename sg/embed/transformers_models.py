"""Loading and running the vision models of the transformers library that `embedder=transformers` offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sg.core.errors import ConfigError, ModelError
from sg.models.untrusted import check_config, check_size

_MODEL_TYPES = {
    "clip": ("clip", "clip_vision_model"),
    "siglip2": ("siglip2", "siglip2_vision_model", "siglip", "siglip_vision_model"),
    "videoprism": ("videoprism",),
    "vjepa2": ("vjepa2",),
}
"""The values of `model_type` in `config.json`, by family. SigLIP 2 of one fixed size has the architecture of SigLIP."""


def load_vision_model(folder: Path, family: str, image_size: int, num_frames: int) -> Any:
    """The vision model of a family from the files in `folder`, on the CPU.

    Raises:
        ModelError: the folder holds no such model, weights are missing, or it takes other sizes.
        ConfigError: `num_frames` does not fit the model.
    """
    settings = _settings(folder, family)
    _check_sizes(settings, image_size, num_frames)
    return _load(folder, settings)


def _clip(model: Any, pixels: Tensor) -> Tensor:
    return _averaged(lambda pictures: model(pixel_values=pictures).image_embeds, pixels)


def _siglip2(model: Any, pixels: Tensor) -> Tensor:
    if model.config.model_type == "siglip_vision_model":
        return _averaged(lambda pictures: model(pixel_values=pictures).pooler_output, pixels)
    return _averaged(lambda pictures: _patched(model, pictures), pixels)


def _patched(model: Any, pictures: Tensor) -> Tensor:
    """SigLIP 2 of any size takes patches [N, h * w, p * p * 3]; all pictures have one size, so nothing is padded."""
    patch = model.config.patch_size
    rows, columns = pictures.shape[2] // patch, pictures.shape[3] // patch
    patches = pictures.reshape(len(pictures), 3, rows, patch, columns, patch)
    patches = patches.permute(0, 2, 4, 3, 5, 1).flatten(1, 2).flatten(2)
    shapes = torch.tensor([[rows, columns]], device=pictures.device).expand(len(pictures), 2)
    mask = torch.ones(patches.shape[:2], dtype=torch.int32, device=pictures.device)
    output = model(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=shapes)
    return cast(Tensor, output.pooler_output)


def _averaged(vectors: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Mean [B, dim] of the unit vectors of the frames [B, T, 3, H, W]."""
    frames = normalize(vectors(pixels.flatten(0, 1)).float(), dim=-1)
    return frames.reshape(*pixels.shape[:2], -1).mean(1)


def _videoprism(model: Any, pixels: Tensor) -> Tensor:
    return cast(Tensor, model.get_video_features(pixel_values_videos=pixels).pooler_output.flatten(1))  # [B, 1, dim]


def _vjepa2(model: Any, pixels: Tensor) -> Tensor:
    return cast(Tensor, model.get_vision_features(pixels).float().mean(1))


VECTORS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "clip": _clip,
    "siglip2": _siglip2,
    "videoprism": _videoprism,
    "vjepa2": _vjepa2,
}
"""By family, the function from a model and pixels [B, T, 3, H, W] to vectors [B, dim] of any length."""


def _settings(folder: Path, family: str) -> Any:
    """The config of the model; of its vision part only, if it also has a text part."""
    from transformers import AutoConfig, PreTrainedConfig

    try:
        check_config(PreTrainedConfig.get_config_dict(folder)[0], str(folder))
        settings: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder} does not hold a model of the transformers library: {str(error).splitlines()[0]}"
        ) from error
    if settings.model_type not in _MODEL_TYPES[family]:
        raise ModelError(
            f"{folder} holds a model of type {settings.model_type!r}, but embedder.family={family} takes "
            f"{' or '.join(_MODEL_TYPES[family])}."
        )
    if settings.model_type in ("clip", "siglip", "siglip2"):
        vision = settings.vision_config
        if settings.model_type == "clip":
            vision.projection_dim = settings.projection_dim
        return vision
    return settings


def _load(folder: Path, settings: Any) -> Any:
    import transformers
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()  # the command shows a bar of its own, which counts videos
    classes = {
        "clip_vision_model": "CLIPVisionModelWithProjection",
        "siglip_vision_model": "SiglipVisionModel",
        "siglip2_vision_model": "Siglip2VisionModel",
        "videoprism": "VideoPrismClipModel",
        "vjepa2": "VJEPA2Model",
    }
    loader: Any = getattr(transformers, classes[settings.model_type])
    check_size(lambda: loader(settings), settings.to_dict(), folder, str(folder))
    try:
        model, report = loader.from_pretrained(folder, config=settings, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder} cannot be loaded: {str(error).splitlines()[0]}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(f"{folder} lacks {len(missing)} weights, first {', '.join(missing[:8])}.")
    return model


def _check_sizes(settings: Any, image_size: int, num_frames: int) -> None:
    """Compare with the sizes of the model, where it does not adapt to others."""
    vision = settings.vision_config if settings.model_type == "videoprism" else settings
    size = getattr(vision, "crop_size", None) or getattr(vision, "image_size", None)
    size = size if isinstance(size, int) or size is None else size[0]
    if size is not None and size != image_size:
        raise ModelError(f"embedder.image_size={image_size}, but the model takes {size} pixels a side.")
    if settings.model_type == "siglip2_vision_model" and image_size % settings.patch_size:
        raise ModelError(
            f"embedder.image_size={image_size} is not a multiple of the model's patch size of {settings.patch_size}."
        )
    frames = getattr(vision, "num_frames", None)
    if settings.model_type == "videoprism" and frames != num_frames:
        raise ModelError(f"embedder.num_frames={num_frames}, but the model takes {frames} frames.")
    if settings.model_type == "vjepa2" and num_frames % settings.tubelet_size:
        raise ConfigError(
            f"embedder.num_frames={num_frames} is not a multiple of the model's {settings.tubelet_size} frames per "
            "token."
        )
