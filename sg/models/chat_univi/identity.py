"""What a model is made of, as plain data for fingerprints and cache keys; reads files, never loads a model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sg.core.commands import PROJECT_FOLDER
from sg.models.config import ModelConfig

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".json", ".model")
_SAMPLE_BYTES = 1 << 20
_WHOLE_BYTES = 64 << 20


def local_path(name: str) -> Path | None:
    """The folder or file `name` on this machine (relative ones start from the project folder); None for a hub id."""
    path = PROJECT_FOLDER / name
    return path if path.exists() else None


def part_identity(name: str | None) -> str | None:
    """16 hex digits naming the weights of a model part on this machine, or its name on the hub.

    Files above 64 MiB are named by their size, first and last MiB: hashing 13 GB would cost more than it tells.
    """
    if name is None:
        return None
    path = local_path(name)
    if path is None:
        return name
    files = [path] if path.is_file() else sorted(f for f in path.iterdir() if f.suffix in _WEIGHT_SUFFIXES)
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}:".encode())
        with file.open("rb") as stream:
            if size <= _WHOLE_BYTES:
                digest.update(stream.read())
                continue
            digest.update(stream.read(_SAMPLE_BYTES))
            stream.seek(-_SAMPLE_BYTES, 2)
            digest.update(stream.read())
    return digest.hexdigest()


def visual_token_settings(config: ModelConfig) -> dict[str, Any]:
    """Everything that decides a clip's visual tokens besides the clip: the key and the settings of their cache."""
    return {
        "tower": part_identity(config.checkpoint or config.vision_tower),
        "select_layer": config.select_layer,
        "spatial_clusters": list(config.spatial_clusters),
        "spatial_neighbours": list(config.spatial_neighbours),
        "temporal_cluster_rate": config.temporal_cluster_rate,
        "temporal_neighbours": config.temporal_neighbours,
        "min_temporal_neighbours": config.min_temporal_neighbours,
        "max_frames": config.max_frames,
        "target_fps": config.target_fps,
        "image_aspect_ratio": config.image_aspect_ratio,
        "dtype": config.dtype,
        "visual_token_dtype": config.visual_token_dtype,
        "version": 1,
    }


def base_model_settings(config: ModelConfig) -> dict[str, Any]:
    """Everything that decides the model before its first stage besides the seed: for stage fingerprints."""
    return {
        "visual_tokens": visual_token_settings(config),
        "language_model": part_identity(config.checkpoint or config.language_model),
        "projector": part_identity(config.projector),
        "tokenizer": part_identity(config.tokenizer),
        "chat_format": config.chat_format,
        "system_prompt": config.system_prompt,
    }
