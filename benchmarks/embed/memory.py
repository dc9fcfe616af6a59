"""Memory of an embedding run over many videos: this process and its workers, from 100 videos to all.

    python benchmarks/embed/memory.py --videos 1000

Videos of 10 s at 360p, every tenth one damaged; one worker decodes them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.video.videos import make_video
from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.embed.embedders.demo import DemoEmbedderConfig
from sg.embed.run import embed_videos
from sg.sources.config import DataConfig

ROWS_PER_PART = 50


def family(pid: int) -> Iterator[int]:
    """This process and its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def resident_mb(pid: int) -> float:
    """Resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def report(folder: Path, marks: list[int], over: threading.Event) -> None:
    """Print the memory whenever one of `marks` videos is done."""
    while marks and not over.wait(0.2):
        if len(list(folder.glob("part-*.json"))) * ROWS_PER_PART >= marks[0]:
            sizes = [f"{resident_mb(pid):.0f}" for pid in family(os.getpid())]
            print(f"{marks.pop(0):>5} videos: {' + '.join(sizes)} MB (this process + its children)", flush=True)


def main(num_videos: int) -> None:
    """Embed and print."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "videos").mkdir()
        for number in range(10):
            path = make_video(root / "videos" / f"{number}.mp4", 10, preset="ultrafast")
            if number == 9:
                path.write_bytes(path.read_bytes()[:-5000])
        (root / "videos" / "segment-250-ultrafast.mp4").unlink()
        rows = [VideoRecord(f"v{number:06d}", "benchmark", f"{number % 10}.mp4") for number in range(num_videos)]
        write_manifest(root / "manifest.parquet", rows)
        data = DataConfig(name="memory", dir=str(root), videos=str(root / "videos"))
        tower = Path(__file__).resolve().parents[2] / "sg" / "demo" / "assets" / "vision_tower"
        config = DemoEmbedderConfig(
            name="demo", checkpoint=str(tower), num_frames=4, workers=1, rows_per_part=ROWS_PER_PART
        )
        over = threading.Event()
        marks = [100, *range(num_videos // 4, num_videos, num_videos // 4), num_videos - ROWS_PER_PART]
        folder = data.vectors_folder("demo")
        watcher = threading.Thread(target=report, args=(folder, marks, over))
        watcher.start()
        embed_videos(data, config)
        over.set()
        watcher.join()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--videos", type=int, default=1000)
    main(parser.parse_args().videos)
