"""Embedders from the transformers library: CLIP and SigLIP 2 frame by frame, VideoPrism and V-JEPA 2 film by film."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from sg.core.errors import ConfigError, ModelError
from sg.core.fingerprints import file_hash
from sg.embed.config import TransformersEmbedderConfig
from sg.embed.devices import pick_device, pick_dtype
from sg.models.chat_univi.published.weight_files import checkpoint_files
from sg.models.hub_files import checkpoint_folder
from sg.models.internvideo2.preprocessing import normalise

_KEY = "embedder.checkpoint"
_MODEL_TYPES = {
    "clip": ("clip", "clip_vision_model"),
    "siglip2": ("siglip2", "siglip2_vision_model", "siglip", "siglip_vision_model"),
    "videoprism": ("videoprism",),
    "vjepa2": ("vjepa2",),
}
"""What `config.json` calls the models of a family. SigLIP 2 of one fixed size has the architecture of SigLIP."""


class TransformersEmbedder:
    """A model of one of the four families, loaded from a folder or the hub."""

    def __init__(self, config: TransformersEmbedderConfig) -> None:
        self._device = pick_device(config.device)
        self._dtype = pick_dtype(config.dtype, self._device)
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        folder = checkpoint_folder(config.checkpoint, _KEY, config.revision)
        settings = _settings(folder, config.family)
        _check_sizes(settings, config)
        self._model = _load(folder, settings).to(self._device, self._dtype)
        self._vectors = _WAYS[config.family]
        self._statistics = config.pixel_mean, config.pixel_std
        probe = np.zeros((1, config.num_frames, config.image_size, config.image_size, 3), np.uint8)
        self.dim = int(self.embed(probe).shape[1])

    @torch.inference_mode()
    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors float32 [B, dim] of unit length for frames uint8 [B, T, H, W, 3]."""
        pixels = normalise(torch.from_numpy(frames).to(self._device), *self._statistics).to(self._dtype)
        vectors: NDArray[np.float32] = normalize(self._vectors(self._model, pixels).float(), dim=-1).cpu().numpy()
        return vectors


def transformers_identity(config: TransformersEmbedderConfig) -> dict[str, Any]:
    """What decides about the vectors: weights and config by their hashes, numbers, preprocessing."""
    folder = checkpoint_folder(config.checkpoint, _KEY, config.revision)
    files = [folder / "config.json", *checkpoint_files(folder)]
    return {
        "model": config.family,
        "revision": {path.name: file_hash(path) for path in files if path.is_file()},
        "dtype": str(pick_dtype(config.dtype, pick_device(config.device))).removeprefix("torch."),
        "pixel_mean": [float(value) for value in config.pixel_mean],
        "pixel_std": [float(value) for value in config.pixel_std],
        "pooling": _POOLING[config.family],
    }


def _clip(model: Any, pixels: Tensor) -> Tensor:
    return _averaged(lambda pictures: model(pixel_values=pictures).image_embeds, pixels)


def _siglip2(model: Any, pixels: Tensor) -> Tensor:
    if model.config.model_type == "siglip_vision_model":
        return _averaged(lambda pictures: model(pixel_values=pictures).pooler_output, pixels)
    return _averaged(lambda pictures: _patched(model, pictures), pixels)


def _patched(model: Any, pictures: Tensor) -> Tensor:
    """SigLIP 2 of any size takes patches [N, h * w, p * p * 3], all of them here: nothing is padded."""
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


_WAYS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "clip": _clip,
    "siglip2": _siglip2,
    "videoprism": _videoprism,
    "vjepa2": _vjepa2,
}
_POOLING = {
    "clip": "mean of the frames' unit vectors",
    "siglip2": "mean of the frames' unit vectors",
    "videoprism": "the model's own",
    "vjepa2": "mean of the tokens",
}


def _settings(folder: Path, family: str) -> Any:
    """The model's own config: of its vision part, where it has a text part that is not needed."""
    from transformers import AutoConfig

    try:
        settings: Any = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no model of transformers: {str(error).splitlines()[0]}") from error
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

    hush: Any = logging
    hush.disable_progress_bar()  # the bar that counts films is enough
    classes = {
        "clip_vision_model": "CLIPVisionModelWithProjection",
        "siglip_vision_model": "SiglipVisionModel",
        "siglip2_vision_model": "Siglip2VisionModel",
        "videoprism": "VideoPrismClipModel",
        "vjepa2": "VJEPA2Model",
    }
    loader: Any = getattr(transformers, classes[settings.model_type])
    try:
        model, report = loader.from_pretrained(folder, config=settings, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder} cannot be loaded: {str(error).splitlines()[0]}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(f"{folder} lacks {len(missing)} weights, first {', '.join(missing[:8])}.")
    return model


def _check_sizes(settings: Any, config: TransformersEmbedderConfig) -> None:
    """The model's own sizes, where it does not adapt to others."""
    vision = settings.vision_config if settings.model_type == "videoprism" else settings
    size = getattr(vision, "crop_size", None) or getattr(vision, "image_size", None)
    size = size if isinstance(size, int) or size is None else size[0]
    if size is not None and size != config.image_size:
        raise ModelError(f"embedder.image_size={config.image_size}, but the model takes {size} pixels a side.")
    if settings.model_type == "siglip2_vision_model" and config.image_size % settings.patch_size:
        raise ModelError(
            f"embedder.image_size={config.image_size} is no multiple of the model's patches of {settings.patch_size}."
        )
    frames = getattr(vision, "num_frames", None)
    if settings.model_type == "videoprism" and frames != config.num_frames:
        raise ModelError(f"embedder.num_frames={config.num_frames}, but the model takes {frames} frames.")
    if settings.model_type == "vjepa2" and config.num_frames % settings.tubelet_size:
        raise ConfigError(
            f"embedder.num_frames={config.num_frames} is no multiple of the model's {settings.tubelet_size} frames a "
            "token."
        )
