"""Whether an existing manifest is still the right one, and what a manifest records of its origin."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import read_manifest, write_manifest
from sg.artefacts.tables import read_info
from sg.core.errors import ConfigError
from sg.core.identity import Identity, made_by, recorded, settings_of
from sg.core.places.mirror import address_of
from sg.sources.config import DataConfig


def rows_settings(config: DataConfig) -> dict[str, Any]:
    """The settings that decide the rows of a manifest, as plain data.

    These are the name and the fields that the source's own class adds. The other fields of `DataConfig` say what a
    study does with the rows (scale, control), or where files are on this machine.
    """
    of_studies = {field.name for field in fields(DataConfig)} - {"name"}
    counted: dict[str, Any] = settings_of(config)
    return {key: value for key, value in counted.items() if key not in of_studies}


def manifest_info(path: Path, source: str, videos: Path, work: Identity, **texts: str | None) -> dict[str, Any]:
    """What every manifest at `path` records: its source, the places of its videos and `texts`, and its identity."""
    info = {"source": source, "videos": _place(path, videos), "fingerprint": work.name, **made_by(work)}
    return info | {key: _absolute(file) for key, file in texts.items()}


def check_same_data(path: Path, videos: Path, work: Identity, **texts: str | None) -> None:
    """Refuse to replace the manifest at `path` by that of other data of the same name, which runs may be reading.

    Data is the same where the videos, and each of `texts`, have the recorded place or the recorded content. So clips
    may be added, texts may be corrected, and all of it may be moved.

    Args:
        work: the identity of the scan; its inputs are named `files` and like the `texts`.
        texts: the values of settings that name files with texts, by the name of the setting.

    Raises:
        ConfigError: the manifest is that of other data.
    """
    info = read_info(path)
    before = recorded(info)
    if before is None:
        return
    places = {"videos": (_place(path, videos), "files")} | {key: (_absolute(file), key) for key, file in texts.items()}
    for key, (place, content) in places.items():
        known = info.get(key)
        if known and known != place and before.inputs.get(content) != work.inputs.get(content):
            raise ConfigError(
                f"{path.parent} holds the data of data.{key}={known}, but now data.{key}={place}: give this data a "
                f"name of its own, such as data.name=NAME. If it is the same data in another place, delete {path}."
            )


def is_current(path: Path, videos: Path, work: Identity, **texts: str | None) -> bool:
    """Whether the manifest at `path` is the result of `work`.

    The rows name files relative to `videos`, so they stay valid when that folder is moved. Then only the recorded path
    of the folder is updated, because a mix finds the files by it, and those of `texts`.
    """
    info = read_info(path)
    if info.get("fingerprint") != work.name:
        return False
    places = {"videos": _place(path, videos)} | {key: _absolute(file) for key, file in texts.items()}
    if any(info.get(key) != place for key, place in places.items()):
        write_manifest(path, read_manifest(path).records(), {**info, **places})
    return True


def _place(path: Path, videos: Path) -> str:
    """`videos` relative to the manifest's folder where it is inside of it, so that both can be moved together.

    Elsewhere it is the address that `videos` stands for, if it stands for one.
    """
    folder, inside = path.parent.resolve(), videos.resolve()
    return os.path.relpath(inside, folder) if inside.is_relative_to(folder) else address_of(videos) or str(inside)


def _absolute(file: str | None) -> str | None:
    return None if file is None else address_of(Path(file)) or str(Path(file).absolute())
