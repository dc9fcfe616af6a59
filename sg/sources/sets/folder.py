"""Any folder of video files, with a caption file: one row per video, also for videos that cannot be used."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import OK, VideoRecord, write_manifest
from sg.artefacts.names import check_relative_path, safe_video_id
from sg.artefacts.tables import read_info
from sg.core.content import file_content
from sg.core.errors import DataError, MissingInputError
from sg.core.files import file_lock
from sg.core.identity import NOT_IDENTITY, Identity, identity
from sg.sources.config import ScannedDataConfig
from sg.sources.files.disk import Listing, VideoFile, list_files
from sg.sources.files.probing import probe_files
from sg.sources.registry import SOURCES
from sg.sources.scan.caption_files import CaptionFile, read_caption_file
from sg.sources.scan.current import is_current, manifest_info, rows_settings

log = logging.getLogger(__name__)

FOLDER_VERSION = 4
"""To be raised when the same folder would give other rows than before."""
UNSAFE_PATH = "unsafe_path"
AMBIGUOUS = "ambiguous"
MISSING = "missing"


@dataclass
class FolderDataConfig(ScannedDataConfig):
    """Any folder of video files, with captions in a CSV, JSONL or JSON file.

    Attributes:
        captions: the caption file; null for videos without captions.
        video_column: column or key that names the video; null finds one of the usual names.
        caption_column: column or key of the text; null finds one of the usual names.
    """

    captions: str | None = field(default=None, metadata=NOT_IDENTITY)
    video_column: str | None = None
    caption_column: str | None = None

    @property
    def is_made_on_the_way(self) -> bool:
        """Always: folders of people's own videos are small."""
        return True

    @property
    def has_current_manifest(self) -> bool:
        """Never: the folder is compared with the manifest each time."""
        return False

    def manifest_identity(self) -> Identity:
        """The identity of a scan of the folder as it is now."""
        return _identity(self, list_files(Path(self.videos)), self.captions)

    def missing_files(self) -> Iterator[tuple[str, str]]:
        """The folder of videos, and the caption file where one is named."""
        yield from super().missing_files()
        if self.captions and not Path(self.captions).is_file():
            yield f"captions: there is no file {self.captions}", "data.captions=FILE"


@dataclass(slots=True)
class _Matches:
    """Captions by file name, rows for captions without a file, and counts of captions that were left out."""

    captions: dict[str, str] = field(default_factory=dict)
    rows: list[VideoRecord] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@SOURCES.register("folder", FolderDataConfig)
def scan_folder(config: FolderDataConfig) -> Path:
    """Make the manifest of a folder of video files, or keep it when nothing has changed; returns its path.

    Every file is a row, unreadable ones with a status and a reason. Every caption whose file is missing is a row, too.
    A scan after an interrupted one opens only the remaining files.

    Raises:
        MissingInputError: the folder or the caption file does not exist, or the folder holds no video file.
        ConfigError, DataError: the caption file has another form.
    """
    videos, path = Path(config.videos), config.manifest_path
    if not videos.is_dir():
        raise MissingInputError(f"There is no folder {videos}: give the folder of your videos with data.videos=DIR.")
    captions = None if config.captions is None else Path(config.captions)
    texts = read_caption_file(captions, config.video_column, config.caption_column) if captions else CaptionFile()
    listing = list_files(videos)
    if not listing.files:
        raise MissingInputError(
            f"The folder {videos} holds no video files (their names end in .mp4, .mkv, .webm, ...)."
        )
    work = _identity(config, listing, captions)
    with file_lock(path.with_suffix(".lock")):
        if not is_current(path, videos, work):
            matches = _match(texts, listing.files)
            rows = [*_file_rows(videos, listing.files, matches, config), *matches.rows]
            report = _report(rows, matches, texts)
            write_manifest(path, rows, {**manifest_info(path, "folder", videos, work), "report": report})
            if captions:
                log.info(f"{captions.name}: {texts.summary()}")
    _log_report(read_info(path)["report"])
    return path


def _identity(config: FolderDataConfig, listing: Listing, captions: Path | str | None) -> Identity:
    inputs = {"files": listing.state, "captions": file_content(Path(captions)) if captions else None}
    return identity("folder scan", settings=rows_settings(config), inputs=inputs, version=FOLDER_VERSION)


def _match(texts: CaptionFile, files: list[VideoFile]) -> _Matches:
    """Find the file of each caption: by path, by path without suffix, by file name, by file name without suffix."""
    places: list[dict[str, list[str]]] = [defaultdict(list) for _ in range(4)]
    for file in files:
        relative = Path(file.name)
        names = (file.name, relative.with_suffix("").as_posix(), relative.name, relative.stem)
        for place, name in zip(places, names, strict=True):
            place[name].append(file.name)
    matches = _Matches()
    for entry in texts.entries:
        wanted = entry.video.removeprefix("./")
        names = (wanted, wanted, Path(wanted).name, Path(wanted).name)
        found = next((place[name] for place, name in zip(places, names, strict=True) if name in place), [])
        if len(found) == 1 and found[0] not in matches.captions:
            matches.captions[found[0]] = entry.caption
        elif len(found) == 1:
            matches.counts["second caption of a video"] += 1
        else:
            matches.rows.append(_row_without_file(entry.video, entry.caption, len(found)))
    matches.rows = _unique(matches)
    return matches


def _row_without_file(video: str, caption: str, num_found: int) -> VideoRecord:
    row = VideoRecord(safe_video_id(f"missing:{video}"), "folder", "", original_caption=_plain(caption))
    if num_found:
        return replace(row, status=AMBIGUOUS, reason=f"{num_found} files have the name {video[:80]!r}")
    try:
        check_relative_path(video)
    except DataError:
        return replace(
            row, status=UNSAFE_PATH, reason=f"the caption names {video[:80]!r}, which is not a plain relative path"
        )
    return replace(row, status=MISSING, reason=f"there is no file {video[:80]!r} in the folder")


def _unique(matches: _Matches) -> list[VideoRecord]:
    """The rows of captions without a file; of several rows with one video id, the first."""
    rows = {row.video_id: row for row in reversed(matches.rows)}
    matches.counts["second caption of a video"] += len(matches.rows) - len(rows)
    return list(reversed(rows.values()))


def _file_rows(
    videos: Path, files: list[VideoFile], matches: _Matches, config: FolderDataConfig
) -> Iterator[VideoRecord]:
    stems = Counter(Path(file.name).with_suffix("").as_posix() for file in files)
    outcomes = probe_files(videos, files, Path(config.dir) / "scan.jsonl", config.workers, config.timeout_s)
    for file, (status, reason, values) in zip(files, outcomes, strict=True):
        stem = Path(file.name).with_suffix("").as_posix()
        name = stem if stems[stem] == 1 else file.name
        yield VideoRecord(
            video_id=safe_video_id(name),
            source="folder",
            path=file.path,
            original_caption=_plain(matches.captions.get(file.name, "")),
            status=status,
            reason=reason,
            extra=json.dumps({"bytes": file.size}),
            **values,
        )


def _plain(text: str) -> str:
    """`text` in a form that can be stored: JSON may hold halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode()


def _report(rows: list[VideoRecord], matches: _Matches, texts: CaptionFile) -> dict[str, Any]:
    folded = Counter(row.video_id.casefold() for row in rows)
    return {
        "videos": sum(row.status == OK for row in rows),
        "captioned": sum(row.status == OK and bool(row.original_caption) for row in rows),
        "unusable": dict(Counter(row.status for row in rows if row.status != OK)),
        "captions_left_out": {key: count for key, count in (texts.problems + matches.counts).items() if count},
        "ids_that_differ_in_case_only": sum(count for count in folded.values() if count > 1),
    }


def _log_report(report: dict[str, Any]) -> None:
    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))

    text = f"folder: {report['videos']} usable videos, {report['captioned']} with a caption"
    if report["unusable"]:
        text += f"; left out: {listed(report['unusable'])}"
    if report["captions_left_out"]:
        text += f"; captions left out: {listed(report['captions_left_out'])}"
    log.info(text)
