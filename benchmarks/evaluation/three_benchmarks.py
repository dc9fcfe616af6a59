"""Three benchmarks about the same videos in one call, against one alone and against three calls.

    python benchmarks/evaluation/three_benchmarks.py [--videos 60] [--out work/benchmarks/evaluation]

Videos, questions and model are those of `shared_work.py`; the second and the third benchmark are `benchmark=custom`
tables with four questions about each of the videos. Every row starts with an empty cache of visual tokens, and three
calls have a cache each, as separate programs would. The table counts decoded videos, encoded clips and CPU seconds.
"""

import argparse
import json
import logging
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from shared_work import MODEL, Bench

from sg.core.places.config import PathsConfig
from sg.evaluate.benchmarks.custom import CustomBenchmarkConfig
from sg.evaluate.config import AnsweringConfig, BenchmarkConfig
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.study.evaluation import EvaluateConfig, evaluate_checkpoint
from sg.train.config import TrainerConfig
from sg.train.data import visual_tokens

LENGTH = 8


def own_table(folder: Path, name: str, videos: list[Path]) -> BenchmarkConfig:
    """A benchmark of one's own with four questions about each video."""
    (folder / name / "videos").mkdir(parents=True)
    for video in videos:
        shutil.copy(video, folder / name / "videos")
    words = ["red", "blue", "green", "white"]
    rows = [
        {"video": f"videos/{video.name}", "question_id": f"{name}-{at}-{word}", "question": f"Is it {word}?",
         "options": words, "answer": word}
        for at, video in enumerate(videos) for word in words
    ]  # fmt: skip
    (folder / name / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answering = AnsweringConfig(settings=["without_subtitles"], probes=[], max_new_tokens=LENGTH, batch_size=126)
    return CustomBenchmarkConfig(name, str(folder / name), answering=answering)


def measure(name: str, calls: list[list[BenchmarkConfig]], checkpoint: Path, folder: Path) -> dict[str, float]:
    """Run the calls, print a row of the table, and return the overall accuracy by benchmark and setting."""
    encode = ChatUniViForConditionalGeneration.encode_clips
    with (
        patch.object(visual_tokens, "decode_clip", wraps=visual_tokens.decode_clip) as decoded,
        patch.object(ChatUniViForConditionalGeneration, "encode_clips", autospec=True, side_effect=encode) as encoded,
    ):
        started, scores = time.process_time(), {}
        for number, (first, *more) in enumerate(calls):
            place = folder / f"{name} {number}"
            paths = PathsConfig(work=str(place / "work"), runs=str(place / "runs"))
            config = EvaluateConfig(
                checkpoint=str(checkpoint), model=MODEL, benchmark=first, paths=paths,
                more_benchmarks={one.name: one for one in more}, trainer=TrainerConfig(decode_workers=0),
            )  # fmt: skip
            found = evaluate_checkpoint(config)
            scores |= {key if "/" in key else f"{first.name}/{key}": value["overall"] for key, value in found.items()}
        seconds = time.process_time() - started
    clips = sum(len(call.args[2]) for call in encoded.call_args_list)
    print(f"{name:24}{decoded.call_count:9}{clips:9}{seconds:8.1f}")
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=60, help="number of videos, a third of each duration")
    parser.add_argument("--out", type=Path, default=Path("work/benchmarks/evaluation"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    bench = Bench(arguments.out.resolve(), arguments.videos)
    files = [video.path for video in bench.benchmark.videos if video.path is not None]
    demo = replace(bench.config, answering=replace(bench.config.answering, probes=[]))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bench.model.save_pretrained(folder / "model")
        bench.processor.save(folder / "model")
        own = [own_table(folder, name, files) for name in ("second", "third")]
        print(f"{'':24}{'decoded':>9}{'encoded':>9}{'CPU s':>8}")
        measure("one alone (to warm up)", [[demo]], folder / "model", folder)
        alone = measure("one alone", [[demo]], folder / "model", folder / "again")
        together = measure("three in one call", [[demo, *own]], folder / "model", folder)
        apart = measure("three calls", [[demo], [own[0]], [own[1]]], folder / "model", folder)
    same = all(together[name] == score == apart[name] for name, score in alone.items())
    others = max(abs(together[name] - apart[name]) for name in together.keys() - alone.keys())
    print(f"scores of the first benchmark are {'equal' if same else 'DIFFERENT'}; those of the others differ by up to")
    print(f"{others:.1f} points, because the noise of token merging has the name of the first one as its seed")


if __name__ == "__main__":
    main()
