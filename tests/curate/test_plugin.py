"""A curator from a file outside `sg`: one Python file and one YAML file, and no change to any file of `sg`."""

import subprocess
import sys
from pathlib import Path

from sg.artefacts.forest import read_forest
from sg.core.files import read_json
from tests.curate.test_pipeline import make_source

PLUGIN = '''
"""Videos in the alphabetical order of their ids."""

from dataclasses import dataclass

import numpy as np

from sg.curate.inputs import Curated
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.settings import CuratorConfig


@dataclass
class AlphabetConfig(CuratorConfig):
    name: str = "alphabet"
    is_reversed: bool = False


@CURATORS.register("alphabet", AlphabetConfig)
def curate_by_alphabet(inputs, config):
    videos = inputs.read_videos(config.seed)
    order = np.argsort(videos.ids)
    return Curated.of(videos, Removals.plain(order[::-1] if config.is_reversed else order))
'''


def test_a_curator_outside_of_sg_is_chosen_like_any_other(tmp_path: Path) -> None:
    make_source(tmp_path, count=60)
    (tmp_path / "mine" / "plugins").mkdir(parents=True)
    (tmp_path / "mine" / "plugins" / "alphabet_curator.py").write_text(PLUGIN)
    (tmp_path / "mine" / "curator").mkdir()
    (tmp_path / "mine" / "curator" / "alphabet.yaml").write_text("defaults: [alphabet_schema, _self_]\nseed: 3\n")
    words = ["--config-dir", str(tmp_path / "mine"), "curator=alphabet", "curator.is_reversed=true", "scales=[]"]
    data = ["data=webvid", f"data.dir={tmp_path}", f"data.videos={tmp_path}"]

    subprocess.run([sys.executable, "-m", "sg.curate", *words, *data], check=True, cwd=Path(__file__).parents[2])

    forest = read_forest(tmp_path / "curation" / "alphabet" / "forest.parquet")
    assert forest.video_ids == sorted(forest.video_ids, reverse=True)
    record = read_json(tmp_path / "curation" / "alphabet" / "curation.json")
    assert record["identity"]["settings"] == {
        "class": "AlphabetConfig",
        "name": "alphabet",
        "seed": 3,
        "is_reversed": True,
    }
