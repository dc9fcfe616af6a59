"""Time and memory of the work on a full-size manifest that a study does before training.

    python benchmarks/sources/full_manifest.py                               # 530,000 videos, core of 100k
    python benchmarks/sources/full_manifest.py --count 10000000 --no-scan    # without the scan
    python benchmarks/sources/full_manifest.py --count 20000 --core 4000

The inputs are made first and not measured: WebVid's annotation file, files without content and the journal of a scan
that opened them, a manifest (3 % unusable), captions of 90 words and a merge forest. Two processes are measured. `scan`
is a scan of these files, which opens none of them again. `study` does what a run does with its data: ids of the usable
videos, those with a caption, content hashes, held-out candidates, merge forest, and the rows and captions of a core.
"""

import argparse
import csv
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.artefacts.captions import CaptionRecord, StoredCaptions
from sg.artefacts.forest import Forest, read_forest, subtree_sizes, write_forest
from sg.artefacts.manifest import OK, VideoRecord, hash_manifest, records_of, usable_ids
from sg.artefacts.tables import record_schema, write_batches
from sg.sources.files.disk import list_files
from sg.sources.files.probing import PROBE_VERSION
from sg.sources.scan.journal import ScanJournal
from sg.sources.sets.webvid import WebVidDataConfig, scan_webvid

ANNOTATIONS = "results_2M_train.csv"
WORDS = (
    "a",
    "red",
    "blue",
    "slow",
    "drone",
    "aerial",
    "view",
    "of",
    "the",
    "city",
    "sea",
    "people",
    "walking",
    "hands",
)


_ROWS_AT_ONCE = 10_000
_TEXTS = 2000
"""Distinct endings of the texts: drawing 90 words for each of ten million rows would take an hour."""


def sentences(words: int) -> list[str]:
    rng = random.Random(words)
    return [" ".join(rng.choices(WORDS, k=words)) for _ in range(_TEXTS)]


def video_number(row: int) -> int:
    return 1_000_000 + row * 17


def make(folder: Path, count: int, with_annotations: bool = True) -> None:
    """Write the inputs of `measure` for `count` videos."""
    titles, descriptions = sentences(14), sentences(90)
    if with_annotations:
        write_annotations(folder / ANNOTATIONS, count, titles)
        write_videos(folder, count)
    parts = [range(start, min(start + _ROWS_AT_ONCE, count)) for start in range(0, count, _ROWS_AT_ONCE)]
    write(folder / "manifest.parquet", VideoRecord, (manifest_columns(rows, titles) for rows in parts))
    write(folder / "captions.parquet", CaptionRecord, (caption_columns(rows, descriptions) for rows in parts))
    write_forest(folder / "forest.parquet", random_forest(count))


def write_annotations(path: Path, count: int, titles: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["videoid", "name", "page_idx", "page_dir", "duration", "contentUrl"])
        for row in range(count):
            title = f"{row} {titles[row % _TEXTS]}"
            url = f"https://host/videos/{video_number(row)}/preview/stock-footage-{title.replace(' ', '-')[:40]}.mp4"
            page = f"{row // 50 * 50:06d}_{row // 50 * 50 + 50:06d}"
            table.writerow([video_number(row), title, 0, page, "PT00H00M18S", url])


def video_id(row: int) -> str:
    return f"webvid-{video_number(row)}"


def is_usable(row: int) -> bool:
    return row % 100 >= 3


def write(path: Path, record: type[Any], parts: Iterable[dict[str, list[Any]]]) -> None:
    """Write an artefact by columns: objects of ten million rows would take most of an hour."""
    import pyarrow as pa

    schema = record_schema(record)
    batches = (pa.record_batch([part[name] for name in schema.names], schema=schema) for part in parts)
    write_batches(path, batches, schema, path.stem, {})


def manifest_columns(rows: range, titles: list[str]) -> dict[str, list[Any]]:
    usable, number = [is_usable(row) for row in rows], len(rows)
    return {
        "video_id": [video_id(row) for row in rows], "source": ["webvid"] * number,
        "path": [file_path(row) for row in rows], "duration_s": [18.0] * number, "width": [596] * number,
        "height": [336] * number, "fps": [25.0] * number, "num_frames": [450] * number,
        "original_caption": [f"{row} {titles[row % _TEXTS]}" for row in rows], "split": ["train"] * number,
        "status": [OK if good else "unreadable" for good in usable],
        "reason": ["" if good else "not a video (text or HTML)" for good in usable],
        "extra": ['{"bytes": 2150000, "declared_ms": 18000}'] * number,
    }  # fmt: skip


def caption_columns(rows: range, descriptions: list[str]) -> dict[str, list[Any]]:
    usable = [row for row in rows if is_usable(row)]
    columns = {field.name: [field.default] * len(usable) for field in fields(CaptionRecord)}
    columns["video_id"] = [video_id(row) for row in usable]
    columns["caption"] = [f"{row} {descriptions[row % _TEXTS]}" for row in usable]
    return columns


def random_forest(count: int) -> Forest:
    """A forest of all usable videos in a random order, each merged into a later one."""
    import numpy as np

    rng = np.random.default_rng(0)
    order = rng.permutation([row for row in range(count) if is_usable(row)])
    size = len(order)
    into = np.minimum(np.arange(size) + 1 + rng.integers(0, size, size), size - 1)
    parent = np.where(np.arange(size) < size * 9 // 10, into, -1)
    flat = np.linspace(0.99, 0.5, size, dtype=np.float32)
    rounds = (np.arange(size) * 20 // size).astype("int32")
    return Forest([video_id(row) for row in order.tolist()], parent, flat, rounds, subtree_sizes(parent), flat)


def file_path(row: int) -> str:
    return f"{row // 1000:05d}/{video_number(row)}.mp4"


def write_videos(folder: Path, count: int) -> None:
    """Write files without content, 1 % fewer than annotations, and the journal of a scan that opened them all."""
    for row in range(count):
        path = folder / "videos" / file_path(row)
        path.parent.mkdir(parents=True, exist_ok=True)
        if row % 100:
            with path.open("wb") as stream:
                stream.truncate(2_150_000 + row)
    values = {"duration_s": 18.0, "width": 596, "height": 336, "fps": 25.0, "num_frames": 450}
    with ScanJournal(folder / "scanned" / "scan-files.jsonl") as journal:
        for file in list_files(folder / "videos").files:
            journal.add(f"{PROBE_VERSION}:{file.key}", [OK, "", values])


def scanned(folder: Path) -> int:
    """Scan the files; returns the number of rows."""
    import pyarrow.parquet as pq

    annotations, videos = str(folder / ANNOTATIONS), str(folder / "videos")
    config = WebVidDataConfig(
        name="webvid", dir=str(folder / "scanned"), videos=videos, annotations=annotations, benchmark=None
    )
    return int(pq.ParquetFile(scan_webvid(config)).metadata.num_rows)


def scan_steps(folder: Path, count: int, core_size: int) -> Iterator[tuple[str, int]]:
    """Scan; yields the name of the step and its number of rows."""
    yield "scan of files that were opened before", scanned(folder)


def study_steps(folder: Path, count: int, core_size: int) -> Iterator[tuple[str, int]]:
    """What `sg.study.stages.caption_data` does; yields the name of each step and its number of rows."""
    usable = usable_ids(folder / "manifest.parquet")
    yield "manifest checked and filtered to usable videos", len(usable)
    captions = StoredCaptions(folder / "captions.parquet")
    captioned = captions.among(usable)
    yield "joined with captions", len(captioned)
    hash_manifest(folder / "manifest.parquet")
    yield "content hash of the manifest", count
    captions.content_hash  # noqa: B018  (computed when it is asked for)
    yield "content hash of the captions", len(captions)
    yield "captions that no other video has", len(captions.unique_among(captioned))
    forest = read_forest(folder / "forest.parquet")
    yield "merge forest read and checked", len(forest)
    core = forest.core(core_size)
    if not set(forest.core(core_size // 2)) <= set(core):
        raise RuntimeError("the core is not what it should be")
    del forest
    texts, rows = captions.texts(core), records_of(folder / "manifest.parquet", core)
    if not len(texts) == len(rows) == core_size:
        raise RuntimeError("the core is not what it should be")
    yield f"cut to core-{core_size}, with captions", len(rows)


STEPS = {"scan": scan_steps, "study": study_steps}


def measure(part: str, folder: Path, count: int, core_size: int) -> dict[str, Any]:
    """Seconds and rows of each step, all seconds, and the peak memory of this process in GiB."""
    table, started, cpu = [], time.monotonic(), time.process_time()
    for name, rows in STEPS[part](folder, count, core_size):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        table.append((name, rows, time.process_time() - cpu, peak))
        cpu = time.process_time()
    return {"steps": table, "wall_s": time.monotonic() - started}


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=530_000)
    parser.add_argument("--core", type=int, default=100_000)
    parser.add_argument("--no-scan", action="store_true", help="leave out the scan")
    options = parser.parse_args()
    parts = ["study"] if options.no_scan else ["scan", "study"]
    with tempfile.TemporaryDirectory(prefix="full-manifest-") as name:
        folder = Path(name)
        in_a_process(make, folder, options.count, not options.no_scan)
        results = [in_a_process(measure, part, folder, options.count, options.core) for part in parts]
    print(f"{options.count:,} videos\n")
    print("| step | rows | CPU s | peak GiB until then |\n|---|---:|---:|---:|")
    for result in results:
        for step, rows, seconds, peak in result["steps"]:
            print(f"| {step} | {rows:,} | {seconds:.1f} | {peak:.2f} |")
    cpu = sum(seconds for result in results for _, _, seconds, _ in result["steps"])
    print(f"| **all**, wall {sum(result['wall_s'] for result in results):.0f} s | | **{cpu:.1f}** | |")


if __name__ == "__main__":
    main()
