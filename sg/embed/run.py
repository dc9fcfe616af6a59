"""Embedding a whole manifest, resumable part by part."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import read_manifest
from sg.artefacts.vectors import INFO_FILE, vector_parts, write_vectors_info
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import file_lock, read_json, write_json
from sg.core.fingerprints import fingerprint
from sg.core.progress import Progress
from sg.embed.config import EmbedderConfig, PublishedEmbedderConfig
from sg.embed.embedders import build_embedder, identity
from sg.embed.films import check_folder
from sg.embed.parts import Part, PartState, clear_stale, left_out, other_settings, part_state, plan_parts
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
    """Make a vector for every usable video of the data, or leave those that are there; gives their folder.

    `manifest_path` defaults to the data's own manifest, which is made when it is missing, `out_path` to the place of
    this embedder's vectors. A run that was cut off goes on at the part it was at and gives the same bytes, whatever the
    engine. Films that cannot be embedded are left out and listed in `quarantine.json` with their reasons.

    Raises:
        MissingInputError: there is no manifest, no folder of films, or no weights.
        DataError: not one film could be embedded, the films cannot be read, or the folder cannot be written.
        ConfigError: the folder holds vectors of other settings, or the engine is not installed.
    """
    manifest = read_manifest(manifest_path or make_manifest(data))
    videos, folder = Path(data.videos), out_path or data.vectors_folder(embedder.name)
    if not videos.is_dir():
        raise MissingInputError(f"There is no folder of films {videos}: give it with data.videos=DIR.")
    check_folder(videos)
    if engine == "ray":
        from sg.embed.ray_engine import check_ray

        check_ray(embedder)
    who = identity(embedder)
    parts = plan_parts(manifest, videos, who, embedder.rows_per_part)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / "embed.lock"):
            _bring_up_to_date(parts, videos, folder, embedder, engine)
            _tell(parts, folder)
    except OSError as error:
        raise DataError(
            f"The vectors in {folder} cannot be written ({error.strerror or error}): mend that and repeat the command, "
            "it goes on where it stopped."
        ) from error
    return folder


def _bring_up_to_date(parts: Sequence[Part], videos: Path, folder: Path, embedder: EmbedderConfig, engine: str) -> None:
    made_from = fingerprint([part.made_from for part in parts])
    states = [part_state(folder, part, videos) for part in parts]
    info = folder / INFO_FILE
    if all(state.is_done for state in states) and info.is_file() and read_json(info).get("fingerprint") == made_from:
        return
    _check_settings(parts, folder, embedder)
    _tell_changes(states)
    done = [part for part, state in zip(parts, states, strict=True) if state.is_done]
    clear_stale(folder, done)
    _embed(parts, done, videos, folder, embedder, engine)
    _finish(parts, folder, {**parts[0].settings, "fingerprint": made_from} if parts else {})


def _check_settings(parts: Sequence[Part], folder: Path, embedder: EmbedderConfig) -> None:
    """Refuse to replace vectors of other settings, which may have taken days; those of the demo take seconds."""
    differing = next((found for part in parts if (found := other_settings(folder, part))), None)
    if differing is None:
        return
    told = "; ".join(f"{key} is {before}, wanted {wanted}" for key, (before, wanted) in differing.items())
    if isinstance(embedder, PublishedEmbedderConfig) and not embedder.replace:
        raise ConfigError(
            f"{folder} holds vectors of other settings ({told}): give yours another name (embedder.name=NAME), or "
            "have those made anew (embedder.replace=true)."
        )
    log.warning("The vectors in %s are made anew, because their settings differ (%s).", folder, told)


def _tell_changes(states: Sequence[PartState]) -> None:
    replaced = [video_id for state in states for video_id in state.replaced]
    if replaced:
        named = ", ".join(replaced[:_NAMED]) + (", ..." if len(replaced) > _NAMED else "")
        num_parts = sum(bool(state.replaced) for state in states)
        log.warning(
            "%d films have changed since they were embedded (%s): %d parts are made again.",
            len(replaced), named, num_parts,
        )  # fmt: skip
    if damaged := sum(state.is_damaged for state in states):
        log.warning("%d parts are not as they were written (their checksums differ): they are made again.", damaged)


def _embed(
    parts: Sequence[Part], done: Sequence[Part], videos: Path, folder: Path, config: EmbedderConfig, engine: str
) -> None:
    finished = {part.index for part in done}
    todo = [part for part in parts if part.index not in finished]
    if not todo:
        return
    total = sum(len(part.records) for part in parts)
    with Progress("vectors", total, "videos", done_before=sum(len(part.records) for part in done)) as bar:
        if engine == "ray":
            from sg.embed.ray_engine import embed_parts_on_ray

            embed_parts_on_ray(todo, videos, folder, config, bar)
        else:
            from sg.embed.engine import embed_parts

            embed_parts(todo, videos, folder, config, build_embedder(config), bar)


def _finish(parts: Sequence[Part], folder: Path, info: dict[str, Any]) -> None:
    problems = [row for part in parts for row in left_out(folder, part)]
    num_videos = sum(len(part.records) for part in parts)
    if len(problems) == num_videos:
        detail = f": {problems[0].reason}" if problems else ""
        raise DataError(f"Not one of {num_videos} films could be embedded{detail}.")
    write_json(folder / QUARANTINE_FILE, [asdict(row) for row in problems])
    dim = _dim(vector_parts(folder)[0])
    versions = {name: version(name) for name in ("torch", "transformers", "av")}
    write_vectors_info(
        folder,
        {**info, "dim": dim, "videos": num_videos - len(problems), "left_out": len(problems), "versions": versions},
    )


def _dim(part: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_schema(part).field("vector").type.list_size)


def _tell(parts: Sequence[Part], folder: Path) -> None:
    problems = Counter(row.status for part in parts for row in left_out(folder, part))
    num_videos = sum(len(part.records) for part in parts) - problems.total()
    text = f"vectors: {num_videos} videos"
    if problems:
        counts = ", ".join(f"{count} {status}" for status, count in problems.most_common())
        text += f"; left out: {counts} (reasons in {folder / QUARANTINE_FILE})"
    log.info(text)
