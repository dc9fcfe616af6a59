"""What shared work saves for a model of transformers: questions about one video, and training with the cache.

    PYTHONPATH=. python benchmarks/models/hf_shared_work.py [--videos 2] [--questions 12] [--steps 4]

The model is a random Qwen3-VL of width 128 in float32 on one thread; a clip has 32 frames of 256 x 192 pixels and 768
visual tokens. "One by one" is what a plain script does: transformers' `generate` for each question, with the pixels of
its clip. "Shared" computes the features of a clip once and the prefix of its prompts once. Both must give the same
answers. Training is forward and backward of micro-batches of 4 captions: of the language model with the cached output
of the connector, and of both with that of the tower. Results: `hf_shared_work.md`.
"""

import argparse
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers

from sg.artefacts.dialogs import Dialog, Turn
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.models.answering import Answerer, EncodedPrompt
from sg.models.hf.media import ClipProcessor, metadata
from sg.models.hf.processor import HfProcessor
from sg.models.hf.sizes import PlannedClips, model_size
from sg.models.hf.student import HfStudent
from sg.models.hf.wording import Wording
from sg.models.student import CONNECTOR, LANGUAGE_MODEL, TrainingSample, part_of
from tests.models.hf.families import MROPE, chatml, qwen_ids, qwen_tokenizer, text_settings

FRAMES, WIDTH, HEIGHT, FPS, NEW_TOKENS = 32, 256, 192, 2.0, 4
VISION = {"depth": 4, "hidden_size": 128, "intermediate_size": 512, "num_heads": 4, "out_hidden_size": 128,
          "patch_size": 16, "num_position_embeddings": 256, "deepstack_visual_indexes": [1, 2, 3]}  # fmt: skip
TEXT = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 6, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "initializer_range": 0.1}  # fmt: skip
VIDEO, IMAGE = "<|vision_start|><|video_pad|><|vision_end|>", "<|vision_start|><|image_pad|><|vision_end|>"
FACTS = ClipFacts(tuple(range(FRAMES)), FPS, FRAMES, WIDTH, HEIGHT)


def random_student() -> HfStudent:
    tokenizer = qwen_tokenizer()
    rope = MROPE | {"mrope_interleaved": True, "mrope_section": [8, 4, 4]}
    text = text_settings(tokenizer, rope_parameters=rope) | TEXT
    config = transformers.Qwen3VLConfig(text_config=text, vision_config=VISION, **qwen_ids(tokenizer))
    torch.manual_seed(0)
    model = transformers.AutoModelForImageTextToText.from_config(config).float().eval()
    size = {"shortest_edge": 4096, "longest_edge": 2 * FRAMES * WIDTH * HEIGHT}
    processor = transformers.Qwen3VLProcessor(
        transformers.Qwen2VLImageProcessor(patch_size=16),
        tokenizer,
        transformers.Qwen3VLVideoProcessor(patch_size=16, size=size, cap_pixels_per_frame=True),
        chat_template=chatml(VIDEO, IMAGE),
    )
    clips = ClipProcessor(processor, "random")
    planned = model_size(config, "random", "float32", "float32", PlannedClips())
    return HfStudent(model, HfProcessor(clips, Wording(processor, "random")), "random", planned)


def frames_of(video: int) -> np.ndarray:
    return np.random.default_rng(video).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)


def pixels_of(student: HfStudent, video: int) -> ClipTensors:
    return ClipTensors(str(video), FACTS, student.processor.pixels(frames_of(video), FACTS), False)


def question(number: int) -> str:
    return f"Question {number}: what happens first?\nA. The circle moves.\nB. The square stops.\nC. Nothing.\nAnswer:"


@torch.inference_mode()
def one_by_one(student: HfStudent, videos: int, questions: int) -> list[list[int]]:
    """transformers alone: its processor, its template and its `generate` for each question."""
    processor, answers = student.processor.clips.processor, []
    for video in range(videos):
        for number in range(questions):
            shown = {"type": "video", "video": torch.from_numpy(frames_of(video)).permute(0, 3, 1, 2)}
            content = [shown, {"type": "text", "text": question(number)}]
            inputs = processor.apply_chat_template(
                [[{"role": "user", "content": content}]], tokenize=True, return_dict=True, return_tensors="pt",
                add_generation_prompt=True,
                processor_kwargs={"do_sample_frames": False, "video_metadata": [metadata(FACTS)]},
            )  # fmt: skip
            ids = student.module.generate(
                **inputs, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=sorted(student.eos_ids),
                pad_token_id=0,
            )[0, inputs["input_ids"].shape[1] :].tolist()  # fmt: skip
            answers.append(ids[: next((at for at, token in enumerate(ids) if token in student.eos_ids), len(ids))])
    return answers


def shared(student: HfStudent, videos: int, questions: int) -> list[list[int]]:
    """The evaluation of this project."""
    clips: dict[str, ClipTensors | None] = {
        str(video): student.features([pixels_of(student, video)], "connector")[0] for video in range(videos)
    }
    prompts = [
        EncodedPrompt(student.processor.question(question(number), clips[clip]).ids, clip, "", NEW_TOKENS)
        for clip in clips
        for number in range(questions)
    ]
    return [answer.ids for answer in Answerer(student).answer(prompts, clips)]


def training(student: HfStudent, clips: list[ClipTensors], steps: int) -> list[float]:
    """The losses of `steps` micro-batches."""
    samples = []
    for number, clip in enumerate(clips):
        turns = (Turn("human", "<video>\nDescribe the video."), Turn("gpt", f"A red circle moves {number}. " * 12))
        dialog = student.processor.encode(Dialog("d", "video", None, turns), clip.facts, 4096)
        samples.append(TrainingSample(dialog, clip))
    losses = []
    for _ in range(steps):
        loss = student.loss(student.processor.collate(samples, 4096))[0]
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch's
        student.module.zero_grad()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
    return losses


def measured(name: str, work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    result = work()
    seconds = time.process_time() - started
    print(f"| {name} | {seconds:.1f} |", flush=True)
    return result, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("videos", 2), ("questions", 12), ("steps", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    student = random_student()
    print(f"{given.videos} videos, {given.questions} questions each; {given.steps} micro-batches of 4 captions\n")
    print("| work | CPU s |\n|---|---|")
    alone, slow = measured("questions one by one", lambda: one_by_one(student, given.videos, given.questions))
    together, fast = measured("questions with shared prefixes", lambda: shared(student, given.videos, given.questions))
    assert alone == together
    pixels = [pixels_of(student, video) for video in range(4)]
    ratios = []
    for level, learnt in (("connector", [LANGUAGE_MODEL]), ("tower", [CONNECTOR, LANGUAGE_MODEL])):
        for name, value in student.module.named_parameters():
            value.requires_grad_(part_of(student.parts, name) in learnt)
        what = f"training of {' and '.join(learnt)}"
        plain, without = measured(f"{what}, without the cache", lambda: training(student, pixels, given.steps))
        features, _ = measured(f"output of the {level} for 4 clips, once", partial(student.features, pixels, level))
        cached, with_cache = measured(f"{what}, with the cache", partial(training, student, features, given.steps))
        assert np.allclose(plain, cached, rtol=0, atol=1e-5)
        ratios.append(f"{without / with_cache:.1f} x")
    print(f"\nEqual results. Questions: {slow / fast:.1f} x less CPU. Training: {' and '.join(ratios)}.")


if __name__ == "__main__":
    main()
