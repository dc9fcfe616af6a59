"""A study of pictures as published data, so that nothing but the run itself is made."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.dialogs import Dialog, Turn, write_dialogs
from sg.artefacts.forest import write_forest
from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.demo.build import benchmark_rows, write_demo_video
from sg.demo.config import DemoWorldConfig
from sg.demo.corpus import make_world
from sg.study.config import TrainConfig
from sg.study.planning.why import run_folder
from sg.study.run import StudyRun, run_study
from sg.train.config import DialogSource
from tests.artefacts.builders import plain_forest
from tests.repository.test_configs import composed

VIDEOS = 20
BROKEN = 3


def config_of(folder: Path, *overrides: str) -> TrainConfig:
    """The settings of a run."""
    config = composed(
        "data=webvid", f"data.dir={folder / 'data'}", f"data.videos={folder / 'media'}", "logger=csv",
        f"paths.work={folder / 'work'}", f"paths.runs={folder / 'runs'}", f"benchmark.folder={folder / 'benchmark'}",
        "benchmark.answering.probes=[]", "stage.max_missing=0.1", *overrides,
    )  # fmt: skip
    for stage in config.stage.others:
        stage.sources = [DialogSource(str(folder / "dialogs.json"), str(folder / "media"), "pictures")]
    return config


def write_texts(folder: Path, text: str) -> None:
    path = folder / "data" / "captions" / composed("data=webvid").captioner.name / "captions.parquet"
    write_captions(path, [CaptionRecord(str(number), f"{text} {number}") for number in range(VIDEOS)])


def write_picture(path: Path, number: int) -> None:
    Image.new("RGB", (64, 64), (11 * number, 250 - 9 * number, 40)).save(path)


def write_data(folder: Path) -> None:
    """The data and the benchmark; one of the 20 videos cannot be read."""
    for name in ("media", "benchmark/videos", "data/embeddings/demo", "data/curation/tome"):
        (folder / name).mkdir(parents=True)
    for number in range(VIDEOS):
        write_picture(folder / "media" / f"{number}.png", number)
    (folder / "media" / f"{BROKEN}.png").write_bytes(b"not an image")
    write_manifest(
        folder / "data" / "manifest.parquet",
        [VideoRecord(str(number), "webvid", f"{number}.png") for number in range(VIDEOS)],
    )
    write_texts(folder, "a red square")
    for name in ("embeddings/demo/embeddings.json", "curation/tome/curation.json"):
        (folder / "data" / name).write_text("{}")
    write_forest(folder / "data" / "curation/tome/forest.parquet", plain_forest(map(str, range(VIDEOS))))
    turns = (Turn("human", "<image>\nDescribe"), Turn("gpt", "a blue square"))
    write_dialogs(folder / "dialogs.json", [Dialog("0", "image", "0.png", turns), Dialog("1", "image", "1.png", turns)])
    world = make_world(DemoWorldConfig(videos_per_k=1, align_clips=1, instruct_clips=1, benchmark_videos=1))
    for item in world.benchmark:
        write_demo_video(folder / "benchmark" / "videos" / f"{item.video.video_id}.mp4", item.video)
    pq.write_table(pa.Table.from_pylist(list(benchmark_rows(world.benchmark))), folder / "benchmark/benchmark.parquet")


def run(config: TrainConfig) -> None:
    folder = run_folder(config)
    run_study(StudyRun(config, folder.parent.name, folder.name, folder))
