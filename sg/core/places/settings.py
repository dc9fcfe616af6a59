"""Settings that name places: an address among them becomes the local folder that mirrors it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sg.core.places.mirror import LARGE, fetch, mirrored, places, push
from sg.core.places.store import is_address

_FOLDERS = ("paths.work", "paths.runs", "paths.demo_world")
_LAST_WORDS = frozenset({"dir", "captions", "annotations", "dialogs", "folder", "predictions", "judged"})
"""Last words of the settings that name files and folders, such as `data.captions`."""
_BY_RANGES = frozenset({"videos", "media"})
"""Last words of the settings that name folders of video files, which are not copied but read by ranges."""
_OF_SERVICES = ("gs://", "https://", "http://")
"""Addresses of videos that a captioning service reads itself (`data.videos`); `DataConfig.videos_folder` reads them."""


def local_place(key: str, value: str) -> str:
    """The value of the setting `key` with a local path instead of an address; other values unchanged.

    Raises:
        ConfigError: the address cannot be used.
    """
    if not is_address(value):
        return value
    last = key.rpartition(".")[2]
    is_of_service = key == "data.videos" and value.startswith(_OF_SERVICES)
    if key in _FOLDERS or last in _LAST_WORDS or (last in _BY_RANGES and not is_of_service):
        return str(mirrored(value, key, copied=last not in _BY_RANGES))
    return value


def recorded_place(key: str, value: str) -> Path:
    """The local path of a place that an artefact recorded: a path, or an address, whose file is then fetched.

    Raises:
        ConfigError: the address cannot be used.
        DataError: it cannot be read.
    """
    path = Path(local_place(key, value))
    fetch(path, LARGE)
    return path


def receive() -> None:
    """Bring the mirrors of this process up to date, except large folders.

    Raises:
        DataError: an address cannot be read.
    """
    for folder in places():
        fetch(folder, LARGE)


def send() -> None:
    """Copy what this process and its children wrote to the addresses of the mirrors.

    Raises:
        DataError: an address cannot be written.
    """
    if os.environ.get("LOCAL_RANK", "0") == "0":
        for folder in places():
            push(folder)


@contextlib.contextmanager
def in_step() -> Iterator[None]:
    """`receive` before the block and `send` after it, also if it fails."""
    receive()
    try:
        yield
    finally:
        send()
