"""Caption files that tests write and read."""

import json
from pathlib import Path
from typing import Any

from sg.sources.scan.caption_files import CaptionEntry, CaptionFile


def written(path: Path, content: str | bytes | list[Any]) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(path: Path, **columns: str) -> tuple[list[CaptionEntry], CaptionFile]:
    file = CaptionFile(path, **columns)
    return list(file.entries()), file


def pairs(path: Path, **columns: str) -> list[tuple[str, str]]:
    return [(entry.video, entry.caption) for entry in read(path, **columns)[0]]


def dialog(video: Any, *turns: tuple[str, Any]) -> dict[str, Any]:
    return {"id": "1", "video": video, "conversations": [{"from": who, "value": text} for who, text in turns]}


def problems(path: Path) -> dict[str, list[str]]:
    entries, file = read(path)
    assert file.rows == len(entries) + file.problems.total()
    return dict(file.examples)
