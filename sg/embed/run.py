"""Embedding a whole manifest, resumable part by part."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import read_manifest
from sg.artefacts.vectors import INFO_FILE, vector_parts, write_vectors_info
from sg.core.crew.workers import check_engine
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import file_lock, read_record, write_record
from sg.core.identity import Change, Identity, made_by
from sg.core.progress import Progress
from sg.embed.batches import embed_parts
from sg.embed.parts import Part, PartState, clear_stale, left_out, other_settings, part_state, plan_parts
from sg.embed.registry import embedding_identity
from sg.embed.settings import EmbedderConfig, actual_reader
from sg.embed.video_files import check_folder
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

log = logging.getLogger(__name__)

QUARANTINE_FILE = "quarantine.json"
_NAMED = 3


def embed_videos(
    data: DataConfig,
    embedder: EmbedderConfig,
    manifest_path: Path | None = None,
    out_path: Path | None = None,
    engine: str = "local",
) -> Path:
    """Make a vector for every usable video of the data, unless it exists; returns the folder of the vectors.

    An interrupted run resumes at the part where it stopped and writes the same bytes, with either engine. Videos that
    cannot be embedded are left out and listed in `quarantine.json` with their reasons.

    Args:
        data: the source.
        embedder: settings of a registered embedder.
        manifest_path: by default the manifest of the data, which is made if it is missing.
        out_path: by default the folder of this embedder's vectors.
        engine: "local" or "ray".

    Raises:
        MissingInputError: there is no manifest, no folder of videos, or no weights.
        DataError: no video could be embedded, the videos cannot be read, or the folder cannot be written.
        ConfigError: the folder holds vectors of other settings, or the engine is not installed.
    """
    manifest = read_manifest(manifest_path or make_manifest(data))
    videos, folder = data.videos_folder, out_path or data.vectors_folder(embedder.name)
    if not videos.is_dir():
        raise MissingInputError(f"There is no folder of videos {videos}: name it with data.videos=DIR.")
    check_folder(videos)
    check_engine("engine", engine)
    if engine == "ray" and embedder.depends_on_machine:
        raise ConfigError(
            "embedder.dtype=auto would depend on the node with engine=ray: set embedder.dtype=bfloat16 (GPUs) or "
            "embedder.dtype=float32."
        )
    embedding = embedding_identity(embedder)
    parts = plan_parts(manifest, videos, embedding, embedder.rows_per_part)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / "embed.lock", folder):
            _bring_up_to_date(parts, videos, folder, embedder, embedding, engine)
            _report(parts, folder)
    except OSError as error:
        raise DataError(
            f"The vectors in {folder} cannot be written ({error.strerror or error}): fix that and repeat the command; "
            "it resumes where it stopped."
        ) from error
    return folder


def vectors_identity(embedding: Identity, parts: Sequence[Part]) -> Identity:
    """What decides all vectors of a folder: the embedder and the identity of every part."""
    inputs = {**embedding.inputs, "parts": [part.work.name for part in parts]}
    return dataclasses.replace(embedding, step="embeddings", inputs=inputs)


def _bring_up_to_date(
    parts: Sequence[Part], videos: Path, folder: Path, config: EmbedderConfig, embedding: Identity, engine: str
) -> None:
    work = vectors_identity(embedding, parts)
    states = [part_state(folder, part, videos) for part in parts]
    info = read_record(folder / INFO_FILE)
    if all(state.is_done for state in states) and info.get("fingerprint") == work.name:
        return
    _check_settings(parts, folder, config)
    _report_changes(states)
    done = [part for part, state in zip(parts, states, strict=True) if state.is_done]
    clear_stale(folder, done)
    _embed(parts, done, videos, folder, config, engine)
    _finish(parts, folder, config, work)


def _check_settings(parts: Sequence[Part], folder: Path, config: EmbedderConfig) -> None:
    """Refuse to replace vectors of other settings if they may have taken days; those of the demo take seconds."""
    changes = next((found for part in parts if (found := other_settings(folder, part))), None)
    if changes is None:
        return
    differing = "; ".join(map(_difference, changes))
    if config.protects_vectors:
        raise ConfigError(
            f"{folder} holds vectors of other settings ({differing}): give the new ones another name "
            "(embedder.name=NAME), or replace the existing ones (embedder.replace=true)."
        )
    log.warning("The vectors in %s are made again, because their settings differ (%s).", folder, differing)


def _difference(change: Change) -> str:
    key = change.key.removeprefix("settings.").removeprefix("inputs.model.")
    return f"{key} is {change.before}, wanted {change.now}"


def _report_changes(states: Sequence[PartState]) -> None:
    replaced = [video_id for state in states for video_id in state.replaced]
    if replaced:
        named = ", ".join(replaced[:_NAMED]) + (", ..." if len(replaced) > _NAMED else "")
        num_parts = sum(bool(state.replaced) for state in states)
        log.warning(
            "%d video files have changed since they were embedded (%s): %d parts are made again.",
            len(replaced), named, num_parts,
        )  # fmt: skip
    if damaged := sum(state.is_damaged for state in states):
        log.warning("%d parts differ from what was written (by their checksums): they are made again.", damaged)


def _embed(
    parts: Sequence[Part], done: Sequence[Part], videos: Path, folder: Path, config: EmbedderConfig, engine: str
) -> None:
    finished = {part.index for part in done}
    todo = [part for part in parts if part.index not in finished]
    if not todo:
        return
    total = sum(len(part.records) for part in parts)
    with Progress("vectors", total, "videos", done_before=sum(len(part.records) for part in done)) as bar:
        embed_parts(todo, videos, folder, config, engine, bar)


def _finish(parts: Sequence[Part], folder: Path, config: EmbedderConfig, work: Identity) -> None:
    """Write `quarantine.json` and `embeddings.json`."""
    problems = [row for part in parts for row in left_out(folder, part)]
    num_videos = sum(len(part.records) for part in parts)
    if len(problems) == num_videos:
        detail = f": {problems[0].reason}" if problems else ""
        raise DataError(f"None of {num_videos} videos could be embedded{detail}.")
    write_record(folder / QUARANTINE_FILE, {"videos": [asdict(row) for row in problems]})
    info = {
        "embedder": config.name,
        **work.inputs["model"],
        **_preprocessing(config),
        "dim": _dim(vector_parts(folder)[0]),
        "videos": num_videos - len(problems),
        "left_out": len(problems),
        "versions": {name: version(name) for name in ("torch", "transformers", "av")},
        "config": asdict(config),
        "fingerprint": work.name,
    }
    write_vectors_info(folder, info | made_by(work))


def _preprocessing(config: EmbedderConfig) -> dict[str, Any]:
    """How the frames were made, in words for the readers of `embeddings.json`."""
    return {
        "num_frames": config.num_frames,
        "image_size": config.image_size,
        "sampling": "middle_of_segments",
        "resize": "bicubic, antialiased" if config.antialias else "bicubic",
        "reader": actual_reader(config.reader),
    }


def _dim(part: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_schema(part).field("vector").type.list_size)


def _report(parts: Sequence[Part], folder: Path) -> None:
    problems = Counter(row.status for part in parts for row in left_out(folder, part))
    num_videos = sum(len(part.records) for part in parts) - problems.total()
    text = f"vectors: {num_videos} videos"
    if problems:
        counts = ", ".join(f"{count} {status}" for status, count in problems.most_common())
        text += f"; left out: {counts} (reasons in {folder / QUARANTINE_FILE})"
    log.info(text)
