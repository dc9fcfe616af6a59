"""Video-MME, as downloaded from the hub or unpacked; also the demo's benchmark, which has the same layout.

See `docs/reference/video_mme.md`, section 1.

The folder holds the Parquet table and either the hub's archives (`videos_chunked_01.zip` .., `subtitle.zip`), which are
unpacked once, or videos and subtitles in one of the folders that known tools use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sg.artefacts.names import check_video_id
from sg.core.errors import DataError, MissingInputError
from sg.evaluate.archives import Unpacked, unpack
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo, Question, check_options, checked, first_file
from sg.evaluate.config import BenchmarkConfig

HUB_ID = "lmms-lab/Video-MME"
COLUMNS = (
    *("video_id", "duration", "domain", "sub_category", "videoID", "question_id", "task_type"),
    *("question", "options", "answer"),
)
TABLE_PLACES = ("videomme/test-00000-of-00001.parquet", "test-00000-of-00001.parquet")
VIDEO_FOLDERS = ("videos", "data", "video", "videos/data", ".")
VIDEO_SUFFIXES = (".mp4", ".MP4", ".mkv", ".webm")
SUBTITLE_FOLDERS = ("subtitle", "subtitles", ".")
VIDEO_ARCHIVES, UNPACKED_VIDEOS = "videos_chunked_*.zip", "data"
SUBTITLE_ARCHIVES, UNPACKED_SUBTITLES = "subtitle*.zip", "subtitle"


@dataclass
class VideoMmeConfig(BenchmarkConfig):
    """Video-MME, or a benchmark in its layout such as that of the demo."""


@BENCHMARKS.register("video_mme", VideoMmeConfig)
def read_video_mme(config: VideoMmeConfig) -> Benchmark:
    """Read a folder in the layout of Video-MME; files that only its archives hold are unpacked.

    Missing videos and subtitles are not an error here: they become rows with a reason.

    Raises:
        MissingInputError: there is no table.
        DataError: the table has another schema, a question twice, options without letters, or rows that contradict each
            other; or the disk is too small to unpack the videos.
    """
    folder = _snapshot(Path(config.folder).expanduser())
    path = _table_path(config, folder)
    rows_of: dict[str, list[dict[str, Any]]] = {}
    for row in _read_rows(path):
        rows_of.setdefault(row["video_id"], []).append(row)
    videos = tuple(_video(rows, path) for rows in rows_of.values())
    revision = _revision(folder, path) if config.revision == "local" else config.revision
    benchmark = checked(Benchmark(config.name, revision, videos), path)
    return replace(benchmark, videos=_with_files(videos, folder))


def _snapshot(folder: Path) -> Path:
    """For a folder of the hub's cache with one revision that revision; otherwise `folder`."""
    revisions = sorted((folder / "snapshots").glob("*")) if (folder / "snapshots").is_dir() else []
    return revisions[0] if len(revisions) == 1 else folder


def _table_path(config: VideoMmeConfig, folder: Path) -> Path:
    places = [config.table] if config.table else TABLE_PLACES
    for place in places:
        if (folder / place).is_file():
            return folder / place
    found = sorted(folder.glob("*.parquet")) if folder.is_dir() and not config.table else []
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} Parquet files" if found else f"no table ({', '.join(places)})"
    raise MissingInputError(
        f"The folder of benchmark {config.name!r}, {folder}, has {problem}: set benchmark.folder and benchmark.table"
        + (f", or get it with `hf download {HUB_ID} --repo-type dataset --local-dir {folder}`."
           if config.name == "video_mme" else ".")
    )  # fmt: skip


def _revision(folder: Path, table: Path) -> str:
    """The hub's commit of the table, if the download recorded it; otherwise "local"."""
    if folder.parent.name == "snapshots":
        return folder.name
    record = folder / ".cache" / "huggingface" / "download" / f"{table.relative_to(folder)}.metadata"
    words = record.read_text(encoding="utf-8").split() if record.is_file() else []
    return words[0] if words else "local"


def _read_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise DataError(
                f"{path} has no column {missing[0]!r}, so it is not a table of Video-MME since June 2024 "
                f"(which has {', '.join(COLUMNS)}); it has {', '.join(names)}."
            )
        rows: list[dict[str, Any]] = pq.read_table(path, columns=list(COLUMNS)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}).") from error
    if not rows:
        raise DataError(f"{path} has no rows.")
    return rows


def _question(row: Mapping[str, Any], path: Path) -> Question:
    where = f"{path}: question {row['question_id']}"
    texts = [row[key] for key in ("video_id", "question_id", "task_type", "question", "answer")]
    options = row["options"]
    if not isinstance(options, list) or not all(isinstance(text, str) for text in [*texts, *options]):
        raise DataError(f"{where} has an empty or wrongly typed cell: expected texts, and a list of texts as options.")
    check_options(options, row["answer"], where)
    return Question(row["question_id"], row["task_type"], row["question"], tuple(options), row["answer"])


def _video(rows: list[dict[str, Any]], path: Path) -> BenchmarkVideo:
    row = rows[0]
    for key in ("videoID", "duration", "domain", "sub_category"):
        if any(other[key] != row[key] for other in rows) or not isinstance(row[key], str):
            raise DataError(f"{path}: the rows of video {row['video_id']} disagree about {key!r} or leave it empty.")
    return BenchmarkVideo(
        video_id=row["video_id"],
        media_id=check_video_id(row["videoID"]),
        duration=row["duration"],
        domain=row["domain"],
        sub_category=row["sub_category"],
        questions=tuple(_question(row, path) for row in rows),
    )


def _with_files(videos: tuple[BenchmarkVideo, ...], folder: Path) -> tuple[BenchmarkVideo, ...]:
    """The videos with the paths of their files and subtitles, which are unpacked if only the archives hold them."""
    files = {video.media_id: _video_file(folder, video.media_id) for video in videos}
    subtitles = {video.media_id: _subtitle(folder, video.media_id) for video in videos}
    unpacked = unpack(
        folder, VIDEO_ARCHIVES, VIDEO_SUFFIXES, folder / UNPACKED_VIDEOS, [name for name in files if not files[name]]
    )
    texts = unpack(
        folder, SUBTITLE_ARCHIVES, (".srt",), folder / UNPACKED_SUBTITLES,
        [name for name in subtitles if not subtitles[name]],
    )  # fmt: skip
    return tuple(_with_file(video, files, subtitles, unpacked, texts) for video in videos)


def _with_file(
    video: BenchmarkVideo,
    files: Mapping[str, Path | None],
    subtitles: Mapping[str, Path | None],
    unpacked: Unpacked,
    texts: Unpacked,
) -> BenchmarkVideo:
    name = video.media_id
    return replace(
        video,
        path=files[name] or unpacked.paths.get(name),
        subtitle_path=subtitles[name] or texts.paths.get(name),
        problem=unpacked.problems.get(name, ""),
    )


def _video_file(folder: Path, media_id: str) -> Path | None:
    return first_file(folder, VIDEO_FOLDERS, [media_id + suffix for suffix in VIDEO_SUFFIXES])


def _subtitle(folder: Path, media_id: str) -> Path | None:
    return first_file(folder, SUBTITLE_FOLDERS, [f"{media_id}.srt"])
