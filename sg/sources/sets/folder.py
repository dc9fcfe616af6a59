"""Any folder of video files, with a caption file: one row per video, also for videos that cannot be used."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import OK, VideoRecord, write_manifest
from sg.artefacts.names import safe_video_id
from sg.artefacts.tables import read_info
from sg.core.content import file_content
from sg.core.errors import ConfigError, MissingInputError
from sg.core.files import file_lock
from sg.core.identity import NOT_IDENTITY, Identity, identity
from sg.core.places.settings import recorded_place
from sg.sources.config import ScannedDataConfig
from sg.sources.files.disk import Listing, VideoFiles, list_files
from sg.sources.files.probing import outcome_of, probe_files
from sg.sources.registry import SOURCES
from sg.sources.scan.caption_files import CaptionFile
from sg.sources.scan.caption_matching import AMBIGUOUS, CaptionMatches, Unmatched, match_captions, nearest_name
from sg.sources.scan.current import check_same_data, is_current, manifest_info, rows_settings
from sg.sources.scan.items import shown
from sg.sources.scan.journal import ScanJournal

log = logging.getLogger(__name__)

FOLDER_VERSION = 11
"""Raise it when the same folder would give other rows."""
_EXAMPLES = 3


@dataclass
class FolderDataConfig(ScannedDataConfig):
    """Any folder of video files, with captions in a CSV, JSONL or JSON file.

    Attributes:
        captions: the caption file; null takes that of the last scan of this data, if there was one.
        video_column: column or key that names the video; null finds one of the usual names.
        caption_column: column or key of the text; null finds one of the usual names.
    """

    captions: str | None = field(default=None, metadata=NOT_IDENTITY)
    video_column: str | None = None
    caption_column: str | None = None

    logged = ""
    """The last report of a scan with these settings in this process, so that the steps of a run print it once."""

    def __post_init__(self) -> None:
        if not (self.videos or self.manifest_path.is_file()):
            raise ConfigError("data=folder needs a value for data.videos: give it as data.videos=DIR.")
        super().__post_init__()
        if not self.captions:  # the caption file of the last scan, with its columns
            known = read_info(self.manifest_path).get("columns") or (None, None)
            self.video_column = self.video_column or known[0]
            self.caption_column = self.caption_column or known[1]
        if self.video_column and self.video_column == self.caption_column:
            raise ConfigError(
                f"data.video_column={self.video_column} and data.caption_column={self.caption_column} should name two "
                "columns: that of the video and that of its text."
            )

    @property
    def is_made_on_the_way(self) -> bool:
        """Always: folders of people's own videos are small."""
        return True

    @property
    def has_current_manifest(self) -> bool:
        """Only of an address: a folder is compared with the manifest each time."""
        return self.is_remote and self.manifest_path.is_file()

    @property
    def captions_file(self) -> Path | None:
        """The caption file, or that of the last scan; None if there is none.

        A command without `data.captions`, such as one that buys captions, does not take the captions of the data away.
        """
        known = self.captions or read_info(self.manifest_path).get("captions")
        return None if known is None else recorded_place("data.captions", known)

    def manifest_identity(self) -> Identity:
        """The identity of a scan of the folder as it is now; MissingInputError if the caption file does not exist."""
        return _identity(self, list_files(Path(self.videos)), _existing_captions(self))

    def check_place(self) -> None:
        """Check that an existing manifest is of this folder and caption file, and that the file has its columns."""
        captions = self.captions_file
        if self.manifest_path.is_file() and Path(self.videos).is_dir() and (captions is None or captions.is_file()):
            place = None if captions is None else str(captions)
            check_same_data(self.manifest_path, Path(self.videos), self.manifest_identity(), captions=place)
        if captions is not None and captions.is_file():
            CaptionFile(captions, self.video_column, self.caption_column).check_columns()

    def missing_files(self) -> Iterator[tuple[str, str]]:
        """The folder of videos, and the caption file where one is named."""
        yield from super().missing_files()
        if self.captions and not Path(self.captions).is_file():
            yield f"captions: there is no file {self.captions}", "data.captions=FILE"


@SOURCES.register("folder", FolderDataConfig)
def scan_folder(config: FolderDataConfig) -> Path:
    """Make the manifest of a folder of video files, or keep it when nothing has changed; returns its path.

    Every file is a row, unreadable ones with a status and a reason. Every caption whose file is missing is a row, too.
    A scan after an interrupted one opens only the remaining files.

    Raises:
        MissingInputError: the folder or the caption file does not exist, or the folder holds no video file.
        ConfigError: the manifest is that of another folder or caption file.
        DataError: the caption file has another form.
    """
    videos, path = Path(config.videos), config.manifest_path
    if config.is_remote:
        raise MissingInputError(
            f"There is no list of the videos at {config.videos}: scan a copy of them first (python -m sg.sources "
            f"data=folder data.name={config.name} data.videos=DIR), then name the address."
        )
    if not videos.is_dir():
        raise MissingInputError(f"There is no folder {videos}: give the folder of your videos with data.videos=DIR.")
    captions = _existing_captions(config)
    listing = list_files(videos)
    if not listing.files:
        links = "".join(f"; the link {name} to a folder is not followed" for name in listing.linked_folders[:1])
        raise MissingInputError(
            f"The folder {videos} holds no video files (their names end in .mp4, .mkv, .webm, ...){links}."
        )
    work = _identity(config, listing, captions)
    with file_lock(path.with_suffix(".lock")):
        place = None if captions is None else str(captions)
        check_same_data(path, videos, work, captions=place)
        if not is_current(path, videos, work, captions=place):
            texts = CaptionFile(captions, config.video_column, config.caption_column) if captions else None
            matches = match_captions(texts.entries() if texts else (), listing.files)
            rows = list(_file_rows(videos, listing.files, matches, config))
            report = _report(rows, matches, texts, listing)
            columns = [config.video_column, config.caption_column]
            origin = manifest_info(path, "folder", videos, work, captions=place)
            info = {**origin, "columns": columns, "report": report}
            write_manifest(path, chain(rows, map(_row_without_file, matches.unmatched)), info)
    if (text := _shown_report(read_info(path)["report"])) != config.logged:
        log.info(text)
        config.logged = text
    return path


def _existing_captions(config: FolderDataConfig) -> Path | None:
    captions = config.captions_file
    if captions and not captions.is_file():
        raise MissingInputError(f"There is no caption file {captions}: give an existing one with data.captions=FILE.")
    return captions


def _identity(config: FolderDataConfig, listing: Listing, captions: Path | None) -> Identity:
    inputs = {"files": listing.files.state, "captions": file_content(captions) if captions else None}
    return identity("folder scan", settings=rows_settings(config), inputs=inputs, version=FOLDER_VERSION)


def _row_without_file(found: Unmatched) -> VideoRecord:
    """The row of a caption without a file."""
    return VideoRecord(
        safe_video_id(f"missing:{found.entry.video}"),
        "folder",
        "",
        original_caption=found.entry.caption,
        status=found.status,
        reason=found.reason,
    )


def _file_rows(
    videos: Path, files: VideoFiles, matches: CaptionMatches, config: FolderDataConfig
) -> Iterator[VideoRecord]:
    stems = Counter(Path(file.name).with_suffix("").as_posix() for file in files)
    with ScanJournal(Path(config.dir) / "scan.jsonl") as journal:
        probe_files(videos, files, range(len(files)), journal, config)
        for file in files:
            status, reason, values = outcome_of(file, journal)
            stem = Path(file.name).with_suffix("").as_posix()
            if status == OK:
                matches.leave_out_parts(file.name, values["duration_s"], values["num_frames"])
            entry = matches.captions.get(file.name)
            name = stem if stems[stem] == 1 else file.name
            yield VideoRecord(
                video_id=safe_video_id(name),
                source="folder",
                path=file.path,
                original_caption=entry.caption if entry else "",
                status=status,
                reason=reason,
                extra=json.dumps({"bytes": file.size}),
                **values,
            )


def _report(
    rows: list[VideoRecord], matches: CaptionMatches, texts: CaptionFile | None, listing: Listing
) -> dict[str, Any]:
    folded = Counter(row.video_id.casefold() for row in rows)
    left_out = Counter(texts.problems if texts else ())
    left_out["second caption of a video"] += matches.num_second
    unusable = Counter(row.status for row in rows if row.status != OK) + matches.statuses()
    return {
        "videos": sum(row.status == OK for row in rows),
        "captioned": sum(row.status == OK and bool(row.original_caption) for row in rows),
        "unusable": dict(unusable),
        "caption_rows": texts.rows if texts else 0,
        "captions_read": texts.num_captions if texts else 0,
        "captions": texts.summary() if texts else "",
        "captions_left_out": {key: count for key, count in left_out.items() if count},
        "examples": _examples(matches, listing),
        "left_out_of_shards": dict(listing.left_out_of_shards),
        "linked_folders": [shown(name) for name in listing.linked_folders],
        "ids_that_differ_in_case_only": sum(count for count in folded.values() if count > 1),
    }


def _examples(matches: CaptionMatches, listing: Listing) -> list[str]:
    """The first captions without a file of each kind, with the nearest name on disk."""
    examples = []
    for is_ambiguous in (False, True):
        kind = (one for one in matches.unmatched if (one.status == AMBIGUOUS) == is_ambiguous)
        for found in islice(kind, _EXAMPLES):
            near = None if is_ambiguous else nearest_name(found.entry.video, listing.files)
            examples.append(found.reason + (f" (nearest name: {near!r})" if near else ""))
    return examples


def _shown_report(report: dict[str, Any]) -> str:
    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))

    text = f"folder: {report['videos']} usable videos, {report['captioned']} with a caption"
    if report["unusable"]:
        text += f"; left out: {listed(report['unusable'])}"
    if report["captions_left_out"]:
        text += f"; captions left out: {listed(report['captions_left_out'])}"
    if report.get("left_out_of_shards"):
        text += f"; left out of the tar files: {listed(report['left_out_of_shards'])}"
    lines = [text, *filter(None, [report["captions"]]), *(f"e.g. {example}" for example in report["examples"])]
    lines += [
        f"link to a folder, not followed: {name} (give the folder itself with data.videos, or copy its files)"
        for name in report["linked_folders"][:_EXAMPLES]
    ]
    return "\n  ".join(lines)
