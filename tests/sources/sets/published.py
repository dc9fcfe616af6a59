"""Annotation files of published datasets for tests, and what a scan makes of them."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import VideoRecord, read_manifest
from sg.core.files import read_json
from sg.sources.config import AnnotatedDataConfig
from sg.sources.manifests import scan

WEBVID = ("videoid", "name", "page_idx", "page_dir", "duration", "contentUrl")
KINETICS = ("label", "youtube_id", "time_start", "time_end", "split", "is_cc")
WriteFile = Callable[..., Path]


def settings(kind: type[AnnotatedDataConfig], tmp_path: Path, **values: Any) -> Any:
    given = {"dir": str(tmp_path / "work"), "videos": str(tmp_path / "videos"), "annotations": str(tmp_path / "notes")}
    return kind(**({"name": "set", "workers": 1} | given | values))


def table(path: Path, header: tuple[str, ...], *rows: tuple[Any, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        csv.writer(stream, lineterminator="\r\n").writerows([header, *rows])
    return path


def lines(path: Path, *values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = (value if isinstance(value, str) else json.dumps(value) for value in values)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def scanned(config: AnnotatedDataConfig) -> dict[str, VideoRecord]:
    return {row.video_id: row for row in read_manifest(scan(config)).records()}


def report(tmp_path: Path) -> dict[str, Any]:
    value: dict[str, Any] = read_json(tmp_path / "work" / "scan_report.json")
    return value
