"""The scan of a published dataset: annotations matched with the files on disk, every file opened once, and a report.

The order of the steps follows from their cost. Matching needs names only, so that just the files of annotated videos
are opened; hashes are computed of readable files only.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

from sg.artefacts.manifest import OK, VideoRecord, write_manifest
from sg.core.content import file_content
from sg.core.errors import DataError, MissingInputError
from sg.core.files import file_lock
from sg.core.identity import Identity, identity
from sg.core.progress import Progress
from sg.sources.config import AnnotatedDataConfig
from sg.sources.files.cutting import cut_clips, cut_jobs, long_videos_by_id
from sg.sources.files.disk import Listing, VideoFile, list_files
from sg.sources.files.duplicates import Digests, also_in, same_bytes
from sg.sources.files.probing import Outcome, outcome_of, probe_files
from sg.sources.scan.annotations import Annotations
from sg.sources.scan.current import check_same_data, is_current, manifest_info, rows_settings
from sg.sources.scan.findings import (
    AMBIGUOUS,
    BAD_CAPTION,
    BAD_RECORD,
    DUPLICATE,
    IN_BENCHMARK,
    MISSING,
    NOTHING_CAPTION,
    OTHER_SPLIT,
    Findings,
)
from sg.sources.scan.items import AnnotatedVideo, Problem, SetReader, is_nothing
from sg.sources.scan.journal import ScanJournal
from sg.sources.scan.matching import FileKeys, FileMatcher, MatchedVideos
from sg.sources.scan.overlap import BenchmarkVideos, benchmark_videos
from sg.sources.scan.report import ScanReport, write_report
from sg.sources.scan.spilled import Spilled

log = logging.getLogger(__name__)

_sorted_json = json.JSONEncoder(sort_keys=True).encode
_values = attrgetter(*(field.name for field in fields(VideoRecord)))

SCAN_VERSION = 11
"""Raise it when the same files and settings would give other rows."""


@dataclass(frozen=True, slots=True)
class ScanFiles:
    """The files that a scan writes beside the manifest."""

    folder: Path

    @property
    def findings(self) -> Path:
        """All findings, one row each."""
        return self.folder / "findings.parquet"

    def journal(self, what: str) -> Path:
        """Results that a scan does not compute again when it resumes."""
        return self.folder / f"scan-{what}.jsonl"


def scan_annotated(config: AnnotatedDataConfig, reader_of: Callable[[Sequence[VideoFile]], SetReader]) -> Path:
    """Make the manifest of a published dataset, or keep it when nothing has changed; returns its path.

    Every video of the annotations whose file is on disk is a row. Unreadable files, second copies and videos of the
    benchmark are rows with a status and a reason. Videos without a file, and files without a video, are recorded in
    `findings.parquet`; `scan_report.json` and `.txt` count everything.

    Args:
        config: the settings of the dataset.
        reader_of: returns the reader of the dataset for the files on disk.

    Raises:
        MissingInputError: there are no annotations or no video files.
        ConfigError: the manifest is that of another folder of videos.
        DataError: the annotations have another form, or no file belongs to them.
    """
    files, path, videos = ScanFiles(Path(config.dir)), config.manifest_path, Path(config.videos)
    if not config.long_videos:
        _check_folder(videos)
    with file_lock(path.with_suffix(".lock")):
        listing = _video_files(videos, config)
        source = reader_of(listing.files)
        annotations = Annotations(source, config.annotations, videos, listing)
        benchmark = benchmark_videos(config.benchmark)
        long_videos = _long_videos(config)
        work = _identity(config, listing, annotations, benchmark, long_videos)
        if long_videos is None:  # otherwise the scan itself makes the files in `videos`
            check_same_data(path, videos, work)
        if not is_current(path, videos, work) or not files.findings.is_file():
            _write(config, source, annotations, listing, benchmark, long_videos, work)
    log.info((files.folder / "scan_report.txt").read_text(encoding="utf-8").rstrip())
    return path


def _write(
    config: AnnotatedDataConfig,
    source: SetReader,
    annotations: Annotations,
    listing: Listing,
    benchmark: BenchmarkVideos | None,
    long_videos: Listing | None,
    work: Identity,
) -> None:
    """Scan, and write the findings, the report and the manifest."""
    files, path, videos = ScanFiles(Path(config.dir)), config.manifest_path, Path(config.videos)
    with Spilled(files.folder) as items, Spilled(files.folder) as rows:
        with Findings(files.findings) as findings:
            if long_videos is not None and _cut(config, annotations, listing, long_videos, findings):
                # The identity includes the new files; otherwise the next scan would not recognise the manifest.
                listing = _video_files(videos, config)
                annotations = annotations.with_listing(listing)
                work = _identity(config, listing, annotations, benchmark, long_videos)
            found = _match(config, annotations, listing, findings, items)
            every = _kept(_rows(config, source, found, listing, annotations, benchmark, findings), rows)
            report = ScanReport.of(config, source, annotations, listing, every, findings, benchmark)
        info = {**manifest_info(path, source.name, videos, work), "licence": source.licence}
        write_report(files.folder, report)
        if not rows:
            raise DataError(
                f"None of the {len(listing.files)} video files in {videos} belongs to an annotated video: see "
                f"{files.folder / 'scan_report.txt'}."
            )
        write_manifest(path, (VideoRecord(*row) for row in rows), {**info, "report": report.plain})


def _kept(records: Iterable[VideoRecord], rows: Spilled) -> Iterator[VideoRecord]:
    for record in records:
        rows.append(_values(record))
        yield record


def _video_files(videos: Path, config: AnnotatedDataConfig) -> Listing:
    if config.long_videos:
        videos.mkdir(parents=True, exist_ok=True)
    _check_folder(videos)
    listing = list_files(videos)
    if not listing.files and not config.long_videos:
        frames = "; folders of frames are not read" if listing.frame_folders else ""
        links = "".join(f"; the link {name} to a folder is not followed" for name in listing.linked_folders[:1])
        raise MissingInputError(
            f"The folder {videos} holds no video files (their names end in .mp4, .mkv, .webm, ...){frames}{links}."
        )
    return listing


def _check_folder(videos: Path) -> None:
    if not videos.is_dir():
        raise MissingInputError(
            f"There is no folder {videos}: give the folder of the video files with data.videos=DIR (where to get them: "
            "docs/data_sources.md)."
        )


def _long_videos(config: AnnotatedDataConfig) -> Listing | None:
    """The whole videos that missing clips can be cut from; None where the config names no folder of them."""
    if not config.long_videos:
        return None
    if not Path(config.long_videos).is_dir():
        raise MissingInputError(
            f"There is no folder {config.long_videos}: give the folder of the whole videos with data.long_videos=DIR."
        )
    return list_files(Path(config.long_videos))


def _identity(
    config: AnnotatedDataConfig,
    listing: Listing,
    annotations: Annotations,
    benchmark: BenchmarkVideos | None,
    long_videos: Listing | None,
) -> Identity:
    """What decides the rows. Video files count by name, size and time: reading terabytes to hash them takes days."""
    inputs = {
        "files": listing.files.state,
        "annotations": annotations.state,
        "further_files": [file_content(Path(path)) for path in config.further_files],
        "benchmark": benchmark and benchmark.state,
        "long_videos": long_videos and long_videos.files.state,
    }
    return identity("scan", settings=rows_settings(config), inputs=inputs, version=SCAN_VERSION)


def _wanted(
    config: AnnotatedDataConfig, annotations: Annotations, findings: Findings | None
) -> Iterator[AnnotatedVideo]:
    """Yield the annotated videos of the wanted splits, and record all other records in `findings`.

    The pass that looks for clips to cut has no `findings`: the pass that matches files records them.
    """
    with Progress("annotations", None, "rows") as bar:
        for item, where in annotations.items():
            bar.advance()
            if isinstance(item, Problem):
                if findings is not None:
                    findings.add(BAD_RECORD, "", where, item.detail or item.reason, item.reason)
            elif config.splits and item.split and item.split not in config.splits:
                if findings is not None:
                    findings.add(OTHER_SPLIT, item.video_id, "", item.split)
            else:
                if item.caption_problem and findings is not None:
                    findings.add(BAD_CAPTION, item.video_id, where, item.caption_problem, item.caption_problem)
                elif item.caption and findings is not None and is_nothing(item.caption):
                    findings.add(NOTHING_CAPTION, item.video_id, where, item.caption)
                yield item


def _cut(
    config: AnnotatedDataConfig, annotations: Annotations, listing: Listing, long_videos: Listing, findings: Findings
) -> int:
    """Cut the clips that exist only within a whole video; returns how many."""
    long_by_id = long_videos_by_id(long_videos.files)
    known = FileKeys(listing.files, annotations.keys_of)
    wanted = {
        item.video_id: item
        for item in _wanted(config, annotations, None)
        if item.youtube_id in long_by_id and not any(map(known.places, (item.video_id, *item.keys, *item.weak_keys)))
    }
    jobs = cut_jobs(list(wanted.values()), long_by_id, Path(config.long_videos or ""), Path(config.videos))
    return cut_clips(jobs, config.workers, config.timeout_s, findings) if jobs else 0


def _match(
    config: AnnotatedDataConfig, annotations: Annotations, listing: Listing, findings: Findings, items: Spilled
) -> MatchedVideos:
    matcher = FileMatcher(listing.files, annotations.keys_of, findings, items)
    for item in _wanted(config, annotations, findings):
        if not matcher.take(item):
            findings.add(MISSING, item.video_id, "", "no file of this name")
    return matcher.result()


def _rows(
    config: AnnotatedDataConfig,
    source: SetReader,
    found: MatchedVideos,
    listing: Listing,
    annotations: Annotations,
    benchmark: BenchmarkVideos | None,
    findings: Findings,
) -> Iterator[VideoRecord]:
    """Yield one row per video with a file, in the order of the files.

    A file whose name does not tell its time range is left out where its duration disagrees with the annotation: it is
    then another part of the video, or the numbering of the annotations is not that of the files.
    """
    files, videos, every = ScanFiles(Path(config.dir)), Path(config.videos), listing.files
    with ScanJournal(files.journal("files")) as opened:
        probe_files(videos, every, found, opened, config)

        def is_readable(file: VideoFile) -> bool:
            return outcome_of(file, opened)[0] == OK

        with ScanJournal(files.journal("hashes")) as journal, Progress("hashes", None, "reads") as bar:
            digests = Digests(journal, bar, videos)
            copies = same_bytes(videos, every, found, is_readable, digests)
            shared = (
                also_in(videos, every, found, is_readable, benchmark.root, benchmark.listing.files, digests)
                if benchmark
                else {}
            )
        for place, item in found.items():
            file = every[place]
            outcome = outcome_of(file, opened)
            is_assumed = source.lacks_time_range(file.name) and not annotations.sidecar_ids(file)
            if is_assumed and outcome[0] == OK and not item.is_as_long(outcome[2]["duration_s"]):
                detail = "its id or number is that of this clip, but the durations differ"
                findings.add(AMBIGUOUS, item.video_id, file.name, detail)
                continue
            # Copies of a video are often encoded again: their bytes differ, but their YouTube id is the same.
            if benchmark and item.youtube_id in benchmark.youtube_ids:
                shared[place] = f"YouTube id {item.youtube_id}"
            if place in shared:
                outcome = (IN_BENCHMARK, f"part of the benchmark: {shared[place]}", outcome[2])
            elif place in copies:
                outcome = (DUPLICATE, f"the same bytes as {found[copies[place]].video_id}", outcome[2])
            yield _row(source.name, item, file, outcome)
            if outcome[0] != OK:
                kind = outcome[0] if outcome[0] in (IN_BENCHMARK, DUPLICATE) else "unreadable"
                findings.add(kind, item.video_id, file.name, outcome[1], outcome[0])


def _row(source: str, item: AnnotatedVideo, file: VideoFile, outcome: Outcome) -> VideoRecord:
    status, reason, values = outcome
    extra = {"bytes": file.size, **item.extra}
    if item.youtube_id:
        extra["youtube_id"] = item.youtube_id
    if item.range_ms:
        extra["start_ms"], extra["end_ms"] = item.range_ms
    return VideoRecord(
        video_id=item.video_id,
        source=source,
        path=file.path,
        original_caption=item.caption,
        split=item.split,
        status=status,
        reason=reason,
        extra=_sorted_json(extra),
        **values,
    )
