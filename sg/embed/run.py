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
from sg.artefacts.vectors import INFO_FILE, write_vectors_info
from sg.core.errors import DataError, MissingInputError
from sg.core.files import file_lock, read_json, write_json
from sg.core.fingerprints import fingerprint
from sg.core.progress import Progress
from sg.embed.config import EmbedderConfig
from sg.embed.embedders import build_embedder, identity
from sg.embed.parts import Part, clear_stale, is_done, left_out, plan_parts
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

log = logging.getLogger(__name__)

QUARANTINE_FILE = "quarantine.json"


def embed_videos(
    data: DataConfig, embedder: EmbedderConfig, manifest_path: Path | None = None, out_path: Path | None = None
) -> Path:
    """Make a vector for every usable video of the data, or leave those that are there; gives their folder.

    `manifest_path` defaults to the data's own manifest, which is made when it is missing, `out_path` to the place of
    this embedder's vectors. A run that was cut off goes on at the part it was at and gives the same bytes. Films that
    cannot be embedded are left out and listed in `quarantine.json` with their reasons.

    Raises:
        MissingInputError: there is no manifest, no folder of films, or no weights.
        DataError: not one film could be embedded, or the folder cannot be written.
    """
    manifest = read_manifest(manifest_path or make_manifest(data))
    videos, folder = Path(data.videos), out_path or data.vectors_folder(embedder.name)
    if not videos.is_dir():
        raise MissingInputError(f"There is no folder of films {videos}: give it with data.videos=DIR.")
    who = identity(embedder)
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / "embed.lock"):
        parts = plan_parts(manifest, videos, who, embedder.rows_per_part)
        made_from = fingerprint([part.made_from for part in parts])
        if not _is_finished(folder, parts, made_from):
            try:
                _embed(parts, videos, folder, embedder)
                _finish(parts, folder, {**who, "fingerprint": made_from})
            except OSError as error:
                raise DataError(
                    f"The vectors in {folder} cannot be written ({error.strerror or error}): mend that and repeat the "
                    "command, it goes on where it stopped."
                ) from error
        _tell(parts, folder)
    return folder


def _is_finished(folder: Path, parts: Sequence[Part], made_from: str) -> bool:
    info = folder / INFO_FILE
    if not info.is_file() or read_json(info).get("fingerprint") != made_from:
        return False
    return all(is_done(folder, part) for part in parts)


def _embed(parts: Sequence[Part], videos: Path, folder: Path, config: EmbedderConfig) -> None:
    clear_stale(folder, parts)
    todo = [part for part in parts if not is_done(folder, part)]
    total = sum(len(part.records) for part in parts)
    before = total - sum(len(part.records) for part in todo)
    if todo:
        from sg.embed.engine import embed_parts

        embedder = build_embedder(config)
        with Progress("vectors", total, "videos", done_before=before) as bar:
            embed_parts(todo, videos, folder, config, embedder, bar)


def _finish(parts: Sequence[Part], folder: Path, info: dict[str, Any]) -> None:
    from sg.artefacts.vectors import vector_parts

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
