"""Writes a demo world to disk: H.264 video files, manifest, dialogs and benchmark. It resumes after an interruption.

FOLDER/manifest.parquet        the caption corpus; column `extra` holds what each video shows
FOLDER/videos/ID.mp4           videos of all sets except the benchmark
FOLDER/align.json              dialogs of the align stage; their media are below videos/
FOLDER/instruct.json           dialogs of the instruct stage; their media are below videos/
FOLDER/held_out.json           captions that no run trains on; their media are below videos/
FOLDER/benchmark/              a benchmark in Video-MME's format: table, videos/ID.mp4, subtitle/ID.srt
FOLDER/world.json              identity of the world, and whether it is complete
"""

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sg.artefacts.dialogs import write_dialogs
from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.core.errors import ConfigError
from sg.core.files import atomic_path, file_lock, read_json, write_record, write_text
from sg.core.identity import Identity, identity, made_by
from sg.core.progress import Progress
from sg.demo.config import DemoWorldConfig
from sg.demo.corpus import (
    AskedVideo,
    DemoVideo,
    DemoWorld,
    align_dialog,
    held_out_dialog,
    instruct_dialog,
    make_world,
)
from sg.demo.language import TASK_TYPES, alt_text, srt
from sg.demo.render import FPS, FRAMES_PER_SCENE, SIZE, render

WORLD_VERSION = 1
"""To be raised when the same settings would give other video files or texts than before."""
WORLD_FILE = "world.json"
BENCHMARK_TABLE = "test-00000-of-00001.parquet"
_VIDEOS_PER_TASK = 50
_DOMAINS = {
    "Nature": ("meadow", "desert", "sea", "snow", "forest"),
    "Sky": ("night", "sunset"),
    "Town": ("wall", "city", "stage"),
}

# A world without one of these files is not complete.
TABLES = ("manifest.parquet", "align.json", "instruct.json", "held_out.json", f"benchmark/{BENCHMARK_TABLE}")


def world_identity(config: DemoWorldConfig) -> Identity:
    """What decides the content of a world: all its settings except the number of processes that render it."""
    return identity("demo world", settings=config, version=WORLD_VERSION)


def world_record(config: DemoWorldConfig) -> dict[str, Any]:
    """What `world.json` and the manifest of a world record of its origin."""
    work = world_identity(config)
    return {"fingerprint": work.name, "config": asdict(config), **made_by(work)}


def build_demo_world(config: DemoWorldConfig, folder: Path) -> Path:
    """Make the demo world of `config` in `folder`, or its missing parts; returns the path of its manifest.

    A complete world is kept as it is. Of an interrupted one, or one without one of its tables, only the missing videos
    are rendered. Two processes that
    need the same world do not make it twice.

    Raises:
        ConfigError: `folder` holds a world of other settings or of another version of this code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / "world.lock", folder):
        _check_same_world(config, folder)
        # `complete` is written after everything else. Each video file appears whole or not at all, so that the files
        # of an interrupted run can be kept.
        if not _is_complete(folder):
            description = world_record(config)
            write_record(folder / WORLD_FILE, {**description, "complete": False})
            world = make_world(config)
            _write_videos(_video_paths(world, folder), config.workers)
            _write_tables(world, config, folder)
            write_record(folder / WORLD_FILE, {**description, "complete": True})
    return folder / "manifest.parquet"


def _is_complete(folder: Path) -> bool:
    path = folder / WORLD_FILE
    return path.is_file() and bool(read_json(path).get("complete")) and all((folder / t).is_file() for t in TABLES)


def _check_same_world(config: DemoWorldConfig, folder: Path) -> None:
    path = folder / WORLD_FILE
    if path.is_file() and read_json(path).get("fingerprint") != world_identity(config).name:
        raise ConfigError(
            f"{folder} holds a demo world of other settings, or of another version of sg: choose another folder with "
            "paths.demo_world=DIR, or delete that folder."
        )


def _video_paths(world: DemoWorld, folder: Path) -> list[tuple[Path, DemoVideo]]:
    others = [*world.training_videos, *world.held_out]
    videos = [(folder / "videos" / f"{video.video_id}.mp4", video) for video in others]
    tests = [(folder / "benchmark" / "videos" / f"{item.video.video_id}.mp4", item.video) for item in world.benchmark]
    return videos + tests


def write_demo_video(path: Path, video: DemoVideo) -> None:
    """Render `video` and encode it to `path`, whole or not at all."""
    from sg.video.writer import write_video

    write_video(path, render(video.spec, video.rendition), FPS)


def _write_part(part: Sequence[tuple[Path, DemoVideo]]) -> int:
    for path, video in part:
        write_demo_video(path, video)
    return len(part)


def _write_videos(videos: Sequence[tuple[Path, DemoVideo]], workers: int) -> None:
    """Write the videos whose files do not exist yet."""
    for parent in {path.parent for path, _ in videos}:
        parent.mkdir(parents=True, exist_ok=True)
        for leftover in parent.glob(".*.tmp*"):
            leftover.unlink()
    missing = [(path, video) for path, video in videos if not path.is_file()]
    parts = [missing[at : at + _VIDEOS_PER_TASK] for at in range(0, len(missing), _VIDEOS_PER_TASK)]
    with Progress("demo videos", len(videos), "videos", done_before=len(videos) - len(missing)) as bar:
        if workers == 1 or len(parts) < 2:
            for part in parts:
                bar.advance(_write_part(part))
            return
        # Spawned, not forked: a fork copies the locks that threads of libraries hold at that moment, and may block.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(parts)), mp_context=context) as pool:
            for count in pool.map(_write_part, parts):
                bar.advance(count)


def _write_tables(world: DemoWorld, config: DemoWorldConfig, folder: Path) -> None:
    write_manifest(folder / "manifest.parquet", demo_records(world), {"source": "demo", **world_record(config)})
    write_dialogs(folder / "align.json", [align_dialog(video) for video in world.align])
    write_dialogs(folder / "instruct.json", [instruct_dialog(item) for item in world.instruct])
    write_dialogs(folder / "held_out.json", [held_out_dialog(video) for video in world.held_out])
    for item in world.benchmark:
        if item.cues:
            write_text(folder / "benchmark" / "subtitle" / f"{item.video.video_id}.srt", srt(item.cues, FPS))
    _write_benchmark_table(world.benchmark, folder / "benchmark" / BENCHMARK_TABLE)


def demo_records(world: DemoWorld) -> Iterator[VideoRecord]:
    """Yield the rows of the manifest of a world."""
    for video in world.corpus:
        num_frames = len(video.spec.scenes) * FRAMES_PER_SCENE
        yield VideoRecord(
            video_id=video.video_id,
            source="demo",
            path=f"{video.video_id}.mp4",
            duration_s=num_frames / FPS,
            width=SIZE,
            height=SIZE,
            fps=FPS,
            num_frames=num_frames,
            original_caption=alt_text(video.spec),
            split="train",
            extra=json.dumps({"family": video.family, **asdict(video.spec)}, separators=(",", ":")),
        )


def benchmark_rows(items: Sequence[AskedVideo]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the benchmark's table: the columns of Video-MME, and `kind`, the demo's kind of question."""
    for number, item in enumerate(items, start=1):
        place = item.video.spec.scenes[0].background
        for at, question in enumerate(item.questions, start=1):
            yield {
                "video_id": f"{number:03d}",
                "duration": item.video.spec.duration,
                "domain": next(domain for domain, places in _DOMAINS.items() if place in places),
                "sub_category": place.capitalize(),
                "url": "",
                "videoID": item.video.video_id,
                "question_id": f"{number:03d}-{at}",
                "task_type": TASK_TYPES[question.kind],
                "question": question.text,
                "options": question.lettered_options,
                "answer": question.answer,
                "kind": question.kind,
            }


def _write_benchmark_table(items: Sequence[AskedVideo], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(benchmark_rows(items))), temporary)
