"""A loaded model that answers prompts about video files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class AskedClip:
    """A clip and what is asked about it: the prompt, and the largest number of tokens of the answer."""

    clip: ClipTensors
    prompt: str
    max_new_tokens: int


class VideoAnswerer:
    """A model on the GPU, or on the CPU where there is none. It takes the likeliest token at every position.

    Args:
        checkpoint: trained weights of the model that `config` describes; None takes those of `config`.
    """

    def __init__(self, checkpoint: str | None, config: Any) -> None:
        import torch

        from sg.models.answering import Answerer

        kind = STUDENTS.of(config)
        self._student, self.processor = kind.load(config, checkpoint), kind.processor(config, checkpoint)
        module: torch.nn.Module = self._student.module
        module.to("cuda" if torch.cuda.is_available() else "cpu")
        self._answerer = Answerer(self._student)

    def read(self, key: str, path: Path) -> ClipTensors:
        """The frames of a video; threads may call this while another one answers.

        Raises:
            UnreadableVideoError: it cannot be read.
        """
        from sg.models.clips import decode_clip

        return decode_clip(key, path, self.processor)

    def answer_clips(self, asked: Sequence[AskedClip]) -> tuple[list[list[int]], list[int]]:
        """(ids of the answers, numbers of ids of the prompts); all are answered in one batch."""
        from sg.models.answering import EncodedPrompt

        clips = {clip.key: clip for clip in self._student.features([one.clip for one in asked])}
        prompts = [
            EncodedPrompt(self.processor.question(one.prompt, clip).ids, clip.key, max_new_tokens=one.max_new_tokens)
            for one, clip in zip(asked, clips.values(), strict=True)
        ]
        answers = self._answerer.answer(prompts, clips) if prompts else []
        return [answer.ids for answer in answers], [len(prompt.ids) for prompt in prompts]

    def answer(self, files: Mapping[str, Path], prompt: str, max_new_tokens: int) -> list[VideoAnswer]:
        """One answer per video of `files` ({video id: path}), in their order; all are answered in one batch."""
        from sg.video.frames import UnreadableVideoError

        asked: list[AskedClip] = []
        problems: dict[str, str] = {}
        for video_id, path in files.items():
            try:
                asked.append(AskedClip(self.read(video_id, path), prompt, max_new_tokens))
            except UnreadableVideoError as error:
                problems[video_id] = str(error)
        answers, _ = self.answer_clips(asked)
        ids = {one.clip.key: answer for one, answer in zip(asked, answers, strict=True)}
        return [self._answer(video_id, ids.get(video_id), problems.get(video_id, "")) for video_id in files]

    def _answer(self, video_id: str, ids: list[int] | None, problem: str) -> VideoAnswer:
        if ids is None:
            return VideoAnswer(video_id, problem=problem)
        text, flags = clean_caption(self.processor.decode(ids))
        used = self.processor.count_tokens(text)
        return VideoAnswer(video_id, text, "" if text else "the answer of the model is empty", used, flags)
