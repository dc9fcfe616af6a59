"""Compares an evaluation that shares work with one that asks one question at a time, both from the video files.

    python benchmarks/evaluation/shared_work.py [--videos 60] [--out work/benchmarks/evaluation]

Videos, questions and model are those of the demo world. "One by one" decodes and encodes the video again for each
question and setting and calls the model's own `generate`, as common harnesses do. Both must give the same answers. The
table counts decoded videos, encoded clips and CPU seconds.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch

from sg.artefacts.predictions import read_predictions
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.demo.build import build_demo_world
from sg.demo.config import DemoWorldConfig
from sg.evaluate.answering import evaluate
from sg.evaluate.asking import Asker
from sg.evaluate.benchmark import Benchmark, read_benchmark
from sg.evaluate.benchmarks.video_mme import VideoMmeConfig
from sg.evaluate.config import AnsweringConfig, PromptConfig
from sg.models.chat_univi.build import build_inputs, build_model
from sg.models.chat_univi.identity import visual_token_identity
from sg.models.chat_univi.inputs import noise_seed
from sg.models.chat_univi.settings import ModelConfig
from sg.models.chat_univi.student import ChatUniViStudent
from sg.train.data import visual_tokens
from sg.train.data.samples import Clip
from sg.train.data.visual_tokens import fill_cache

MODEL = ModelConfig(
    name="tiny",
    language_model="sg/demo/assets/language_model",
    vision_tower="sg/demo/assets/vision_tower",
    system_prompt="",
    spatial_clusters=[8, 4, 2],
    temporal_cluster_rate=1 / 8,
    visual_token_dtype="float32",  # "one by one" does not round either
)


@dataclass(frozen=True)
class Measured:
    """One evaluation: its answers and its cost."""

    name: str
    answers: dict
    decoded: int
    encoded: int
    seconds: float


class Bench:
    """The demo's benchmark and model, for both evaluations."""

    def __init__(self, folder: Path, videos: int) -> None:
        world = DemoWorldConfig(videos_per_k=1, align_clips=1, instruct_clips=1, benchmark_videos=videos // 3)
        build_demo_world(world, folder / "world")
        prompt = PromptConfig(subtitle_header="Subs:", instruction="", last_line="Answer:")
        answering = AnsweringConfig(probes=[], max_new_tokens=8, batch_size=126)
        where = str(folder / "world" / "benchmark")
        self.config = VideoMmeConfig("demo", where, prompt=prompt, answering=answering)
        self.benchmark: Benchmark = read_benchmark(self.config)
        self.model, self.processor = build_model(MODEL), build_inputs(MODEL)
        self.student = ChatUniViStudent(self.model)
        self.folder = folder

    def clips(self) -> dict[str, Clip]:
        """The clips by media id."""
        return {video.media_id: Clip(video.media_id, video.path) for video in self.benchmark.videos}

    def filled_store(self, folder: Path) -> VisualTokenStore:
        """A store in `folder` with the visual tokens of all videos."""
        widths = self.student.feature_widths("merged")
        store = VisualTokenStore.create(folder, visual_token_identity(MODEL), widths, MODEL.visual_token_dtype)
        fill_cache(store, self.clips().values(), lambda: self.student, self.processor, "merged", decode_workers=0)
        return store

    def shared(self, folder: Path) -> dict:
        """Decode and encode each video once, into a cache in `folder`, and share the prefixes of prompts."""
        store = self.filled_store(folder / "tokens")
        path = folder / "predictions.jsonl"
        evaluate(self.student, self.processor, self.benchmark, store, self.config, path, "shared")
        return {row.key: row.response for row in read_predictions(path)}

    def one_by_one(self, folder: Path) -> dict:
        """Decode, encode and generate for each question; the prompts are those of the shared evaluation."""
        store = VisualTokenStore(folder / "tokens")
        clips, answers = self.clips(), {}
        for ask in Asker(self.benchmark, self.config, self.processor, store, 2048).asks():
            shown = clips[ask.row.tokens_of]
            clip = visual_tokens.decode_clip(shown.key, shown.path, self.processor)
            tokens = self.model.encode_video(clip.tensors["pixels"], noise_seed(clip.key, clip.facts))
            new = self.model.generate(
                torch.tensor([ask.ids]), visual_tokens=tokens, visual_counts=[len(tokens)],
                max_new_tokens=self.config.answering.max_new_tokens,
            )  # fmt: skip
            answers[ask.row.key] = self.processor.decode(new[0].tolist())
        return answers

    def measure(self, name: str, evaluation: Callable[[Path], dict], folder: Path) -> Measured:
        """Run one evaluation and count its work."""
        decode = patch.object(visual_tokens, "decode_clip", wraps=visual_tokens.decode_clip)
        encode = patch.object(self.model, "encode_clips", wraps=self.model.encode_clips)
        with decode as decoded, encode as encoded:
            started = time.process_time()
            answers = evaluation(folder)
            seconds = time.process_time() - started
        clips = sum(len(call.args[1]) for call in encoded.call_args_list)
        return Measured(name, answers, decoded.call_count, clips, seconds)


def differing(one: Measured, other: Measured) -> list:
    return [key for key in one.answers if one.answers[key] != other.answers[key]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=60, help="number of videos, a third of each duration")
    parser.add_argument("--out", type=Path, default=Path("work/benchmarks/evaluation"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    bench = Bench(arguments.out, arguments.videos)
    with tempfile.TemporaryDirectory() as folder:
        results = [
            bench.measure("shared", bench.shared, Path(folder)),
            bench.measure("one by one", bench.one_by_one, Path(folder)),
        ]
    print(f"{'':12}{'questions':>10}{'decoded':>9}{'encoded':>9}{'CPU s':>8}")
    for result in results:
        print(f"{result.name:12}{len(result.answers):10}{result.decoded:9}{result.encoded:9}{result.seconds:8.1f}")
    print(
        f"{len(differing(*results))} answers differ; {results[1].seconds / results[0].seconds:.1f} times less CPU time"
    )


if __name__ == "__main__":
    main()
