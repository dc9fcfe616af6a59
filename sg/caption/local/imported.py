"""Published ShareGemini captions as this project's captions: no service, no key, and the core-100k trains."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.manifest import Manifest
from sg.caption.cleaning import clean_caption
from sg.core.errors import DataError, MissingInputError
from sg.sources.scan.items import Problem
from sg.sources.scan.records import BadRecord, read_records
from sg.sources.sets.sharegemini import PublishedCaption, published_caption, read_name_map

log = logging.getLogger(__name__)
MODEL = "gemini-1.5-pro"
"""What wrote them; it was switched off in September 2025, so they can be replaced but not made again."""


def import_published(source: Path, name_map: Path | None, manifest: Manifest, out: Path) -> Path:
    """Write the captions of a published file for the clips of a manifest; gives their path.

    A record's clip is found by its path, its file name, its name without suffix, its id, or, for WebVid, the number
    that the name map gives for its name.

    Raises:
        MissingInputError: a file is missing.
        DataError: no record belongs to a clip of the manifest.
    """
    if not source.is_file():
        raise MissingInputError(f"There is no published caption file {source}: give one that exists with source=FILE.")
    numbers = {} if name_map is None else read_name_map(name_map)
    places = _places(manifest)
    counts: Counter[str] = Counter()
    rows = list(_rows(source, places, numbers, counts))
    if not rows:
        raise DataError(
            f"None of the {counts['missing']:,} records of {source} belongs to a clip of the manifest: for WebVid give "
            "the published name map too, name_map=webvid_videoname2id.json."
        )
    problems = "".join(f", {count:,} {why}" for why, count in counts.items())
    log.info("imported %s captions of %s%s", f"{len(rows):,}", source.name, problems)
    info = {"captioner": "sharegemini", "manifest": manifest.content_hash, "file": source.name, "model": MODEL}
    write_captions(out, rows, info)
    return out


def _rows(
    source: Path, places: Mapping[str, str], numbers: Mapping[str, str], counts: Counter[str]
) -> Iterator[CaptionRecord]:
    taken: set[str] = set()
    for entry in read_records(source):
        record = entry if isinstance(entry, BadRecord) else published_caption(entry)
        if isinstance(record, (BadRecord, Problem)):
            counts[record.reason.split(" (")[0]] += 1
            continue
        video_id = _find(record, places, numbers)
        text, flags = clean_caption(record.caption)
        if video_id is None:
            counts["missing"] += 1
        elif video_id in taken:
            counts["second captions of a clip"] += 1
        elif text:
            taken.add(video_id)
            parameters = json.dumps({"question": record.question, "status": "imported"}, sort_keys=True)
            yield CaptionRecord(video_id, text, model=MODEL, parameters=parameters, quality_flags=(*flags, "imported"))


def _find(record: PublishedCaption, places: Mapping[str, str], numbers: Mapping[str, str]) -> str | None:
    number = numbers.get(record.stem) or numbers.get(record.record_id)
    names = (number, record.video, PurePosixPath(record.video).name, record.stem, record.record_id)
    return next((places[name] for name in names if name and name in places), None)


def _places(manifest: Manifest) -> dict[str, str]:
    """Video ids by everything that may name a clip; a name that two clips share names none."""
    places: dict[str, str] = {}
    shared: set[str] = set()
    for record in manifest.usable().records():
        path = PurePosixPath(record.path)
        bare = record.video_id.removeprefix(f"{record.source}-")
        for name in {record.video_id, bare, record.path, path.name, path.stem}:
            if places.setdefault(name, record.video_id) != record.video_id:
                shared.add(name)
    return {name: video_id for name, video_id in places.items() if name not in shared}
