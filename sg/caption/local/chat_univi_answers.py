"""A loaded checkpoint that answers one prompt about video files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sg.caption.cleaning import clean_caption
from sg.core.fingerprints import text_seed
from sg.models.config import ModelConfig

if TYPE_CHECKING:
    from torch import Tensor

_TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class VideoAnswer:
    """The answer about one video, or why there is none."""

    video_id: str
    caption: str = ""
    problem: str = ""
    output_tokens: int = 0
    quality_flags: tuple[str, ...] = ()


class VideoAnswerer:
    """A checkpoint on the GPU, or on the CPU where there is none."""

    def __init__(self, checkpoint: str, config: ModelConfig, prompt: str, max_new_tokens: int) -> None:
        import torch

        from sg.models.chat_univi.build import build_encoder, build_processor, load_checkpoint

        model = load_checkpoint(checkpoint, config.dtype)
        self._prompt, self._max_new_tokens = prompt, max_new_tokens
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self._device)  # type: ignore[arg-type]  # transformers' wrapper hides PyTorch's types
        self._encoder = build_encoder(_with_own_tokenizer(config, checkpoint))
        self._processor = build_processor(config, model)

    def answer(self, files: Mapping[str, Path]) -> list[VideoAnswer]:
        """One answer per video of `files` ({video id: path}), in their order; all are answered in one batch."""
        pixels: dict[str, Tensor] = {}
        problems: dict[str, str] = {}
        for video_id, path in files.items():
            frames = self._frames(path)
            if isinstance(frames, str):
                problems[video_id] = frames
            else:
                pixels[video_id] = frames
        ids = dict(zip(pixels, self._generate(pixels), strict=True)) if pixels else {}
        return [self._answer(video_id, ids.get(video_id), problems.get(video_id, "")) for video_id in files]

    def _frames(self, path: Path) -> Tensor | str:
        """Pixel values [T, 3, size, size] of a video's sampled frames, or why the video cannot be read."""
        from sg.video.frames import UnreadableVideoError
        from sg.video.reader import read_frames

        try:
            return self._processor.pixel_values(read_frames(path, self._processor.frames).frames)
        except UnreadableVideoError as error:
            return str(error)

    def _generate(self, pixels: Mapping[str, Tensor]) -> list[list[int]]:
        """Token ids of the answers about the videos of `pixels` ([T, 3, size, size] each), in their order."""
        import torch

        counts = [len(frames) for frames in pixels.values()]
        # The seed of the merging noise depends on the video alone: its tokens do not depend on the batch.
        seeds = [text_seed("merging noise", key, count) for key, count in zip(pixels, counts, strict=True)]
        frames = torch.cat(list(pixels.values())).to(self._device)
        tokens = self._model.encode_clips(frames, counts, seeds)
        prompts = [torch.tensor(self._encoder.encode_prompt(self._prompt, count)) for count in counts]
        ids = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True)
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        answers = self._model.generate(
            ids.to(self._device),
            (torch.arange(ids.shape[1]) < lengths[:, None]).to(self._device),
            visual_tokens=torch.cat(tokens),
            visual_counts=[len(of_video) for of_video in tokens],
            max_new_tokens=self._max_new_tokens,
        )
        rows: list[list[int]] = answers.tolist()
        return rows

    def _answer(self, video_id: str, ids: list[int] | None, problem: str) -> VideoAnswer:
        if ids is None:
            return VideoAnswer(video_id, problem=problem)
        text, flags = clean_caption(self._encoder.decode(ids))
        used = self._encoder.encode_text(text, with_placeholders=False)
        return VideoAnswer(video_id, text, "" if text else "the answer of the model is empty", len(used), flags)


def _with_own_tokenizer(model: ModelConfig, checkpoint: str) -> ModelConfig:
    """`model` with the checkpoint's own tokenizer, if the checkpoint is a folder that has one."""
    from sg.models.chat_univi.identity import local_path

    folder = local_path(checkpoint)
    if model.tokenizer is None and folder is not None and any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return dataclasses.replace(model, tokenizer=checkpoint)
    return model
