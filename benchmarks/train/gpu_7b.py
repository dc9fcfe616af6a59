"""Speed of the caption stage on one GPU: a randomly initialised 7B, adapters, bfloat16, packed cached captions.

    python benchmarks/train/gpu_7b.py                       one GPU of 80 GB; no weights and no data are needed
    python benchmarks/train/gpu_7b.py --model Qwen/Qwen3-VL-4B-Instruct     any model of model=hf, or its folder
    python benchmarks/train/gpu_7b.py --size tiny --steps 3 --peak-tflops 0.05      a smoke test on a CPU

Every step trains on another batch of clips of 3 to 64 frames with captions of 40 to 200 ids, with the code of training:
packing, gradient checkpointing, fused AdamW. Batches are made before the clock starts, because the data loader's
processes make them in parallel to training. With `--model`, a published model trains its language model on the cached
features of such clips, which show noise of 640 x 360 pixels. Operations are counted as in `sg/train/flops.py`, without
recomputation for the backward pass. The goal is an MFU of 50 %.

With adapters the forward pass is half of the counted operations, and gradient checkpointing computes it twice: an MFU
of 50 % then needs three quarters of the peak. Without checkpointing (`--no-checkpointing --samples 6`) the activations
of a token take about 10 MB, by count. This has not run on a GPU yet.
"""

import argparse
import platform
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning_fabric.utilities.apply_func import move_data_to_device

from sg.artefacts.dialogs import Dialog, Turn
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.models.chat_univi.collate import Sample, collate
from sg.models.chat_univi.config import CLIP_VIT_L_14_336, VICUNA_7B_V15, ChatUniViConfig
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.student import ChatUniViStudent
from sg.models.chat_univi.text.conversation import EncodedDialog
from sg.models.chat_univi.text.special_ids import BOS_ID, PLACEHOLDER_ID
from sg.models.hf.student import HfStudent
from sg.models.student import IGNORED_LABEL, STUDENTS, TEXT, Batch, Student, TrainingSample
from sg.models.students.hf import HfConfig
from sg.train.config import LoraConfig, StageConfig, TrainerConfig
from sg.train.flops import device_peak_tflops
from sg.train.module import StageModule
from sg.train.workload import workload

WARM_UP = 3
PROMPT_IDS = 70  # Vicuna's system prompt and a request
TINY_TEXT = {"vocab_size": 700, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
             "num_attention_heads": 4, "max_position_embeddings": 2048}  # fmt: skip
TINY_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
              "image_size": 64, "patch_size": 8, "projection_dim": 32}  # fmt: skip


def random_model(size: str, device: torch.device) -> ChatUniViForConditionalGeneration:
    text, tower = (VICUNA_7B_V15, CLIP_VIT_L_14_336) if size == "7b" else (TINY_TEXT, TINY_TOWER)
    config = ChatUniViConfig(
        text_config={"model_type": "llama", **text}, vision_config={"model_type": "clip_vision_model", **tower}
    )
    torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32)
    with device:
        model = ChatUniViForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    return model


def caption_batch(config: ChatUniViConfig, samples: int, draw: random.Random) -> Batch:
    made = []
    for _ in range(samples):
        frames, answer = draw.randint(3, 64), draw.randint(40, 200)
        ids = [draw.randrange(3, config.text_config.vocab_size) for _ in range(PROMPT_IDS + answer)]
        prompt = [BOS_ID, *[PLACEHOLDER_ID] * frames, *ids[:PROMPT_IDS]]
        labels = [IGNORED_LABEL] * len(prompt) + ids[PROMPT_IDS:]
        tokens = torch.randn(config.merging.num_tokens(frames), config.vision_config.hidden_size)
        made.append(Sample(EncodedDialog(prompt + ids[PROMPT_IDS:], labels), [tokens], True, [0]))
    return collate(made) | {"share": 1.0}


def published_model(name: str, device: torch.device) -> Student:
    config = HfConfig(name="model", checkpoint=name, dtype="bfloat16" if device.type == "cuda" else "float32")
    student = STUDENTS.of(config).load(config)
    student.module.to(device)  # type: ignore[arg-type]  # transformers' wrapper hides PyTorch's types
    return student


def noise_features(student: HfStudent, draw: random.Random) -> ClipTensors:
    count = draw.randint(3, 64)
    facts = ClipFacts(tuple(range(count)), 2.0, count, 640, 360)
    tensors = student.processor.pixels(
        np.random.default_rng(count).integers(0, 256, (count, 360, 640, 3), np.uint8), facts
    )
    text = bytes(tensors.pop(TEXT, torch.tensor([])).tolist()).decode()
    clip = student.features([ClipTensors(str(count), replace(facts, text=text), tensors, False)])[0]
    return replace(clip, tensors={name: value.cpu() for name, value in clip.tensors.items()})


def worded_batch(student: HfStudent, clips: Sequence[ClipTensors], samples: int, draw: random.Random) -> Batch:
    made = []
    for _ in range(samples):
        clip, words = (
            draw.choice(clips),
            " ".join(draw.choices(("red", "circle", "moves", "left"), k=draw.randint(40, 200))),
        )
        turns = (Turn("human", "<video>\nDescribe this video in detail."), Turn("gpt", words))
        dialog = student.processor.encode(Dialog("d", "video", clip.key, turns), clip.facts, 1 << 20)
        made.append(TrainingSample(dialog, clip))
    return student.processor.collate(made, 1 << 20) | {"share": 1.0}


def on_device(batch: Batch, device: torch.device) -> dict[str, Any]:
    plain = {key: value for key, value in batch.items() if key != "share"}
    moved: dict[str, Any] = move_data_to_device(plain, device)
    return moved


def parse(device: torch.device) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["7b", "tiny"], default="7b")
    parser.add_argument("--model", help="of transformers, instead of a random one: a folder, or OWNER/NAME on the hub")
    parser.add_argument("--samples", type=int, default=16, help="samples of a micro-batch")
    parser.add_argument("--steps", type=int, default=20, help=f"measured steps, after {WARM_UP} to warm up")
    parser.add_argument("--peft", choices=["lora", "qlora", "none"], default="lora")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--no-checkpointing", action="store_true", help="keep all activations")
    parser.add_argument("--peak-tflops", type=float, default=None, help="of a GPU that the table does not know")
    arguments = parser.parse_args()
    if arguments.size == "7b" and arguments.model is None and device.type != "cuda":
        parser.error("the 7B model needs a GPU; --size tiny runs on a CPU")
    return arguments


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    arguments = parse(device)
    parts = ["language_model"] if arguments.model else ["connector", "language_model"]
    stage = StageConfig(
        name="caption", trains=parts, samples="captions", requests=["?"],
        peft=arguments.peft, lora=LoraConfig(rank=arguments.rank),
    )  # fmt: skip
    machine = TrainerConfig(
        accelerator="gpu" if device.type == "cuda" else "cpu", precision="bf16-mixed", packed=True,
        gradient_checkpointing=not arguments.no_checkpointing, peak_tflops=arguments.peak_tflops,
    )  # fmt: skip
    draw, steps = random.Random(0), WARM_UP + arguments.steps
    if arguments.model:
        student: Any = published_model(arguments.model, device)
        clips = [noise_features(student, draw) for _ in range(16)]
        batches = [worded_batch(student, clips, arguments.samples, draw) for _ in range(steps)]
    else:
        student = ChatUniViStudent(random_model(arguments.size, device))
        batches = [caption_batch(student.module.config, arguments.samples, draw) for _ in range(steps)]
    module = StageModule(student, stage, total_steps=1000, machine=machine).to(device)
    work = [workload(student, stage)(batch) for batch in batches[WARM_UP:]]
    seconds, loss = train(module, batches, stage.gradient_clip, device)
    report(arguments, device, machine, seconds, sum(w.tokens for w in work), sum(w.flops for w in work), loss)


def train(module: StageModule, batches: list[Batch], clip: float, device: torch.device) -> tuple[float, float]:
    """Seconds of the steps after the warm-up, and the last loss."""
    plan: Any = module.configure_optimizers()
    optimizer, scheduler = plan["optimizer"], plan["lr_scheduler"]["scheduler"]
    loss, started = torch.tensor(0.0), 0.0
    for step, batch in enumerate(batches):
        if step == WARM_UP:
            synchronise(device)
            started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16):
            loss = module.network(on_device(batch, device))
        loss.backward()
        module.configure_gradient_clipping(optimizer, clip)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    synchronise(device)
    return time.perf_counter() - started, float(loss.detach())


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def report(
    arguments: argparse.Namespace, device: torch.device, machine: TrainerConfig,
    seconds: float, tokens: float, flops: float, loss: float,
) -> None:  # fmt: skip
    peak = device_peak_tflops(machine.accelerator, machine.peak_tflops)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "CPU"
    rows = {
        "device": f"{name}, torch {torch.__version__}",
        "model": f"{arguments.model or arguments.size}, {arguments.peft}, {arguments.samples} samples a micro-batch",
        "last loss": f"{loss:.3f}",
        "steps/s": f"{arguments.steps / seconds:.2f}",
        "samples/s": f"{arguments.steps * arguments.samples / seconds:.2f}",
        "tokens/s": f"{tokens / seconds:,.0f}",
        "TFLOP/s": f"{flops / seconds / 1e12:.3f}",
        "MFU": "unknown: give --peak-tflops" if peak is None else f"{flops / seconds / peak / 1e12:.1%}",
    }
    if device.type == "cuda":
        rows["peak memory"] = f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
    for key, text in rows.items():
        print(f"{key:12} {text}")


if __name__ == "__main__":
    main()
