"""From a benchmark to the list of what is asked: every question in every setting, or why it cannot be asked.

No model runs here. A video without visual tokens, or a prompt too long for the model, becomes a row with a status and a
reason; subtitles that cannot be read leave the question without them.
"""

from __future__ import annotations

import logging
import random
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from sg.artefacts.predictions import (
    MISSING_VIDEO,
    NO_VIDEO,
    SHUFFLED_OPTIONS,
    SWAPPED_VIDEO,
    TOO_LONG,
    UNDECODABLE,
    WITH_SUBTITLES,
    Prediction,
)
from sg.core.errors import DataError
from sg.core.fingerprints import fingerprint, text_seed
from sg.core.identity import code_version
from sg.evaluate.benchmark import Benchmark, BenchmarkVideo, Question, labelled, unlabelled
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.prompts import build_prompt
from sg.evaluate.subtitles import SubtitleCue, lines_at_frames, read_cues, transcript_lines

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

CACHED_CLIPS = 64
"""Videos whose tokens are kept at hand: a video's questions and settings ask for them again and again."""

SUBTITLES_OK, SUBTITLES_MISSING, SUBTITLES_UNREADABLE = "ok", "missing", "unreadable"


class ClipTokens(Protocol):
    """What the model sees of a video: merged visual tokens [n, C] and which frames they were made of."""

    @property
    def tokens(self) -> Tensor:
        """[n, C], before the projector."""
        ...

    @property
    def frame_indices(self) -> Sequence[int]:
        """Indices of the frames in the video."""
        ...

    @property
    def fps(self) -> float:
        """Frame rate that the indices count in."""
        ...


class TokenSource(Protocol):
    """Visual tokens by the video's `media_id`: a `VisualTokenStore`, or a dictionary."""

    def __contains__(self, key: object) -> bool:
        """Whether the video has tokens."""
        ...

    def __getitem__(self, key: str) -> ClipTokens:
        """The video's tokens."""
        ...


class PromptEncoder(Protocol):
    """Text to ids and back: Chat-UniVi's `DialogEncoder`."""

    def __len__(self) -> int:
        """Size of the vocabulary."""
        ...

    def encode_prompt(self, text: str, frame_count: int = 0) -> list[int]:
        """Ids of a question about a clip, a run of -200 standing for its frames."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, without special tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """One question in one setting.

    `row` is the prediction without its answer; if its status is not "ok", nothing is asked and `ids` is empty. `length`
    is the number of positions with the visual tokens in place.
    """

    row: Prediction
    ids: tuple[int, ...] = ()
    length: int = 0

    @property
    def is_askable(self) -> bool:
        """True when the model is to answer."""
        return bool(self.ids)


def swap_partners(videos: Iterable[BenchmarkVideo], available: TokenSource, seed: int) -> dict[str, str]:
    """For every video with tokens another one of the same duration: {media_id: media_id}, no video its own partner.

    A video that is alone in its bucket has none.
    """
    buckets: dict[str, list[str]] = {}
    for video in videos:
        if video.media_id in available:
            buckets.setdefault(video.duration, []).append(video.media_id)
    partners: dict[str, str] = {}
    for duration, names in buckets.items():
        names.sort(key=lambda name: text_seed("order of swapped videos", seed, name))
        if len(names) > 1:
            shift = 1 + text_seed("shift of swapped videos", seed, duration) % (len(names) - 1)
            partners |= {name: names[(at + shift) % len(names)] for at, name in enumerate(names)}
    return partners


def shuffled(question: Question, seed: int) -> tuple[Question, str]:
    """`question` with its options in another order, and the letters they had before: ("A. ...", ..., "CADB").

    The answer keeps its old letter, so that rows of all settings name options alike.
    """
    order = list(range(len(question.options)))
    generator = random.Random(text_seed("order of options", seed, question.question_id))
    while order == sorted(order):
        generator.shuffle(order)
    options = labelled([unlabelled(question.options[at]) for at in order])
    return replace(question, options=options), "".join(question.letters[at] for at in order)


class Asker:
    """Writes the prompts of a benchmark for one model.

    Args:
        max_positions: positions the model has, for prompt and answer together.
        made_by: goes into every row.
        failures: why a video has no tokens, by `media_id`; a video without tokens and reason is called undecodable.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        config: BenchmarkConfig,
        encoder: PromptEncoder,
        visual_tokens: TokenSource,
        max_positions: int,
        made_by: str = "",
        failures: Mapping[str, str] | None = None,
    ) -> None:
        self._config, self._tokens = config, visual_tokens
        self._clip = lru_cache(maxsize=CACHED_CLIPS)(visual_tokens.__getitem__)
        self._encode = lru_cache(maxsize=CACHED_CLIPS)(encoder.encode_prompt)
        self._max_length = max_positions - config.answering.max_new_tokens
        self._made_by, self._failures = made_by, failures or {}
        self._code = " ".join(code_version().values()).strip()
        self._videos = benchmark.videos
        self._partners = swap_partners(benchmark.videos, visual_tokens, config.answering.seed)

    def asks(self) -> list[Ask]:
        """Every question in every setting and probe, in the order of the benchmark."""
        return [ask for video in self._videos for ask in self._video(video)]

    def _video(self, video: BenchmarkVideo) -> list[Ask]:
        settings = [*self._config.answering.settings, *self._config.answering.probes]
        status, reason = self._problem(video)
        if status:
            rows = [self._row(video, question, setting) for setting in settings for question in video.questions]
            return [Ask(replace(row, status=status, reason=reason)) for row in rows]
        cues, subtitles = self._subtitles(video) if WITH_SUBTITLES in settings else ([], "")
        asks = []
        for setting in settings:
            lines = self._lines(video, cues) if setting == WITH_SUBTITLES else None
            for question in video.questions:
                row = self._row(video, question, setting, subtitles if setting == WITH_SUBTITLES else "")
                asks.append(self._ask_in(setting, video, question, row, lines))
        return asks

    def _ask_in(
        self, setting: str, video: BenchmarkVideo, question: Question, row: Prediction, lines: list[str] | None
    ) -> Ask:
        """One question as its setting or probe wants it."""
        if setting == NO_VIDEO:
            return self._ask(question, row, None, lines)
        if setting == SWAPPED_VIDEO:
            partner = self._partners.get(video.media_id)
            if partner is None:
                reason = f"no other video of duration {row.duration} has visual tokens"
                return Ask(replace(row, status=MISSING_VIDEO, reason=reason))
            return self._ask(question, row, partner, lines)
        if setting == SHUFFLED_OPTIONS:
            question, order = shuffled(question, self._config.answering.seed)
            row = replace(row, option_order=order)
        return self._ask(question, row, video.media_id, lines)

    def _problem(self, video: BenchmarkVideo) -> tuple[str, str]:
        """Status and reason of a video that cannot be shown; two empty texts for one that can."""
        if video.media_id in self._tokens:
            return "", ""
        if video.path is None:
            return MISSING_VIDEO, video.problem or f"there is no file of video {video.media_id}"
        return UNDECODABLE, self._failures.get(video.media_id, f"video {video.media_id} has no visual tokens")

    def _subtitles(self, video: BenchmarkVideo) -> tuple[list[SubtitleCue], str]:
        if video.subtitle_path is None:
            return [], SUBTITLES_MISSING
        try:
            return read_cues(video.subtitle_path, video.subtitle_span_s), SUBTITLES_OK
        except DataError as error:
            log.warning("video %s is asked without subtitles: %s", video.video_id, error)
            return [], SUBTITLES_UNREADABLE

    def _lines(self, video: BenchmarkVideo, cues: Sequence[SubtitleCue]) -> list[str]:
        if self._config.subtitles == "transcript":
            return transcript_lines(cues)
        clip = self._clip(video.media_id)
        return lines_at_frames(cues, clip.frame_indices, clip.fps)

    def _row(self, video: BenchmarkVideo, question: Question, setting: str, subtitles: str = "") -> Prediction:
        return Prediction(
            question_id=question.question_id,
            setting=setting,
            video_id=video.video_id,
            duration=video.duration,
            answer=question.answer,
            domain=video.domain,
            sub_category=video.sub_category,
            task_type=question.task_type,
            subtitles=subtitles,
            num_options=len(question.options),
            made_by=self._made_by,
            code=self._code,
        )

    def _ask(self, question: Question, row: Prediction, shown: str | None, lines: list[str] | None) -> Ask:
        """The question about the video `shown` (None: about no video at all), with what subtitles fit in."""
        clip = None if shown is None else self._clip(shown)
        frames = 0 if clip is None else len(clip.frame_indices)
        extra = 0 if clip is None else len(clip.tokens) - frames
        kept = self._lines_that_fit(question, lines, frames, extra)
        prompt = build_prompt(question.text, question.options, self._config.prompt, kept)
        ids = self._encode(prompt, frames)
        if len(ids) + extra > self._max_length:
            reason = (
                f"{len(ids) + extra} positions without subtitles, but the model has {self._max_length} for a prompt"
            )
            return Ask(replace(row, status=TOO_LONG, reason=reason))
        row = replace(
            row,
            tokens_of=shown or "",
            frames=() if clip is None else tuple(clip.frame_indices),
            fps=0.0 if clip is None else clip.fps,
            subtitle_lines=len(kept or ()),
            subtitle_lines_cut=len(lines or ()) - len(kept or ()),
            subtitle_hash=fingerprint(kept) if kept else "",
            prompt_hash=fingerprint(prompt),
            num_prompt_tokens=len(ids) + extra,
        )
        return Ask(row, tuple(ids), len(ids) + extra)

    def _lines_that_fit(self, question: Question, lines: list[str] | None, frames: int, extra: int) -> list[str] | None:
        """The first of `lines` that leave room for the question: subtitles are cut, the question never."""
        if not lines:
            return lines

        def length(count: int) -> int:
            prompt = build_prompt(question.text, question.options, self._config.prompt, lines[:count])
            return len(self._encode(prompt, frames)) + extra

        if length(len(lines)) <= self._max_length:
            return lines
        fitting = bisect_right(range(1, len(lines)), self._max_length, key=length)
        return lines[:fitting]
