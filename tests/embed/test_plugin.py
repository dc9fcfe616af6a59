"""An embedder from a file outside `sg`: one Python file and one YAML file, and no change to any file of `sg`."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from sg.artefacts.vectors import read_vectors
from tests.embed.builders import make_world

PLUGIN = '''
"""The mean colour of a video."""

from dataclasses import dataclass

import numpy as np

from sg.embed.registry import EMBEDDERS
from sg.embed.settings import EmbedderConfig


@dataclass
class MeanColourConfig(EmbedderConfig):
    name: str = "mean_colour"
    gamma: float = 1.0


@EMBEDDERS.register("mean_colour", MeanColourConfig)
class MeanColourEmbedder:
    dim = 3

    def __init__(self, config):
        self.gamma = config.gamma

    def embed(self, frames):
        colours = (frames / 255.0).mean(axis=(1, 2, 3)) ** self.gamma
        return (colours / np.linalg.norm(colours, axis=1, keepdims=True)).astype(np.float32)

    @staticmethod
    def model_facts(config):
        return {"model": "mean colour"}
'''


def test_an_embedder_outside_of_sg_is_chosen_like_any_other(tmp_path: Path) -> None:
    make_world(tmp_path, "abc")
    (tmp_path / "mine" / "plugins").mkdir(parents=True)
    (tmp_path / "mine" / "plugins" / "mean_colour_embedder.py").write_text(PLUGIN)
    (tmp_path / "mine" / "embedder").mkdir()
    (tmp_path / "mine" / "embedder" / "mean_colour.yaml").write_text("defaults: [mean_colour_schema, _self_]\n")
    words = ["--config-dir", str(tmp_path / "mine"), "embedder=mean_colour", "embedder.gamma=2", "embedder.workers=1"]
    data = ["data=webvid", f"data.dir={tmp_path}", f"data.videos={tmp_path / 'videos'}"]

    subprocess.run([sys.executable, "-m", "sg.embed", *words, *data], check=True, cwd=Path(__file__).parents[2])

    vectors = read_vectors(tmp_path / "embeddings" / "mean_colour")
    assert vectors.video_ids == list("abc") and vectors.dim == 3
    np.testing.assert_allclose(np.linalg.norm(vectors.matrix, axis=1), 1, atol=2e-3)
    assert vectors.info["model"] == "mean colour" and vectors.info["identity"]["settings"]["gamma"] == 2.0
