"""A captioner from a file outside `sg`: one Python file and one YAML file, and no change to any file of `sg`."""

import json
import subprocess
import sys
from pathlib import Path

from sg.artefacts.captions import read_captions
from sg.artefacts.manifest import VideoRecord, write_manifest
from tests.study.commands import ROOT

PLUGIN = '''
"""The name of the file, in words."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from sg.caption.captioners import CAPTIONERS, CaptionerConfig, RowCaptioner, WrittenCaption


@dataclass
class FileNameConfig(CaptionerConfig):
    prefix: str = ""


@CAPTIONERS.register("file_name", FileNameConfig)
class FileNameCaptioner(RowCaptioner):
    model = "file name"

    def write(self, record):
        return WrittenCaption(self.config.prefix + PurePosixPath(record.path).stem.replace("_", " "))
'''


def test_a_captioner_outside_of_sg_is_chosen_like_any_other(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.parquet", [VideoRecord("v1", "test", "a_dog_runs.mp4")])
    for folder in ("plugins", "captioner"):
        (tmp_path / "mine" / folder).mkdir(parents=True)
    (tmp_path / "mine" / "plugins" / "file_name_captioner.py").write_text(PLUGIN)
    (tmp_path / "mine" / "captioner" / "file_name.yaml").write_text(
        "defaults: [file_name_schema, _self_]\nname: file_name\n"
    )
    words = ["--config-dir", str(tmp_path / "mine"), "captioner=file_name", "captioner.prefix='Here '"]
    data = ["data=webvid", f"data.dir={tmp_path}", f"data.videos={tmp_path}"]

    subprocess.run([sys.executable, "-m", "sg.caption", *words, *data], check=True, cwd=ROOT)

    captions = read_captions(tmp_path / "captions" / "file_name" / "captions.parquet")
    assert dict(captions) == {"v1": "Here a dog runs"}
    (record,) = captions.records()
    assert (record.model, json.loads(record.parameters)) == ("file name", {"prefix": "Here "})
    assert captions.info["identity"]["settings"] == {"class": "FileNameConfig", "prefix": "Here "}
    assert captions.info["made_by"] == captions.info["fingerprint"]
