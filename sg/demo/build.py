"""Writes a demo world to disk: real H.264 films, manifest, dialogs, benchmark. Resumable and cached.

FOLDER/manifest.parquet        the caption corpus; `extra` holds what each film shows
FOLDER/videos/ID.mp4           films of the corpus, the align and the instruct set
FOLDER/align.json              dialogs of the align stage, media below videos/
FOLDER/instruct.json           dialogs of the instruct stage, media below videos/
FOLDER/benchmark/              a benchmark of Video-MME's shape: table, videos/ID.mp4, subtitle/ID.srt
FOLDER/world.json              what made the folder; written last
"""

from __future__ import annotations

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
from sg.core.files import atomic_path, file_lock, read_json, write_json, write_text
from sg.core.identity import Identity, identity, made_by
from sg.core.progress import Progress
from sg.demo.config import DemoWorldConfig
from sg.demo.corpus import BenchmarkFilm, DemoWorld, Film, align_dialog, instruct_dialog, make_world
from sg.demo.language import TASK_TYPES, alt_text, srt
from sg.demo.render import FPS, FRAMES_PER_SCENE, SIZE, render

WORLD_VERSION = 1
"""Raised when the same config gives other films or texts than before."""
WORLD_FILE = "world.json"
BENCHMARK_TABLE = "test-00000-of-00001.parquet"
_FILMS_PER_TASK = 50
_DOMAINS = {
    "Nature": ("meadow", "desert", "sea", "snow", "forest"),
    "Sky": ("night", "sunset"),
    "Town": ("wall", "city", "stage"),
}


def world_identity(config: DemoWorldConfig) -> Identity:
    """What decides the content of a world: its settings, but not how many processes render it."""
    return identity("demo world", settings=config, version=WORLD_VERSION)


def world_record(config: DemoWorldConfig) -> dict[str, Any]:
    """What `world.json` and the manifest of a world record of its origin."""
    work = world_identity(config)
    return {"fingerprint": work.name, "config": asdict(config), **made_by(work)}


def build_demo_world(config: DemoWorldConfig, folder: Path) -> Path:
    """Make the demo world of `config` in `folder`, or what is missing of it; gives the path of its manifest.

    A complete world is left as it is. One that was cut off is completed: every film appears whole or not at all, and
    the world's description is written last. Two processes that need the same world do not make it twice.

    Raises:
        ConfigError: `folder` holds a world made with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / "world.lock"):
        _check_same_world(config, folder)
        if not _is_complete(folder):
            description = world_record(config)
            write_json(folder / WORLD_FILE, {**description, "complete": False})
            world = make_world(config)
            _write_films(_film_paths(world, folder), config.workers)
            _write_tables(world, config, folder)
            write_json(folder / WORLD_FILE, {**description, "complete": True})
    return folder / "manifest.parquet"


def _is_complete(folder: Path) -> bool:
    path = folder / WORLD_FILE
    return path.is_file() and bool(read_json(path).get("complete"))


def _check_same_world(config: DemoWorldConfig, folder: Path) -> None:
    path = folder / WORLD_FILE
    if path.is_file() and read_json(path).get("fingerprint") != world_identity(config).name:
        raise ConfigError(
            f"{folder} holds a demo world that was made with other settings: give this one a name of its own "
            f"(data.name=NAME), or delete that folder."
        )


def _film_paths(world: DemoWorld, folder: Path) -> list[tuple[Path, Film]]:
    videos = [(folder / "videos" / f"{film.film_id}.mp4", film) for film in world.training_films]
    tests = [(folder / "benchmark" / "videos" / f"{item.film.film_id}.mp4", item.film) for item in world.benchmark]
    return videos + tests


def write_film(path: Path, film: Film) -> None:
    """Render `film` and encode it to `path`, whole or not at all."""
    from sg.video.writer import write_video

    write_video(path, render(film.spec, film.take), FPS)


def _write_part(part: Sequence[tuple[Path, Film]]) -> int:
    for path, film in part:
        write_film(path, film)
    return len(part)


def _write_films(films: Sequence[tuple[Path, Film]], workers: int) -> None:
    """Write the films that are not there yet."""
    for parent in {path.parent for path, _ in films}:
        parent.mkdir(parents=True, exist_ok=True)
        for leftover in parent.glob(".*.tmp*"):
            leftover.unlink()
    missing = [(path, film) for path, film in films if not path.is_file()]
    parts = [missing[at : at + _FILMS_PER_TASK] for at in range(0, len(missing), _FILMS_PER_TASK)]
    with Progress("demo films", len(films), "films", done_before=len(films) - len(missing)) as bar:
        if workers == 1 or len(parts) < 2:
            for part in parts:
                bar.advance(_write_part(part))
            return
        # Spawned, not forked: a fork would copy the locks of any library thread that runs at this moment.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(parts)), mp_context=context) as pool:
            for count in pool.map(_write_part, parts):
                bar.advance(count)


def _write_tables(world: DemoWorld, config: DemoWorldConfig, folder: Path) -> None:
    write_manifest(folder / "manifest.parquet", demo_records(world), {"source": "demo", **world_record(config)})
    write_dialogs(folder / "align.json", [align_dialog(film) for film in world.align])
    write_dialogs(folder / "instruct.json", [instruct_dialog(item) for item in world.instruct])
    for item in world.benchmark:
        if item.cues:
            write_text(folder / "benchmark" / "subtitle" / f"{item.film.film_id}.srt", srt(item.cues, FPS))
    _write_benchmark_table(world.benchmark, folder / "benchmark" / BENCHMARK_TABLE)


def demo_records(world: DemoWorld) -> Iterator[VideoRecord]:
    """The rows of a world's manifest."""
    for film in world.corpus:
        num_frames = len(film.spec.scenes) * FRAMES_PER_SCENE
        yield VideoRecord(
            video_id=film.film_id,
            source="demo",
            path=f"{film.film_id}.mp4",
            duration_s=num_frames / FPS,
            width=SIZE,
            height=SIZE,
            fps=FPS,
            num_frames=num_frames,
            original_caption=alt_text(film.spec),
            split="train",
            extra=json.dumps({"family": film.family, **asdict(film.spec)}, separators=(",", ":")),
        )


def benchmark_rows(items: Sequence[BenchmarkFilm]) -> Iterator[dict[str, Any]]:
    """The rows of the benchmark's table: Video-MME's columns, and `kind`, the demo's own name of a question's kind."""
    for number, item in enumerate(items, start=1):
        place = item.film.spec.scenes[0].background
        for at, question in enumerate(item.questions, start=1):
            yield {
                "video_id": f"{number:03d}",
                "duration": item.film.spec.duration,
                "domain": next(domain for domain, places in _DOMAINS.items() if place in places),
                "sub_category": place.capitalize(),
                "url": "",
                "videoID": item.film.film_id,
                "question_id": f"{number:03d}-{at}",
                "task_type": TASK_TYPES[question.kind],
                "question": question.text,
                "options": question.lettered_options,
                "answer": question.answer,
                "kind": question.kind,
            }


def _write_benchmark_table(items: Sequence[BenchmarkFilm], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(benchmark_rows(items))), temporary)
