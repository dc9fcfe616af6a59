"""Settings of the demo embedder with a tiny tower, and a few video files with a manifest."""

from pathlib import Path
from typing import Any

import numpy as np

from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.embed.embedders.demo import DemoEmbedderConfig
from sg.embed.registry import EMBEDDERS, Embedder
from sg.embed.settings import EmbedderConfig
from sg.sources.config import DataConfig
from sg.video.writer import write_video


def embedder(tower: Path, **values: Any) -> DemoEmbedderConfig:
    sizes = {"image_size": 32, "num_frames": 4, "batch_size": 3, "rows_per_part": 4, "workers": 1}
    return DemoEmbedderConfig(**({"name": "demo", "checkpoint": str(tower)} | sizes | values))


def loaded(config: EmbedderConfig) -> Embedder:
    """The embedder of a config, with its model."""
    return EMBEDDERS.of(config)(config)


def make_world(folder: Path, names: str, **statuses: str) -> DataConfig:
    """One video file per letter, each with its own colours, and a manifest; `statuses` name videos without a file."""
    rows = [VideoRecord(name, "test", f"{name}.mp4") for name in names]
    for name in names:
        tint = np.random.default_rng(ord(name)).integers(0, 256, (6, 1, 1, 3))
        write_video(folder / "videos" / f"{name}.mp4", np.broadcast_to(tint, (6, 32, 32, 3)).astype(np.uint8), fps=1)
    rows += [VideoRecord(name, "test", f"{name}.mp4", status=status) for name, status in statuses.items()]
    write_manifest(folder / "manifest.parquet", rows)
    return DataConfig(name="mine", dir=str(folder), videos=str(folder / "videos"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder of vectors, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".lock"}
