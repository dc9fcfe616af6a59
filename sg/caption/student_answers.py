"""A loaded checkpoint that answers one prompt about video files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.caption.cleaning import clean_caption
from sg.models.student import STUDENTS


@dataclass(frozen=True, slots=True)
class VideoAnswer:
    """The answer about one video, or why there is none."""

    video_id: str
    caption: str = ""
    problem: str = ""
    output_tokens: int = 0
    quality_flags: tuple[str, ...] = ()


class VideoAnswerer:
    """A checkpoint on the GPU, or on the CPU where there is none. It takes the likeliest token at every position."""

    def __init__(self, checkpoint: str, config: Any, prompt: str, max_new_tokens: int) -> None:
        import torch

        from sg.models.answering import Answerer

        kind = STUDENTS.of(config)
        self._prompt, self._max_new_tokens = prompt, max_new_tokens
        self._student, self._processor = kind.load(config, checkpoint), kind.processor(config, checkpoint)
        module: torch.nn.Module = self._student.module
        module.to("cuda" if torch.cuda.is_available() else "cpu")
        self._answerer = Answerer(self._student)

    def answer(self, files: Mapping[str, Path]) -> list[VideoAnswer]:
        """One answer per video of `files` ({video id: path}), in their order; all are answered in one batch."""
        from sg.models.answering import EncodedPrompt
        from sg.models.clips import decode_clip
        from sg.video.frames import UnreadableVideoError

        pixels: list[ClipTensors] = []
        problems: dict[str, str] = {}
        for video_id, path in files.items():
            try:
                pixels.append(decode_clip(video_id, path, self._processor))
            except UnreadableVideoError as error:
                problems[video_id] = str(error)
        clips = {clip.key: clip for clip in self._student.features(pixels)}
        prompts = [
            EncodedPrompt(
                self._processor.question(self._prompt, clip).ids, video_id, max_new_tokens=self._max_new_tokens
            )
            for video_id, clip in clips.items()
        ]
        answers = self._answerer.answer(prompts, clips) if prompts else []
        ids = {video_id: answer.ids for video_id, answer in zip(clips, answers, strict=True)}
        return [self._answer(video_id, ids.get(video_id), problems.get(video_id, "")) for video_id in files]

    def _answer(self, video_id: str, ids: list[int] | None, problem: str) -> VideoAnswer:
        if ids is None:
            return VideoAnswer(video_id, problem=problem)
        text, flags = clean_caption(self._processor.decode(ids))
        used = self._processor.count_tokens(text)
        return VideoAnswer(video_id, text, "" if text else "the answer of the model is empty", used, flags)
