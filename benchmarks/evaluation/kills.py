"""Compares an evaluation that is killed many times with an uninterrupted one.

    python benchmarks/evaluation/kills.py [--kills 30] [--out work/benchmarks/evaluation]

Videos, questions and model are those of `shared_work.py`. A child process answers and gets SIGKILL when its file of
answers has grown by a random number of bytes. The final file must equal that of an uninterrupted process byte for byte.
"""

import argparse
import logging
import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path

import torch
from shared_work import Bench

from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.evaluate.answering import evaluate

FORK = multiprocessing.get_context("fork")


def answer(bench: Bench, store: VisualTokenStore, path: Path) -> None:
    bench.config.answering.batch_size = 6  # one write per video
    evaluate(bench.student, bench.processor, bench.benchmark, store, bench.config, path, "kills")


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def killed_after(bench: Bench, store: VisualTokenStore, path: Path, growth: int) -> bool:
    """Start a child and kill it when `path` has grown by `growth` bytes; True if it was still running."""
    before = size(path)
    child = FORK.Process(target=answer, args=(bench, store, path))
    child.start()
    while child.is_alive() and size(path) < before + growth:
        time.sleep(0.001)
    if child.is_alive() and child.pid is not None:
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    return child.exitcode == -signal.SIGKILL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--videos", type=int, default=60, help="number of videos, a third of each duration")
    parser.add_argument("--out", type=Path, default=Path("work/benchmarks/evaluation"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    bench, rng = Bench(arguments.out, arguments.videos), random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        store = bench.filled_store(Path(folder) / "tokens")
        whole, path = Path(folder) / "whole.jsonl", Path(folder) / "killed.jsonl"
        answer(bench, store, whole)
        step = max(1, size(whole) // arguments.kills)
        kills = sum(killed_after(bench, store, path, rng.randrange(step)) for _ in range(arguments.kills))
        cut = size(path)
        answer(bench, store, path)
        same, total = path.read_bytes() == whole.read_bytes(), size(whole)
    print(f"{kills} kills; {cut:,} of {total:,} bytes were written")
    print("the file equals that of an uninterrupted run" if same else "THE FILES DIFFER")


if __name__ == "__main__":
    main()
