"""A trained checkpoint captions one file or a manifest, and resumes where a killed run stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.captions import read_captions
from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.caption.config import CaptionConfig
from sg.caption.local.given import GivenCaptionerConfig
from sg.caption.local.student import ANSWERS_FILE, ChatUniViCaptionerConfig, StudentCaptioner
from sg.caption.run import caption_videos
from sg.core.checksums import CHECKSUM_KEY
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.layout import project_folder
from sg.models.chat_univi.build import build_model
from sg.models.chat_univi.settings import ModelConfig
from sg.sources.config import DataConfig
from sg.video.writer import write_video

TINY = ModelConfig(
    name="tiny",
    language_model="sg/demo/assets/language_model",
    vision_tower="sg/demo/assets/vision_tower",
    system_prompt="",
    spatial_clusters=[8, 4, 2],
    temporal_cluster_rate=1 / 8,
)


def video(path: Path, seconds: int, seed: int = 0) -> Path:
    frames = np.random.default_rng(seed).integers(0, 255, (seconds * 4, 64, 64, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps=4)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("stage") / "checkpoint"
    build_model(TINY, seed=1).save_pretrained(folder)
    return str(folder)


def captioner(checkpoint: str | None, **values: object) -> ChatUniViCaptionerConfig:
    settings: dict = {"prompt": "Describe", "max_new_tokens": 12, "batch_size": 2} | values
    return ChatUniViCaptionerConfig(checkpoint=checkpoint, model=TINY, **settings)


def source(tmp_path: Path, seconds: dict[str, int]) -> DataConfig:
    """Videos of these lengths and a damaged file, in a manifest."""
    for number, (name, length) in enumerate(seconds.items()):
        video(tmp_path / "videos" / f"{name}.mp4", length, number)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"not a video")
    records = [VideoRecord(name, "test", f"{name}.mp4") for name in ("broken", *seconds)]
    write_manifest(tmp_path / "manifest.parquet", records)
    return DataConfig(name="mine", dir=str(tmp_path), videos=str(tmp_path / "videos"))


def test_a_caption_does_not_depend_on_the_other_videos_of_its_batch(tmp_path: Path, checkpoint: str) -> None:
    data = source(tmp_path, {"a": 1, "b": 2, "c": 9})
    path = caption_videos(data, captioner(checkpoint))
    captions = read_captions(path)
    assert list(captions) == ["a", "b", "c"] and all(captions.values())
    alone = {
        name: StudentCaptioner(captioner(checkpoint)).caption_file(tmp_path / "videos" / f"{name}.mp4")
        for name in "abc"
    }
    assert dict(captions) == alone
    record = next(captions.records())
    assert (record.model, json.loads(record.parameters)["prompt"]) == ("chat_univi", "Describe")
    problems = [json.loads(line)["problem"] for line in (path.parent / ANSWERS_FILE).read_text().splitlines()]
    assert sum(map(bool, problems)) == 1


def test_a_killed_run_resumes_where_it_stopped_and_answers_damaged_lines_again(
    tmp_path: Path, checkpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = source(tmp_path, {"a": 1, "b": 1, "c": 1})
    path = caption_videos(data, captioner(checkpoint))
    whole = dict(read_captions(path))
    ledger = path.parent / ANSWERS_FILE
    lines = ledger.read_text().splitlines(keepends=True)
    path.unlink()
    kept = json.loads(lines[1])
    del kept[CHECKSUM_KEY]  # as an earlier version wrote it
    damaged = lines[0].replace('"caption": "', '"caption": "not ', 1)
    ledger.write_text(damaged + json.dumps(kept | {"caption": "kept from before"}) + "\n" + lines[2][:20])

    again = dict(read_captions(caption_videos(data, captioner(checkpoint))))

    assert again == whole | {kept["video_id"]: "kept from before"}
    assert f"{ledger}, line 1, is damaged" in caplog.text
    assert dict(read_captions(caption_videos(data, captioner(checkpoint, max_new_tokens=3)))) != again


def test_the_command_prints_the_answer_about_one_file(tmp_path: Path, checkpoint: str) -> None:
    file = video(tmp_path / "clip.mp4", 3)
    arguments = [f"captioner.checkpoint={checkpoint}", f"video={file}", "prompt=Describe", "captioner.max_new_tokens=8"]
    command = [sys.executable, "-m", "sg.caption", "captioner=chat_univi", *arguments]
    done = subprocess.run(
        command,
        cwd=project_folder(),
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == StudentCaptioner(captioner(checkpoint, max_new_tokens=8)).caption_file(file)


def test_a_missing_or_impossible_setting_is_an_error(tmp_path: Path, checkpoint: str) -> None:
    with pytest.raises(MissingInputError, match="There is no video file"):
        StudentCaptioner(captioner(checkpoint)).caption_file(tmp_path / "none.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    with pytest.raises(DataError, match=r"bad\.mp4"):
        StudentCaptioner(captioner(checkpoint)).caption_file(tmp_path / "bad.mp4")
    with pytest.raises(ConfigError, match=r"needs a trained model: give captioner\.checkpoint=FOLDER"):
        caption_videos(source(tmp_path, {"a": 1}), captioner(None))
    with pytest.raises(ConfigError, match="need a model that answers"):
        CaptionConfig(captioner=GivenCaptionerConfig(), video="clip.mp4")
    with pytest.raises(ConfigError, match="should be at least 1"):
        captioner(checkpoint, batch_size=0)
