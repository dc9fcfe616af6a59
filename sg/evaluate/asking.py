"""Makes the prompts of a benchmark: every question in every setting, or the reason why it cannot be asked.

No model runs here. A video without visual tokens, or a prompt too long for the model, becomes a row with a status and a
reason. A question whose subtitles cannot be read is asked without them.
"""

import logging
import random
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from sg.artefacts.predictions import (
    ERROR,
    MISSING_VIDEO,
    NO_VIDEO,
    SHUFFLED_OPTIONS,
    SWAPPED_VIDEO,
    TOO_LONG,
    UNDECODABLE,
    WITH_SUBTITLES,
    Prediction,
)
from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.core.errors import DataError
from sg.core.fingerprints import fingerprint, is_unicode, text_seed
from sg.core.identity import code_version
from sg.evaluate.benchmark import Benchmark, BenchmarkVideo, Question, labelled, unlabelled
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.prompts import Prompt
from sg.evaluate.subtitles import SubtitleCue, covering_lines, lines_at_frames, read_cues, transcript_lines
from sg.models.student import StudentProcessor

log = logging.getLogger(__name__)

CACHED_CLIPS = 64
"""Number of videos whose tokens stay in memory, because all questions and settings of a video use them."""

SUBTITLES_OK, SUBTITLES_MISSING, SUBTITLES_UNREADABLE = "ok", "missing", "unreadable"


NO_PROMPT = Prompt("")


class FeatureSource(Protocol):
    """The features of videos by `media_id`: the store of a benchmark, or a dictionary."""

    def __contains__(self, key: object) -> bool:
        """Whether the video has features."""
        ...

    def __getitem__(self, key: str) -> ClipTensors:
        """The video's features."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """One question in one setting.

    `row` is the prediction without its answer. If its status is not "ok", the question is not asked and `ids` is empty.
    `length` is the number of positions of the prompt, visual tokens included. `question` is as it is shown: its options
    may be shuffled. `prompt` is its text.
    """

    row: Prediction
    question: Question
    ids: tuple[int, ...] = ()
    length: int = 0
    prompt: Prompt = NO_PROMPT

    @property
    def is_askable(self) -> bool:
        """True when the model can be asked."""
        return bool(self.ids)


def swap_partners(videos: Iterable[BenchmarkVideo], available: FeatureSource, seed: int) -> dict[str, str]:
    """Another video of the same duration bucket for each video with tokens: {media_id: media_id}.

    A video that is alone in its bucket has no partner. Each video is the partner of exactly one other.
    """
    buckets: dict[str, list[str]] = {}
    for video in videos:
        if video.media_id in available:
            buckets.setdefault(video.duration, []).append(video.media_id)
    partners: dict[str, str] = {}
    for duration, names in buckets.items():
        names.sort(key=lambda name: text_seed("order of swapped videos", seed, name))
        if len(names) > 1:
            # A cyclic shift by 1 to n - 1 gives no video itself.
            shift = 1 + text_seed("shift of swapped videos", seed, duration) % (len(names) - 1)
            partners |= {name: names[(at + shift) % len(names)] for at, name in enumerate(names)}
    return partners


def shuffled(question: Question, seed: int) -> tuple[Question, str]:
    """`question` with its options in another order, and their original letters in that order, such as "CADB".

    The answer keeps its original letter, so that the rows of all settings name the options in the same way.
    """
    order = list(range(len(question.options)))
    generator = random.Random(text_seed("order of options", seed, question.question_id))
    while order == sorted(order):
        generator.shuffle(order)
    options = labelled([unlabelled(question.options[at]) for at in order])
    return replace(question, options=options), "".join(question.letters[at] for at in order)


class Asker:
    """Makes the prompts of a benchmark for one student.

    Args:
        processor: of the student; `features`: of the videos.
        max_positions: positions of the model, for prompt and answer together.
        made_by: the identity's name that is recorded in every row.
        failures: by `media_id` the reason why a video has no tokens.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        config: BenchmarkConfig,
        processor: StudentProcessor,
        features: FeatureSource,
        max_positions: int,
        made_by: str = "",
        failures: Mapping[str, str] | None = None,
    ) -> None:
        self._config, self._features = config, features
        self._clip = lru_cache(maxsize=CACHED_CLIPS)(features.__getitem__)
        self._encode = lru_cache(maxsize=CACHED_CLIPS)(
            lambda prompt, shown: processor.question(
                prompt.text, None if shown is None else self._clip(shown), prompt.reply
            )
        )
        self._max_length = max_positions - config.answering.max_new_tokens
        self._made_by, self._failures = made_by, failures or {}
        self._code = " ".join(code_version().values()).strip()
        self._videos = benchmark.videos
        self._partners = swap_partners(benchmark.videos, features, config.answering.seed)

    def asks(self) -> list[Ask]:
        """All questions in all settings and probes, in the order of the benchmark."""
        return [ask for video in self._videos for ask in self._video(video)]

    def _video(self, video: BenchmarkVideo) -> list[Ask]:
        settings = [*self._config.answering.settings, *self._config.answering.probes]
        status, reason = self._problem(video)
        if status:
            return [
                Ask(replace(self._row(video, question, setting), status=status, reason=reason), question)
                for setting in settings
                for question in video.questions
            ]
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
        """One question in one setting or probe."""
        if setting == NO_VIDEO:
            return self._ask(question, row, None, lines)
        if setting == SWAPPED_VIDEO:
            partner = self._partners.get(video.media_id)
            if partner is None:
                reason = f"no other video of duration {row.duration} has visual tokens"
                return Ask(replace(row, status=MISSING_VIDEO, reason=reason), question)
            return self._ask(question, row, partner, lines)
        if setting == SHUFFLED_OPTIONS:
            question, order = shuffled(question, self._config.answering.seed)
            row = replace(row, option_order=order)
        return self._ask(question, row, video.media_id, lines)

    def _problem(self, video: BenchmarkVideo) -> tuple[str, str]:
        """Status and reason of a video that cannot be shown; two empty strings for one that can."""
        if video.media_id in self._features:
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
        facts = self._clip(video.media_id).facts
        choose = covering_lines if self._config.subtitles == "covering" else lines_at_frames
        return choose(cues, facts.frame_indices, facts.fps)

    def _row(self, video: BenchmarkVideo, question: Question, setting: str, subtitles: str = "") -> Prediction:
        return Prediction(
            question_id=question.question_id,
            setting=setting,
            video_id=video.video_id,
            duration=video.duration,
            answer=question.answer,
            domain=question.domain or video.domain,
            sub_category=question.sub_category or video.sub_category,
            task_type=question.task_type,
            subtitles=subtitles,
            num_options=len(question.options),
            made_by=self._made_by,
            code=self._code,
        )

    def _ask(self, question: Question, row: Prediction, shown: str | None, lines: list[str] | None) -> Ask:
        """The question about the video `shown` (None for no video), with as many subtitle lines as fit."""
        if not is_unicode("\n".join([question.text, *question.options])):
            reason = "its text is not Unicode (half of a surrogate pair)"
            return Ask(replace(row, status=ERROR, reason=reason), question)
        kept = self._lines_that_fit(question, lines, shown)
        prompt: Prompt = self._config.prompt.prompt(question, kept)
        encoded = self._encode(prompt, shown)
        if encoded.num_positions > self._max_length:
            reason = (
                f"{encoded.num_positions} positions without subtitles, but the model has {self._max_length} for a "
                "prompt"
            )
            return Ask(replace(row, status=TOO_LONG, reason=reason), question)
        facts = None if shown is None else self._clip(shown).facts
        row = replace(
            row,
            tokens_of=shown or "",
            frames=() if facts is None else tuple(facts.frame_indices),
            fps=0.0 if facts is None else facts.fps,
            subtitle_lines=len(kept or ()),
            subtitle_lines_cut=len(lines or ()) - len(kept or ()),
            subtitle_hash=fingerprint(kept) if kept else "",
            prompt_hash=fingerprint(prompt.text + prompt.reply),
            num_prompt_tokens=encoded.num_positions,
        )
        return Ask(row, question, encoded.ids, encoded.num_positions, prompt)

    def _lines_that_fit(self, question: Question, lines: list[str] | None, shown: str | None) -> list[str] | None:
        """As many of the first `lines` as fit beside the question, which is never cut."""
        if not lines:
            return lines

        def length(count: int) -> int:
            return self._encode(self._config.prompt.prompt(question, lines[:count]), shown).num_positions

        if length(len(lines)) <= self._max_length:
            return lines
        # The length grows with the number of lines, so bisection needs few calls of the tokenizer.
        fitting = bisect_right(range(1, len(lines)), self._max_length, key=length)
        return lines[:fitting]
