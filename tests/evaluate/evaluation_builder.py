"""Builders for the tests of answering: a random tiny model, a synthetic benchmark folder, and visual tokens."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.evaluate.benchmark import Benchmark, read_benchmark
from sg.evaluate.benchmarks.video_mme import VideoMmeConfig
from sg.evaluate.config import AnsweringConfig, BenchmarkConfig, PromptConfig
from sg.models.chat_univi.config import ChatUniViConfig
from sg.models.chat_univi.inputs import ChatUniViInputs
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.processor import ChatUniViProcessor
from sg.models.chat_univi.student import ChatUniViStudent
from sg.models.chat_univi.text.conversation import DialogEncoder

TOKENIZER = Path(__file__).parents[1] / "goldens" / "chat_univi" / "text" / "tokenizer" / "tokenizer.model"
WIDTH = 16
DURATIONS = {"short": (8, 14), "medium": (16, 28), "long": (32, 56)}
"""{duration: (number of frames, number of visual tokens)}"""


def tiny_model(seed: int = 0, max_positions: int = 1024) -> ChatUniViForConditionalGeneration:
    """A random model whose answers differ from question to question."""
    torch.manual_seed(seed)
    text = {"model_type": "llama", "vocab_size": 700, "hidden_size": 64, "intermediate_size": 176, "pad_token_id": 0}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": max_positions}
    text |= {"bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3}
    vision = {"model_type": "clip_vision_model", "hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2}
    vision |= {"num_attention_heads": 2, "image_size": 32, "patch_size": 16}
    config = ChatUniViConfig(text_config=text, vision_config=vision, spatial_clusters=(4, 2, 1))
    return ChatUniViForConditionalGeneration(config).eval()


def tiny_encoder() -> DialogEncoder:
    """The golden tokenizer with a short system prompt."""
    return DialogEncoder(TOKENIZER, system_prompt="A chat.")


def question_row(video: int, number: int, duration: str) -> dict[str, Any]:
    row = {"video_id": f"{video:03d}", "videoID": f"yt{video:03d}", "duration": duration, "domain": "Knowledge"}
    row |= {"sub_category": "Law", "task_type": "OCR Problems", "question_id": f"{video:03d}-{number}"}
    words = ["red", "blue square", "green", "a black and white cat"]
    options = [f"{letter}. {words[(at + video + number) % 4]}" for at, letter in enumerate("ABCD")]
    text = f"What is {'very ' * (number % 3)}shown at {video * number}?"
    return row | {"question": text, "options": options, "answer": "ABCD"[(video + number) % 4]}


def srt(seconds: int) -> str:
    blocks = [f"{i}\n00:00:{i:02d},500 --> 00:00:{i + 2:02d},500\nline {i} of the talk\n" for i in range(1, seconds, 3)]
    return "\n".join(blocks)


def benchmark_folder(folder: Path, videos: int = 6) -> Path:
    """`videos` videos with three questions each; durations alternate, files are empty, some have no subtitles."""
    (folder / "videos").mkdir(parents=True)
    (folder / "subtitle").mkdir()
    rows = []
    for video in range(videos):
        duration = list(DURATIONS)[video % 3]
        rows += [question_row(video, number, duration) for number in (1, 2, 3)]
        (folder / "videos" / f"yt{video:03d}.mp4").touch()
        if video % 4 != 3:
            (folder / "subtitle" / f"yt{video:03d}.srt").write_text(srt(DURATIONS[duration][0]))
    pq.write_table(pa.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet")
    return folder


def benchmark_config(folder: Path, **answering: Any) -> BenchmarkConfig:
    values = {"max_new_tokens": 4, "stop_at_first_letter": False} | answering
    return VideoMmeConfig("demo", str(folder), prompt=PromptConfig(), answering=AnsweringConfig(**values))


def visual_tokens(benchmark: Benchmark, seed: int = 1) -> dict[str, ClipTensors]:
    generator = torch.Generator().manual_seed(seed)
    clips = {}
    for video in benchmark.videos:
        frames, count = DURATIONS[video.duration]
        tokens = torch.randn(count, WIDTH, generator=generator)
        facts = ClipFacts(list(range(frames)), 1.0, frames)
        clips[video.media_id] = ClipTensors(video.media_id, facts, {"tokens": tokens}, are_features=True)
    return clips


@dataclass(frozen=True)
class World:
    """What the arguments of `evaluate` are made of."""

    model: ChatUniViForConditionalGeneration
    encoder: DialogEncoder
    benchmark: Benchmark
    tokens: dict[str, ClipTensors]
    config: BenchmarkConfig

    @property
    def student(self) -> ChatUniViStudent:
        return ChatUniViStudent(self.model)

    @property
    def processor(self) -> ChatUniViInputs:
        return tiny_processor(self.encoder)


def tiny_processor(encoder: DialogEncoder) -> ChatUniViInputs:
    return ChatUniViInputs(encoder, ChatUniViProcessor(32))


def world(folder: Path, videos: int = 6, max_positions: int = 1024, **answering: Any) -> World:
    config = benchmark_config(benchmark_folder(folder, videos), **answering)
    benchmark = read_benchmark(config)
    return World(tiny_model(max_positions=max_positions), tiny_encoder(), benchmark, visual_tokens(benchmark), config)
