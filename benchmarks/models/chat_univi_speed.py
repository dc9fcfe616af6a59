"""Measures CPU seconds of a training step and of encoding a clip, compared with the published code's computations.

    python benchmarks/models/chat_univi_speed.py [--steps 3] [--clips 2] [--profile]

The workload of `docs/reference/chat_univi.md`, section 15, in float32 on one thread: a tower of 6 layers of width 256,
a Llama of 6 layers of width 512 with a vocabulary of 4,096, and a batch of 8 samples of 8 frames at 224 pixels with 40
prompt ids and 100 supervised ids, forward and backward of connector and language model; then one clip of 8, 32 and 64
frames at 336 pixels.

The baseline (`plain_chat_univi.py`) and our code run in turn, so that other load slows both equally. Seconds are user
and system time of the process. The table shows the medians of all rounds, their ratio, and the ratio of the minima,
which other load affects least. Both must give the same loss, gradients and tokens. The published code itself took 5.4
to 6.2 CPU seconds per step and 1.15, 5.1 and 10.5 per clip on another machine. Results are in `chat_univi_speed.md`.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from plain_chat_univi import PlainChatUniVi
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.models.chat_univi.config import ChatUniViConfig
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.text.special_ids import PLACEHOLDER_ID
from sg.models.student import IGNORED_LABEL

SAMPLES, FRAMES, PROMPT, SUPERVISED, VOCABULARY = 8, 8, 40, 100, 4096
BARS = {"step": 1.4, "step, cached tokens": 2.5}
ENCODING_BAR = 1.6


@dataclass
class Timings:
    """CPU seconds of all rounds, by the name of the implementation."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, name: str, work: Callable[[], Any]) -> None:
        """Run `work` once and record its CPU seconds."""
        start = time.process_time()
        work()
        self.seconds.setdefault(name, []).append(time.process_time() - start)

    def median(self, name: str) -> float:
        """Median of the seconds of `name`."""
        return statistics.median(self.seconds[name])

    def least(self, name: str) -> float:
        """Minimum of the seconds of `name`."""
        return min(self.seconds[name])


def build(image_size: int) -> ChatUniViForConditionalGeneration:
    """The model of the benchmark; connector and language model are trained."""
    torch.manual_seed(0)
    text = {
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 512, "intermediate_size": 1376,
        "num_hidden_layers": 6, "num_attention_heads": 8, "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "model_type": "clip_vision_model", "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6,
        "num_attention_heads": 4, "image_size": image_size, "patch_size": 14,
    }  # fmt: skip
    model = ChatUniViForConditionalGeneration(ChatUniViConfig(text_config=text, vision_config=vision))
    model.set_trainable(connector=True, language_model=True)
    return model.train()


def batch() -> dict[str, Tensor]:
    """Ids, labels, mask and frames of the benchmark's batch."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(3, VOCABULARY, (SAMPLES, PROMPT + SUPERVISED), generator=generator)
    text[:, 0] = 1
    run = torch.full((SAMPLES, FRAMES), PLACEHOLDER_ID)
    ids = torch.cat([text[:, : PROMPT - 10], run, text[:, PROMPT - 10 :]], dim=1)
    labels = torch.full_like(ids, IGNORED_LABEL)
    labels[:, -SUPERVISED:] = ids[:, -SUPERVISED:]
    frames = scenes(SAMPLES * FRAMES, 224, generator)
    return {"input_ids": ids, "labels": labels, "attention_mask": ids != 0, "frames": frames}


def scenes(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Frames [count, 3, size, size] with different patches."""
    coarse = torch.randn(count, 3, size // 14, size // 14, generator=generator).repeat_interleave(14, -1)
    return coarse.repeat_interleave(14, -2) + 0.3 * torch.randn(count, 3, size, size, generator=generator)


def train_steps(rounds: int) -> tuple[Timings, Callable[[], Any], Callable[[], Any]]:
    """Timings of three implementations of a training step, and our two (without and with cached tokens) to profile."""
    model, inputs = build(224), batch()
    plain = PlainChatUniVi(model).train()
    frames, counts = inputs.pop("frames"), [FRAMES] * SAMPLES
    noise = [torch.zeros(FRAMES)] * SAMPLES
    with torch.no_grad():
        clips = model.encode_clips(frames, counts, temporal_noise=noise)
    cached = {"visual_tokens": torch.cat(clips), "visual_counts": [len(clip) for clip in clips]}

    def step(loss: Callable[[], Tensor]) -> Callable[[], float]:
        def run() -> float:
            model.zero_grad(set_to_none=True)
            value = loss()
            value.backward()
            return value.item()

        return run

    ways = {
        "baseline": step(lambda: plain.loss(*inputs_in_order(inputs), frames, counts)),
        "step": step(lambda: model(**inputs, frames=frames, frame_counts=counts, temporal_noise=noise).loss),
        "step, cached tokens": step(lambda: model(**inputs, **cached).loss),
    }
    check_alike(model, ways)
    timings = Timings()
    for _ in range(rounds):
        for name, work in ways.items():
            timings.measure(name, work)
    return timings, ways["step"], ways["step, cached tokens"]


def inputs_in_order(inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, labels and mask."""
    return inputs["input_ids"], inputs["labels"], inputs["attention_mask"]


def check_alike(model: ChatUniViForConditionalGeneration, ways: dict[str, Callable[[], float]]) -> None:
    """Check that all implementations give the loss and the gradients of the baseline; this also warms up."""
    losses, gradients = {}, {}
    for name, work in ways.items():
        losses[name] = work()
        gradients[name] = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    for name in ways:
        torch.testing.assert_close(losses[name], losses["baseline"], atol=2e-5, rtol=0)
        for key, wanted in gradients["baseline"].items():
            scale = float(wanted.abs().max())
            torch.testing.assert_close(gradients[name][key], wanted, atol=2e-5 * scale, rtol=0)


def encoding(frames: int, rounds: int) -> Timings:
    """Timings of both implementations of encoding one clip at 336 pixels."""
    model = build(336).eval()
    plain = PlainChatUniVi(model)
    clip = scenes(frames, 336, torch.Generator().manual_seed(2))
    noise = 1e-4 * torch.arange(frames)  # without noise, two frames of a longer clip have the same density
    ways = {
        "baseline": lambda: plain.encode(clip, [frames], noise)[0],
        "encoding": lambda: model.encode_clips(clip, [frames], temporal_noise=[noise])[0],
    }
    torch.testing.assert_close(ways["encoding"](), ways["baseline"](), atol=1e-4, rtol=0)
    timings = Timings()
    for _ in range(rounds):
        for name, work in ways.items():
            timings.measure(name, work)
    return timings


def peak_gflops() -> float:
    """GFLOP/s of one thread in a large float32 matrix product, to characterise the machine."""
    a, timings = torch.randn(2048, 2048), Timings()
    for _ in range(4):
        timings.measure("product", lambda: a @ a)
    return 2 * 2048**3 / min(timings.seconds["product"]) / 1e9


def processor_name() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def show(work: str, timings: Timings, bars: dict[str, float]) -> None:
    """Print one line per implementation: medians, ratio of medians, ratio of minima, and the target."""
    baseline, least = timings.median("baseline"), timings.least("baseline")
    for name, bar in bars.items():
        seconds = timings.median(name)
        ratios = f"{baseline / seconds:.2f}x | {least / timings.least(name):.2f}x"
        print(f"| {work}{name} | {baseline:.2f} | {seconds:.2f} | {ratios} | {bar}x |", flush=True)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3, help="training steps of each implementation")
    parser.add_argument("--clips", type=int, default=2, help="encodings of each implementation and length")
    parser.add_argument("--lengths", type=int, nargs="*", default=[8, 32, 64], help="frames of the encoded clips")
    parser.add_argument("--profile", action="store_true", help="print a profile of our steps instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    timings, uncached, cached = train_steps(0 if options.profile else options.steps)
    if options.profile:
        for work in (uncached, cached):
            with torch.profiler.profile() as profile:
                work()
            print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=30, max_name_column_width=60))
        return
    print(f"{processor_name()}, one thread, {peak_gflops():.0f} GFLOP/s in a product of 2048 x 2048")
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}\n")
    print("| work | baseline, CPU s | ours, CPU s | speed-up (medians) | speed-up (minima) | target |")
    print("|---|---|---|---|---|---|")
    show("", timings, BARS)
    for frames in options.lengths:
        show(f"{frames} frames, ", encoding(frames, options.clips), {"encoding": ENCODING_BAR})


if __name__ == "__main__":
    main()
