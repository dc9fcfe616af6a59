"""A benchmark from a file outside `sg/`: one Python file and one YAML file in a folder of the user."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sg.models.chat_univi.build import build_model
from sg.models.chat_univi.settings import ModelConfig
from sg.video.writer import write_video

PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path

from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo, Question, checked, labelled
from sg.evaluate.config import BenchmarkConfig


@dataclass
class ColoursConfig(BenchmarkConfig):
    """A benchmark of one question per video."""

    options: str = "black,white"


@BENCHMARKS.register("colours", ColoursConfig)
def read_colours(config: ColoursConfig) -> Benchmark:
    folder = Path(config.folder)
    options = labelled(config.options.split(","))
    videos = tuple(
        BenchmarkVideo(path.stem, path.stem, "short", "", "", (Question(path.stem, "", "Which?", options, "A"),), path)
        for path in sorted(folder.glob("*.mp4"))
    )
    return checked(Benchmark(config.name, "local", videos), folder)
'''
YAML = """
defaults: [colours_schema, _self_]
name: colours
folder: {folder}
answering:
  settings: [without_subtitles]
  probes: []
"""


@pytest.mark.slow
def test_a_benchmark_from_outside_is_asked_by_the_real_command(tmp_path: Path) -> None:
    mine, videos = tmp_path / "mine", tmp_path / "videos"
    for folder in (mine / "plugins", mine / "benchmark", videos):
        folder.mkdir(parents=True)
    (mine / "plugins" / "colours_benchmark.py").write_text(PLUGIN)
    (mine / "benchmark" / "colours.yaml").write_text(YAML.format(folder=videos))
    write_video(videos / "dark.mp4", np.zeros((8, 64, 64, 3), np.uint8), 1)
    model = ModelConfig(
        name="tiny", language_model="sg/demo/assets/language_model", vision_tower="sg/demo/assets/vision_tower",
        system_prompt="", spatial_clusters=[8, 4, 2], temporal_cluster_rate=1 / 8,
    )  # fmt: skip
    build_model(model).save_pretrained(tmp_path / "checkpoint")

    command = [sys.executable, "evaluate.py", "--config-dir", str(mine), "benchmark=colours"]
    command += ["benchmark.options='black,white,red'", f"checkpoint={tmp_path / 'checkpoint'}"]
    command += [f"output={tmp_path / 'out'}", f"paths.work={tmp_path / 'work'}", f"paths.runs={tmp_path / 'runs'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])

    assert done.returncode == 0, done.stderr
    (row,) = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert (row["status"], row["num_options"]) == ("ok", 3)
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["identity"]["settings"]["class"] == "ColoursConfig"
    assert scores["made_by"] == row["made_by"]
