"""captioner=imported: the published ShareGemini captions of the videos of a manifest; needs no service and no key."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from sg.artefacts.captions import CaptionRecord, captions_place, write_captions
from sg.artefacts.manifest import Manifest
from sg.caption.captioners import CAPTIONERS, Captioner, CaptionerConfig, captions_info
from sg.caption.cleaning import clean_caption
from sg.core.content import file_content
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.identity import NOT_IDENTITY, identity
from sg.sources.config import DataConfig
from sg.sources.scan.items import Problem
from sg.sources.scan.records import read_records
from sg.sources.scan.texts import BadRecord
from sg.sources.sets.sharegemini import PublishedCaption, published_caption, read_name_map

log = logging.getLogger(__name__)
PUBLISHED_MODEL = "gemini-1.5-pro"
"""The model that wrote them. It was switched off in September 2025: they can be replaced, but not made again."""
IMPORT_VERSION = 1
"""Raised when the same published file and manifest would give other captions."""


@dataclass
class ImportedCaptionerConfig(CaptionerConfig):
    """Captions that `python -m sg.caption import` read from a published file."""

    name: str = field(default="imported", metadata=NOT_IDENTITY)


@CAPTIONERS.register("imported", ImportedCaptionerConfig)
class ImportedCaptioner(Captioner):
    """The captions of an earlier `python -m sg.caption import`."""

    def captions(self, data: DataConfig) -> Path:
        """The path of the imported captions.

        Raises:
            MissingInputError: no file has been imported.
        """
        path = data.captions_path(self.config.name)
        if not path.is_file():
            raise MissingInputError(
                f"There are no captions {path}: python -m sg.caption import data={data.name} source=FILE reads a "
                "published file."
            )
        return path


def import_published(source: Path, name_map: Path | None, manifest: Manifest, out: Path) -> Path:
    """Write the captions of a published file for the videos of a manifest to `out`, and return `out`.

    A record belongs to the video whose id, path, file name or file name without suffix it names, or, for WebVid, whose
    number the name map has for its name.

    Raises:
        MissingInputError: a file is missing.
        DataError: no record belongs to a video of the manifest.
        ConfigError: `out` holds the captions of another file.
    """
    if not source.is_file():
        raise MissingInputError(f"There is no published caption file {source}: give one that exists with source=FILE.")
    inputs = {"file": file_content(source)}
    recipe = identity("captions", settings=ImportedCaptionerConfig(), inputs=inputs, version=IMPORT_VERSION)
    numbers = {} if name_map is None else read_name_map(name_map)
    counts: Counter[str] = Counter()
    rows = list(_rows(source, _ids_by_name(manifest), numbers, counts))
    if not rows:
        raise DataError(
            f"None of the {counts['missing']:,} records of {source} belongs to a video of the manifest: for WebVid "
            "give the published name map too, name_map=webvid_videoname2id.json."
        )
    if captions_place(out.parent, recipe, for_writing=True) != out:
        raise ConfigError(
            f"{out} holds the captions of another file: give those of {source.name} a name, "
            "captioner=imported captioner.name=NAME, and train with the same two settings."
        )
    problems = "".join(f", {count:,} {why}" for why, count in counts.items())
    log.info("imported %s captions of %s%s", f"{len(rows):,}", source.name, problems)
    inputs |= {"manifest": manifest.content_hash} | ({} if name_map is None else {"name_map": file_content(name_map)})
    info = captions_info(replace(recipe, inputs=inputs), recipe, "sharegemini", manifest.content_hash)
    write_captions(out, rows, info | {"file": source.name, "model": PUBLISHED_MODEL})
    return out


def _rows(
    source: Path, ids_by_name: Mapping[str, str], numbers: Mapping[str, str], counts: Counter[str]
) -> Iterator[CaptionRecord]:
    """One caption per video; records without one are counted in `counts` by their reason."""
    taken: set[str] = set()
    for entry in read_records(source):
        record = entry if isinstance(entry, BadRecord) else published_caption(entry)
        if isinstance(record, (BadRecord, Problem)):
            counts[record.reason.split(" (")[0]] += 1
            continue
        video_id = _find(record, ids_by_name, numbers)
        text, flags = clean_caption(record.caption)
        if video_id is None:
            counts["missing"] += 1
        elif video_id in taken:
            counts["second captions of a video"] += 1
        elif text:
            taken.add(video_id)
            parameters = json.dumps({"question": record.question, "status": "imported"}, sort_keys=True)
            yield CaptionRecord(
                video_id, text, model=PUBLISHED_MODEL, parameters=parameters, quality_flags=(*flags, "imported")
            )


def _find(record: PublishedCaption, ids_by_name: Mapping[str, str], numbers: Mapping[str, str]) -> str | None:
    number = numbers.get(record.stem) or numbers.get(record.record_id)
    names = (number, record.video, PurePosixPath(record.video).name, record.stem, record.record_id)
    return next((ids_by_name[name] for name in names if name and name in ids_by_name), None)


def _ids_by_name(manifest: Manifest) -> dict[str, str]:
    """Video ids by every name that may stand for the video; a name that two videos share is left out."""
    ids: dict[str, str] = {}
    shared: set[str] = set()
    for record in manifest.usable().records():
        path = PurePosixPath(record.path)
        bare = record.video_id.removeprefix(f"{record.source}-")
        for name in {record.video_id, bare, record.path, path.name, path.stem}:
            if ids.setdefault(name, record.video_id) != record.video_id:
                shared.add(name)
    return {name: video_id for name, video_id in ids.items() if name not in shared}
