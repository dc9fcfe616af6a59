"""captioner=imported: the published ShareGemini captions of the videos of a manifest; needs no service and no key."""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sg.artefacts.captions import CaptionRecord, captions_place, write_captions
from sg.artefacts.manifest import Manifest, VideoRecord
from sg.caption.captioners import CAPTIONERS, Captioner, CaptionerConfig, captions_info
from sg.caption.cleaning import clean_caption
from sg.core.content import file_content
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.identity import NOT_IDENTITY, identity
from sg.sources.config import DataConfig
from sg.sources.files.disk import VideoFile
from sg.sources.records.reading import read_records
from sg.sources.records.texts import BadRecord
from sg.sources.registry import data_words
from sg.sources.scan.caption_files import CaptionEntry
from sg.sources.scan.caption_matching import AMBIGUOUS, match_captions
from sg.sources.scan.items import Problem, named_range, range_key
from sg.sources.sets.sharegemini import PublishedCaption, published_caption, read_name_map

log = logging.getLogger(__name__)
_SECOND = "second captions of a video"
PUBLISHED_MODEL = "gemini-1.5-pro"
"""The model that wrote them. It was switched off in September 2025: they can be replaced, but not made again."""
IMPORT_VERSION = 2
"""Raised when the same published file and manifest would give other captions."""


@dataclass
class ImportedCaptionerConfig(CaptionerConfig):
    """Captions that `python -m sg.caption import` read from a published file."""

    name: str = field(default="imported", metadata=NOT_IDENTITY)


@CAPTIONERS.register("imported", ImportedCaptionerConfig)
class ImportedCaptioner(Captioner):
    """The captions of an earlier `python -m sg.caption import`."""

    def captions(self, data: DataConfig) -> Path:
        """The path of the imported captions; MissingInputError if no file has been imported."""
        path = data.captions_path(self.config.name)
        if not path.is_file():
            raise MissingInputError(
                f"There are no captions {path}: python -m sg.caption import {data_words(data)} source=FILE reads "
                "a published file."
            )
        return path


def import_published(source: Path, name_map: Path | None, manifest: Manifest, out: Path) -> Path:
    """Write the captions of a published file for the videos of a manifest to `out`, and return `out`.

    A record belongs to the video whose id, number of WebVid (also by the name map) or time range of Kinetics it names,
    or else whose path, or the end of it, it names alone.

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
    rows = list(_rows(source, manifest, numbers, counts))
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
    problems = "".join(f", {count:,} {why}" for why, count in counts.items() if count)
    log.info("imported %s captions of %s%s", f"{len(rows):,}", source.name, problems)
    inputs |= {"manifest": manifest.content_hash} | ({} if name_map is None else {"name_map": file_content(name_map)})
    info = captions_info(replace(recipe, inputs=inputs), recipe, "sharegemini", manifest.content_hash)
    write_captions(out, rows, info | {"file": source.name, "model": PUBLISHED_MODEL})
    return out


def _rows(
    source: Path, manifest: Manifest, numbers: Mapping[str, str], counts: Counter[str]
) -> Iterator[CaptionRecord]:
    """One caption per video; records without one are counted in `counts` by their reason."""
    videos = list(manifest.usable().records())
    ids = _certain_ids(videos)
    found: dict[str, PublishedCaption] = {}
    by_name: dict[str, list[PublishedCaption]] = defaultdict(list)
    for entry in read_records(source):
        record = entry if isinstance(entry, BadRecord) else published_caption(entry)
        if isinstance(record, (BadRecord, Problem)):
            counts[record.reason.split(" (")[0]] += 1
        elif (video_id := next(filter(None, map(ids.get, _certain_names(record, numbers))), None)) is None:
            by_name[record.video].append(record)
        elif found.setdefault(video_id, record) is not record:
            counts[_SECOND] += 1
    for video_id, record in _matched(by_name, videos, counts):
        if found.setdefault(video_id, record) is not record:
            counts[_SECOND] += 1
    for video_id, record in found.items():
        text, flags = clean_caption(record.caption)
        if text:
            parameters = json.dumps({"question": record.question, "status": "imported"}, sort_keys=True)
            yield CaptionRecord(
                video_id, text, model=PUBLISHED_MODEL, parameters=parameters, quality_flags=(*flags, "imported")
            )
        else:
            counts["nothing left of the caption"] += 1


def _certain_ids(videos: Iterable[VideoRecord]) -> dict[str, str]:
    """Video ids by the texts that name this video alone: the id, and the number of a video of WebVid."""
    ids = {}
    for video in videos:
        ids[video.video_id] = video.video_id
        if video.source == "webvid":
            ids[f"webvid-{video.video_id.removeprefix('webvid-')}"] = video.video_id
    return ids


def _certain_names(record: PublishedCaption, numbers: Mapping[str, str]) -> Iterator[str]:
    yield record.video
    for number in (numbers.get(record.stem), numbers.get(record.record_id), record.stem):
        if number and number.isdigit():
            yield f"webvid-{number}"
    if part := named_range(record.stem):
        yield f"kinetics400-{range_key(*part)}"


def _matched(
    by_name: Mapping[str, Sequence[PublishedCaption]], videos: Iterable[VideoRecord], counts: Counter[str]
) -> Iterator[tuple[str, PublishedCaption]]:
    """Yield video id and record of names that are the path of a video, or the end of one, as `data=folder` compares.

    Names of WebVid are not unique: several captions of one name may be of several videos.
    """
    entries = []
    for name, records in by_name.items():
        if len({record.caption for record in records}) > 1:
            counts["ambiguous"] += len(records)
        else:
            entries.append(CaptionEntry(name, records[0].caption))
            counts[_SECOND] += len(records) - 1
    ids = {video.path: video.video_id for video in videos}
    matches = match_captions(entries, [VideoFile(path, path, 0, 0) for path in ids])
    counts[_SECOND] += matches.num_second
    statuses = matches.statuses()
    counts["ambiguous"] += statuses.pop(AMBIGUOUS, 0)
    counts["missing"] += statuses.total()
    yield from ((ids[path], by_name[entry.video][0]) for path, entry in matches.captions.items())
