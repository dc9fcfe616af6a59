"""A source from a file outside `sg/` is used like the built-in ones."""

import subprocess
import sys
from pathlib import Path

from sg.artefacts.manifest import read_manifest

PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.sources.config import DataConfig
from sg.sources.registry import SOURCES


@dataclass
class NumbersDataConfig(DataConfig):
    """As many videos as `count`."""

    count: int = 2


@SOURCES.register("numbers", NumbersDataConfig)
def make_numbers(config: NumbersDataConfig) -> Path:
    rows = [VideoRecord(f"video-{number}", "numbers", f"{number}.mp4") for number in range(config.count)]
    return write_manifest(config.manifest_path, rows, {"source": "numbers"})
'''
CONFIG = """
defaults: [numbers_schema, _self_]
name: numbers
dir: ${paths.work}/${data.name}
videos: ${data.dir}/videos
"""


def test_a_source_outside_of_sg_is_selected_by_its_name(tmp_path: Path) -> None:
    for name, text in {"plugins/numbers_source.py": PLUGIN, "data/numbers.yaml": CONFIG}.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "sg.sources", "--config-dir", str(tmp_path / "mine"), "data=numbers"]

    words = ["data.count=3", f"paths.work={tmp_path / 'work'}"]
    run = subprocess.run([*command, *words], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip().splitlines()[-1]) == tmp_path / "work" / "numbers" / "manifest.parquet"
    manifest = read_manifest(tmp_path / "work" / "numbers" / "manifest.parquet")
    assert manifest.video_ids == ["video-0", "video-1", "video-2"]
