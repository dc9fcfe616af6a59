"""Whether an existing manifest is still the right one, and what a manifest records of its origin."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import read_manifest, write_manifest
from sg.artefacts.tables import read_info
from sg.core.identity import Identity, made_by, settings_of
from sg.sources.config import DataConfig


def rows_settings(config: DataConfig) -> dict[str, Any]:
    """The settings that decide the rows of a manifest, as plain data.

    These are the name and the fields that the source's own class adds. The other fields of `DataConfig` say what a
    study does with the rows (scale, control), or where files are on this machine.
    """
    of_studies = {field.name for field in fields(DataConfig)} - {"name"}
    counted: dict[str, Any] = settings_of(config)
    return {key: value for key, value in counted.items() if key not in of_studies}


def manifest_info(path: Path, source: str, videos: Path, work: Identity) -> dict[str, Any]:
    """What every manifest at `path` records: its source, the folder of its video files, and its identity."""
    return {"source": source, "videos": _place(path, videos), "fingerprint": work.name, **made_by(work)}


def recorded_videos(path: Path, info: dict[str, Any]) -> Path:
    """The folder of the video files of the manifest at `path`; beside the manifest where nothing is recorded."""
    return (path.parent / str(info.get("videos") or "videos")).resolve()


def is_current(path: Path, videos: Path, work: Identity) -> bool:
    """Whether the manifest at `path` is the result of `work`.

    The rows name files relative to `videos`, so they stay valid when that folder is moved. Then only the recorded path
    of the folder is updated, because a mix finds the files by it.
    """
    info = read_info(path)
    if info.get("fingerprint") != work.name:
        return False
    if info.get("videos") != _place(path, videos):
        write_manifest(path, read_manifest(path).records(), {**info, "videos": _place(path, videos)})
    return True


def _place(path: Path, videos: Path) -> str:
    """`videos` relative to the manifest's folder where it is inside of it, so that both can be moved together."""
    folder, inside = path.parent.resolve(), videos.resolve()
    return os.path.relpath(inside, folder) if inside.is_relative_to(folder) else str(inside)
