"""Video-MME, as downloaded from the hub or unpacked; also the demo's benchmark, which has the same layout.

See `docs/reference/video_mme.md`, section 1.

The folder holds the Parquet table and either the hub's archives (`videos_chunked_01.zip` .., `subtitle.zip`), which are
unpacked once, or videos and subtitles in one of the folders that known tools use, also divided by duration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sg.artefacts.names import check_video_id
from sg.artefacts.predictions import DURATIONS
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.identity import NOT_IDENTITY
from sg.evaluate.archives import unpack
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo, Question, checked
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.layouts import check_options, files_by_stem
from sg.sources.files.disk import VIDEO_SUFFIXES

HUB_ID = "lmms-lab/Video-MME"
LOCAL = "local"
COLUMNS = (
    *("video_id", "duration", "domain", "sub_category", "videoID", "question_id", "task_type"),
    *("question", "options", "answer"),
)
TABLE_PLACES = ("videomme/test-00000-of-00001.parquet", "test-00000-of-00001.parquet")
VIDEO_FOLDERS = ("videos", "data", "video", "videos/data", ".")
SUBTITLE_FOLDERS = ("subtitle", "subtitles", ".")


@dataclass(frozen=True, slots=True)
class FileLayout:
    """Where a benchmark of the hub keeps its files: patterns of its archives, and the folders that they unpack to."""

    video_archives: str = "videos_chunked_*.zip"
    unpacked_videos: str = "data"
    subtitle_archives: str = "subtitle*.zip"
    unpacked_subtitles: str = "subtitle"
    subtitle_suffixes: tuple[str, ...] = (".srt",)


@dataclass
class VideoMmeConfig(BenchmarkConfig):
    """Video-MME, or a benchmark in its layout such as that of the demo.

    The files of archives are unpacked into `unpack_to` if `folder` cannot be written; empty makes that an error.
    """

    unpack_to: str = field(default="", metadata=NOT_IDENTITY)


@BENCHMARKS.register("video_mme", VideoMmeConfig)
def read_video_mme(config: VideoMmeConfig) -> Benchmark:
    """Read a folder in the layout of Video-MME; files that only its archives hold are unpacked.

    Missing videos and subtitles are not an error here: they become rows with a reason.

    Raises:
        MissingInputError: there is no table.
        ConfigError: the folder is the hub's cache with several revisions, or without the one that is asked for.
        DataError: the table has another schema, a question twice, options without letters, or rows that contradict each
            other; or the disk is too small to unpack the videos.
    """
    hub_id = HUB_ID if config.name == "video_mme" else ""
    folder, path, rows_of = read_hub_table(config, TABLE_PLACES, hub_id, COLUMNS)
    videos = tuple(_video(rows, path) for rows in rows_of.values())
    return hub_benchmark(config, folder, path, videos, FileLayout())


def read_hub_table(
    config: VideoMmeConfig, places: Sequence[str], hub_id: str, columns: Sequence[str]
) -> tuple[Path, Path, dict[str, list[dict[str, Any]]]]:
    """The folder, the table's path, and the rows of a Parquet table by `video_id`, in their order.

    Raises:
        MissingInputError, ConfigError, DataError: see `read_video_mme`.
    """
    folder = _snapshot(config)
    path = _table_path(config, folder, places, hub_id)
    rows_of: dict[str, list[dict[str, Any]]] = {}
    for row in _read_rows(path, columns):
        if not isinstance(row["video_id"], str):
            raise DataError(
                f"{path}: question {row['question_id']} has {row['video_id']!r} as 'video_id', expected text."
            )
        rows_of.setdefault(row["video_id"], []).append(row)
    return folder, path, rows_of


def hub_benchmark(
    config: VideoMmeConfig, folder: Path, path: Path, videos: tuple[BenchmarkVideo, ...], layout: FileLayout
) -> Benchmark:
    """The benchmark of these videos with their files, which are unpacked if only the archives hold them.

    Raises:
        DataError: two questions or videos have one name, or the disk is too small to unpack the videos.
    """
    recorded = _revision(folder, path)
    revision = recorded if config.revision == LOCAL or folder.parent.name == "snapshots" else config.revision
    benchmark = checked(Benchmark(config.name, revision, videos), path)
    unpack_to = Path(config.unpack_to).expanduser() if config.unpack_to else None
    return replace(benchmark, videos=_with_files(videos, folder, unpack_to, layout))


def _snapshot(config: VideoMmeConfig) -> Path:
    """The benchmark's folder; for one of the hub's cache its revision, which `config.revision` chooses from several.

    Raises:
        ConfigError: the cache has several revisions, or not the one that is asked for.
    """
    folder = Path(config.folder).expanduser()
    revisions = sorted(path.name for path in (folder / "snapshots").glob("[!.]*") if path.is_dir())
    if not revisions:
        return folder
    asked, reference = config.revision, folder / "refs" / config.revision
    if asked != LOCAL and reference.is_file():
        asked = reference.read_text(encoding="utf-8").strip()
    fitting = [name for name in revisions if asked == LOCAL or name.startswith(asked)]
    if len(fitting) != 1:
        raise ConfigError(
            f"{folder} holds the revisions {', '.join(revisions)}, and benchmark.revision is {config.revision!r}: set "
            "it to one of them, because scores of different revisions are not comparable."
        )
    return folder / "snapshots" / fitting[0]


def _table_path(config: VideoMmeConfig, folder: Path, usual: Sequence[str], hub_id: str) -> Path:
    places = [config.table] if config.table else usual
    for place in places:
        if (folder / place).is_file():
            return folder / place
    found = sorted(folder.glob("[!.]*.parquet")) if folder.is_dir() and not config.table else []
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} Parquet files" if found else f"no table ({', '.join(places)})"
    raise MissingInputError(
        f"The folder of benchmark {config.name!r}, {folder}, has {problem}: set benchmark.folder and benchmark.table"
        + (f", or get it with `hf download {hub_id} --repo-type dataset --local-dir {folder}`." if hub_id else ".")
    )


def _revision(folder: Path, table: Path) -> str:
    """The hub's commit of the table, if the download recorded it; otherwise "local"."""
    if folder.parent.name == "snapshots":
        return folder.name
    record = folder / ".cache" / "huggingface" / "download" / f"{table.relative_to(folder)}.metadata"
    words = record.read_text(encoding="utf-8").split() if record.is_file() else []
    return words[0] if words else LOCAL


def _read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # `pq.read_table` would import pandas, which takes a second.
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        missing = [name for name in columns if name not in names]
        if missing:
            since = "a table of Video-MME since June 2024" if columns is COLUMNS else "the table of this benchmark"
            raise DataError(
                f"{path} has no column {missing[0]!r}, so it is not {since} (which has {', '.join(columns)}); it has "
                f"{', '.join(names)}."
            )
        rows: list[dict[str, Any]] = file.read(columns=list(columns)).to_pylist()
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


def _with_files(
    videos: tuple[BenchmarkVideo, ...], folder: Path, unpack_to: Path | None, layout: FileLayout
) -> tuple[BenchmarkVideo, ...]:
    """The videos with the paths of their files and subtitles, which are unpacked if only the archives hold them."""
    files = files_by_stem(folder, _with_durations(VIDEO_FOLDERS), VIDEO_SUFFIXES)
    subtitles = files_by_stem(folder, _with_durations(SUBTITLE_FOLDERS), layout.subtitle_suffixes)
    names = [video.media_id for video in videos]
    unpacked = unpack(
        folder, layout.video_archives, VIDEO_SUFFIXES, folder / layout.unpacked_videos,
        [name for name in names if name not in files], unpack_to,
    )  # fmt: skip
    texts = unpack(
        folder, layout.subtitle_archives, layout.subtitle_suffixes, folder / layout.unpacked_subtitles,
        [name for name in names if name not in subtitles], unpack_to,
    )  # fmt: skip
    if texts.incomplete:  # A video without subtitles is asked without them, so nobody would notice.
        raise DataError(f"{texts.incomplete}.")
    return tuple(
        replace(
            video,
            path=files.get(video.media_id) or unpacked.paths.get(video.media_id),
            subtitle_path=subtitles.get(video.media_id) or texts.paths.get(video.media_id),
            problem=unpacked.problems.get(video.media_id, unpacked.incomplete),
        )
        for video in videos
    )


def _with_durations(folders: Sequence[str]) -> list[str]:
    """The folders, and their subfolders by duration."""
    return [f"{folder}/{part}" for part in (".", *DURATIONS) for folder in folders]
