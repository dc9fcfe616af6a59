"""The recipe of a run: everything that decides what a service is asked about a video, and its name in the ledger."""

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from sg.artefacts.manifest import VideoRecord
from sg.caption.hosted.engine import proxies
from sg.caption.hosted.engine.items import CaptionItem, item_of
from sg.caption.hosted.engine.media import MediaFile
from sg.caption.hosted.engine.retries import LONGER, RESEED, STRICT
from sg.caption.hosted.prices import FLEX, PRIORITY
from sg.caption.hosted.pricing import expected_usage
from sg.caption.hosted.prompting import CAPTION_SCHEMA, CaptionPrompt
from sg.caption.hosted.services.failures import answer_kind
from sg.caption.hosted.services.records import Answer, Kind, Request, RequestMedia, Usage
from sg.caption.hosted.settings import DEFAULT_MAX_OUTPUT_TOKENS, HostedCaptionerConfig
from sg.caption.quality.gates import Judged, Verdict, judge
from sg.core.errors import ConfigError
from sg.core.identity import Identity, identity, settings_of

RECIPE_VERSION = 1
"""Raise it when the same settings and prompt would send another request. Every answer is then paid for again."""
_MOST_INPUT_PER_S, _MOST_INPUT_BESIDES = 2000, 20_000
"""Input tokens that no model exceeds: per second of video and frame per second, and for the prompt and the rest."""
_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "candidate_count")


@dataclass(frozen=True, slots=True)
class Words:
    """How messages name the command, what it does, its items and the result of each."""

    command: str
    doing: str
    items: str
    result: str

    @property
    def is_captioning(self) -> bool:
        """True for `python -m sg.caption`, which has shards, an audit and a dry run."""
        return self.command == "caption"


@dataclass(frozen=True)
class Recipe:
    """A captioner's settings and its prompt; `only` these videos are asked about, all without it.

    Raises:
        ConfigError: the model does not take the parameters of `captioner.generation`.
    """

    config: HostedCaptionerConfig
    prompt: CaptionPrompt
    only: frozenset[str] | None = field(default=None, kw_only=True)
    words: ClassVar[Words] = Words("caption", "Captioning", "videos", "caption")

    def __post_init__(self) -> None:
        refused = [name for name in _SAMPLING if name in self.config.generation]
        if refused and not self.config.model.sampling:
            raise ConfigError(
                f"captioner.generation.{refused[0]} is ignored or refused by {self.config.model.name}: leave it out."
            )
        if self.max_output_tokens > self.config.model.max_output_tokens:
            raise ConfigError(
                f"captioner.generation.max_output_tokens={self.max_output_tokens} is more than the "
                f"{self.config.model.max_output_tokens} of {self.config.model.name}."
            )

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The service's generation config, as plain data."""
        model, values = self.config.model, dict(self.config.generation)
        values["max_output_tokens"] = self.max_output_tokens
        if model.media_resolution != "unspecified":
            values["media_resolution"] = f"MEDIA_RESOLUTION_{model.media_resolution.upper()}"
        if model.thinking_level is not None:
            values["thinking_level"] = model.thinking_level.upper()
        if self.prompt.schema:
            values |= {"response_mime_type": "application/json", "response_schema": dict(CAPTION_SCHEMA)}
        return values

    @property
    def max_output_tokens(self) -> int:
        """The maximum length of an answer, thinking included."""
        return int(self.config.generation.get("max_output_tokens", DEFAULT_MAX_OUTPUT_TOKENS))

    @cached_property
    def params_hash(self) -> str:
        """16 hex digits over the parameters and the treatment of the video, for the records."""
        transport = "proxy" if self.config.transport == "proxy" else ""
        text = json.dumps([self.parameters, self.config.fps, transport], sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @cached_property
    def identity(self) -> Identity:
        """What decides the answers: with another prompt, model or setting, every video is another task.

        The class of the settings is left out: single requests and batch jobs have different classes, obtain the same
        answers, and so share their tasks.
        """
        settings = settings_of(self.config)
        del settings["class"]
        proxy = {"fps": proxies.FPS, "short_side": proxies.SHORT_SIDE, "codec": proxies.CODEC, "sound": proxies.SOUND}
        inputs: dict[str, Any] = {"prompt": self.prompt.content_hash}
        inputs["proxy"] = proxy if self.config.transport == "proxy" else None
        if self.config.weights is not None:
            inputs["weights"] = self.config.weights
        return identity("caption_answers", settings=settings, inputs=inputs, version=RECIPE_VERSION)

    @property
    def name(self) -> str:
        """The recipe's name in ledgers, a part of every task's key."""
        return self.identity.name

    @property
    def former_name(self) -> str:
        """The name that ledgers of version 2 and earlier have for this recipe."""
        parts = [self.prompt.content_hash, self.config.model.name, self.params_hash]
        if self.config.transport == "proxy":
            parts.append(f"{proxies.FPS:g}fps-{proxies.SHORT_SIDE}-{proxies.CODEC}")
        return "|".join(parts)

    def request(self, item: CaptionItem, file: MediaFile, uri: str, tries: dict[str, int]) -> Request:
        """The request for a video; special tries change the prompt, the length or the seed."""
        generation = dict(self.parameters)
        if tries.get(LONGER):
            generation["max_output_tokens"] = self.longest(tries)
        if tries.get(RESEED):
            generation["seed"] = int(generation.get("seed", 0)) + tries[RESEED]
        stricter = bool(tries.get(STRICT) or tries.get(RESEED))
        media = RequestMedia(file.mime_type, file.data, uri, fps=self.config.fps)
        user = self.prompt.user(item.duration_s, file.sound(item), stricter)
        tier = self.config.tier if self.config.tier in (FLEX, PRIORITY) else ""
        return Request(self.config.model.name, self.prompt.system, user, media, generation, tier)

    def item(self, record: VideoRecord) -> CaptionItem | None:
        """What is asked about a video; None if nothing is."""
        return item_of(record) if self.only is None or record.video_id in self.only else None

    def kind_of(self, answer: Answer) -> Kind | None:
        """What is wrong with an answer, before its text is examined; None if it is complete."""
        return answer_kind(answer)

    def examine(
        self, answer: Answer, item: CaptionItem, file: MediaFile | None
    ) -> tuple[str, dict[str, Any] | None, tuple[Verdict, ...]]:
        """The caption of a complete answer, its form if the prompt asks for one, and the verdicts of the gates."""
        text, form = self._caption(answer)
        judged = Judged(
            text,
            item.duration_s,
            file.sound(item) if file else item.has_audio,
            answer.finish_reason,
            self.config.language,
            None if form is None else str(form.get("audio", "unclear")),
            form is not None and str(form.get("refused")).lower() == "true",
            self.prompt.words(item.duration_s),
            self.prompt.user(item.duration_s, file.sound(item) if file else item.has_audio),
        )
        return text, form, judge(judged)

    def _caption(self, answer: Answer) -> tuple[str, dict[str, Any] | None]:
        """The caption of an answer, and the whole form if the prompt asks for one."""
        if not self.prompt.schema:
            return answer.text.strip(), None
        try:
            form = json.loads(answer.text)
            return form["caption"].strip(), form
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return answer.text.strip(), {"refused": True, "refusal_reason": "the answer does not fit the form"}

    def longest(self, tries: dict[str, int]) -> int:
        """The maximum length of an answer of this try, in tokens."""
        doubled = self.max_output_tokens * (2 if tries.get(LONGER) else 1)
        return min(doubled, self.config.model.max_output_tokens)

    def believed(self, answer: Answer, item: CaptionItem, tries: dict[str, int]) -> Answer:
        """The answer without token counts that its request cannot have.

        No request reads nothing, or much more than its video and its prompt, and no answer is much longer than it may
        be. An answer that was counted wrongly costs what was estimated (`is_counted`).
        """
        usage = answer.usage
        frames = item.duration_s * max(self.config.fps or 1, 1)
        # Nothing is known about a video of unknown duration.
        most_input = _MOST_INPUT_BESIDES + _MOST_INPUT_PER_S * frames if frames > 0 else math.inf
        written = usage.output + usage.thinking
        is_input_good = 0 < usage.input <= most_input
        is_output_good = written <= 2 * self.longest(tries) and (written > 0 or not answer.text)
        if is_input_good and is_output_good:
            return answer
        believed = usage if is_input_good else replace(usage, input=0, cached=0, video=0, audio=0, cached_audio=0)
        if not is_output_good:
            believed = replace(believed, output=0, thinking=0)
        return replace(answer, usage=believed, is_counted=False)

    def expected(self, item: CaptionItem) -> Usage:
        """Tokens of a video's request and answer, as the estimate assumes them."""
        return expected_usage(self.config, item.duration_s, item.has_audio)

    def charged(self, answer: Answer, item: CaptionItem) -> Usage:
        """The tokens that are charged: those of the estimate where the service reported none.

        A request has a video. A prompt without a split by kind therefore has the expected sound.
        """
        usage, expected = answer.usage, self.expected(item)
        if not usage.input:
            usage = replace(usage, input=expected.input, video=expected.video, audio=expected.audio, cached=0)
        elif not usage.video and not usage.audio:
            usage = replace(usage, audio=min(expected.audio, usage.input))
        if answer.is_counted or usage.output or usage.thinking:
            return usage
        return replace(usage, output=expected.output)
