"""Time and memory of the work on a full-size manifest that a study does before training.

    python benchmarks/sources/full_manifest.py                    # 530,000 videos, core of 100k
    python benchmarks/sources/full_manifest.py --count 20000 --core 4000

The inputs are made first and not measured: WebVid's annotation file, a manifest (3 % unusable), captions and a merge
forest. Measured in a separate process: matching every row of the annotations with the file names of a folder, reading
the manifest with all checks, filtering it, joining it with captions and forest, and taking a core. No video file is
opened.
"""

import argparse
import csv
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.artefacts.captions import CaptionRecord, read_captions, write_captions
from sg.artefacts.forest import Forest, read_forest, subtree_sizes, write_forest
from sg.artefacts.manifest import OK, VideoRecord, read_manifest, write_manifest
from sg.sources.files.disk import VideoFile
from sg.sources.records.reading import read_records
from sg.sources.scan.findings import MISSING, Findings
from sg.sources.scan.items import AnnotatedVideo, name_keys
from sg.sources.scan.matching import FileMatcher
from sg.sources.sets.webvid import WebVid

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


def sentence(number: int, words: int) -> str:
    return " ".join(random.Random(number).choices(WORDS, k=words))


def video_number(row: int) -> int:
    return 1_000_000 + row * 17


def make(folder: Path, count: int) -> None:
    """Write the inputs of `measure` for `count` videos."""
    import numpy as np

    ids = [f"webvid-{video_number(row)}" for row in range(count)]
    usable = [row for row in range(count) if row % 100 >= 3]
    with (folder / "results_2M_train.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["videoid", "name", "page_idx", "page_dir", "duration", "contentUrl"])
        for row in range(count):
            slug = sentence(row, 6).replace(" ", "-")
            url = f"https://host/videos/{video_number(row)}/preview/stock-footage-{slug}.mp4"
            page = f"{row // 50 * 50:06d}_{row // 50 * 50 + 50:06d}"
            table.writerow([video_number(row), sentence(row, 14), 0, page, "PT00H00M18S", url])
    status = {row: (OK, "") if row % 100 >= 3 else ("unreadable", "not a video (text or HTML)") for row in range(count)}
    write_manifest(
        folder / "manifest.parquet",
        (
            VideoRecord(
                video_id=ids[row], source="webvid", path=file_path(row), duration_s=18.0, width=596, height=336,
                fps=25.0, num_frames=450, original_caption=sentence(row, 14), split="train", status=status[row][0],
                reason=status[row][1], extra='{"bytes": 2150000, "declared_ms": 18000}',
            )
            for row in range(count)
        ),
    )  # fmt: skip
    captions = (CaptionRecord(ids[row], sentence(row, 90), "synthetic", created_at="2026-01-01") for row in usable)
    write_captions(folder / "captions.parquet", captions)
    rng = np.random.default_rng(0)
    size = len(usable)
    order = rng.permutation(usable)
    into = np.minimum(np.arange(size) + 1 + rng.integers(0, size, size), size - 1)
    parent = np.where(np.arange(size) < size * 9 // 10, into, -1)
    flat = np.linspace(0.99, 0.5, size, dtype=np.float32)
    rounds = (np.arange(size) * 20 // size).astype("int32")
    forest = Forest([ids[row] for row in order], parent, flat, rounds, subtree_sizes(parent), flat)
    write_forest(folder / "forest.parquet", forest)


def file_path(row: int) -> str:
    return f"{row // 1000:05d}/{video_number(row)}.mp4"


def matched(folder: Path, count: int) -> int:
    """Match every row of the annotations with its file; 1 % of the files are missing."""
    clips = [VideoFile(file_path(row), file_path(row), 2_150_000 + row, row) for row in range(count) if row % 100]
    source = WebVid()
    with Findings(folder / "findings.parquet") as findings:
        matcher = FileMatcher(clips, lambda clip: name_keys(clip.stem), findings)
        for record in read_records(folder / "results_2M_train.csv"):
            for item in source.items(record, "results_2M_train.csv"):  # type: ignore[arg-type]
                if isinstance(item, AnnotatedVideo) and not matcher.take(item):
                    findings.add(MISSING, item.video_id, "", "no file of this name")
        return len(matcher.result())


def steps(folder: Path, count: int, core_size: int) -> Iterator[tuple[str, int]]:
    """Do the work; yields the name of each step and its number of rows."""
    yield "annotations matched with file names", matched(folder, count)
    manifest = read_manifest(folder / "manifest.parquet")
    yield "manifest read and checked", len(manifest)
    usable = manifest.usable()
    yield "filtered to usable videos", len(usable)
    captions = read_captions(folder / "captions.parquet")
    yield "captions read", len(captions)
    captioned = [video_id for video_id in usable.video_ids if video_id in captions]
    yield "joined with captions", len(captioned)
    forest = read_forest(folder / "forest.parquet")
    yield "merge forest read and checked", len(forest)
    core = forest.core(core_size)
    rows = [(row, captions[row.video_id]) for row in usable.select(core).records()]
    if len(rows) != core_size or not set(forest.core(core_size // 2)) <= set(core):
        raise RuntimeError("the core is not what it should be")
    yield f"cut to core-{core_size}, with captions", len(rows)


def measure(folder: Path, count: int, core_size: int) -> dict[str, Any]:
    """Seconds and rows of each step, all seconds, and the peak memory of this process in GiB."""
    table, started, cpu = [], time.monotonic(), time.process_time()
    for name, rows in steps(folder, count, core_size):
        table.append((name, rows, time.process_time() - cpu))
        cpu = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"steps": table, "wall_s": time.monotonic() - started, "peak_gib": peak}


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=530_000)
    parser.add_argument("--core", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="full-manifest-") as name:
        folder = Path(name)
        in_a_process(make, folder, options.count)
        result = in_a_process(measure, folder, options.count, options.core)
    print(f"{options.count:,} videos\n")
    print("| step | rows | CPU s |\n|---|---|---|")
    for step, rows, seconds in result["steps"]:
        print(f"| {step} | {rows:,} | {seconds:.2f} |")
    cpu = sum(seconds for _, _, seconds in result["steps"])
    print(f"| **all** (wall {result['wall_s']:.1f} s, peak {result['peak_gib']:.2f} GiB) | | **{cpu:.1f}** |")


if __name__ == "__main__":
    main()
