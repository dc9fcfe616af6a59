"""The recipe of a run: everything that decides what a caption will say, and its name in the ledger."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sg.caption.hosted.engine import proxies
from sg.caption.hosted.engine.clips import Clip
from sg.caption.hosted.engine.media import Film
from sg.caption.hosted.engine.retries import LONGER, RESEED, STRICT
from sg.caption.hosted.pricing import film_tokens
from sg.caption.hosted.prompting import CAPTION_SCHEMA, Prompt
from sg.caption.hosted.services.records import Media, Request
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.errors import ConfigError

_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "candidate_count")


@dataclass(frozen=True)
class Recipe:
    """A captioner's settings and its prompt."""

    config: HostedCaptionerConfig
    prompt: Prompt

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
        """All that reaches the service's generation config; plain data."""
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
        """The longest answer, thinking included."""
        return int(self.config.generation.get("max_output_tokens", 1024))

    @cached_property
    def params_hash(self) -> str:
        """16 hex digits over the parameters and what is done to the film."""
        transport = "proxy" if self.config.transport == "proxy" else ""
        text = json.dumps([self.parameters, self.config.fps, transport], sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @cached_property
    def name(self) -> str:
        """The recipe's name in task keys: another prompt, model or setting is another task; old results stay.

        Batch jobs and single requests write the same captions, so they share their tasks.
        """
        parts = [self.prompt.content_hash, self.config.model.name, self.params_hash]
        if self.config.transport == "proxy":
            parts.append(f"{proxies.FPS:g}fps-{proxies.SHORT_SIDE}-{proxies.CODEC}")
        return "|".join(parts)

    def request(self, clip: Clip, film: Film, uri: str, tries: dict[str, int]) -> Request:
        """The request for a clip; special tries change the prompt, the length or the seed."""
        generation = dict(self.parameters)
        if tries.get(LONGER):
            generation["max_output_tokens"] = self.longest(tries)
        if tries.get(RESEED):
            generation["seed"] = int(generation.get("seed", 0)) + tries[RESEED]
        has_audio = clip.has_audio if clip.has_audio is not None else film.has_audio
        stricter = bool(tries.get(STRICT) or tries.get(RESEED))
        media = Media(
            film.mime_type,
            film.data,
            uri,
            start_s=None if film.proxy else clip.film_start_s,
            end_s=None if film.proxy else clip.film_end_s,
            fps=self.config.fps,
        )
        user = self.prompt.user(clip.duration_s, has_audio, stricter)
        return Request(self.config.model.name, self.prompt.system, user, media, generation)

    def longest(self, tries: dict[str, int]) -> int:
        """The most tokens an answer of this try may have."""
        doubled = self.max_output_tokens * (2 if tries.get(LONGER) else 1)
        return min(doubled, self.config.model.max_output_tokens)

    def expected_tokens(self, clip: Clip) -> int:
        """Input tokens of a clip's request by the model's rates."""
        film = film_tokens(self.config.model, clip.duration_s, clip.has_audio, self.config.fps)
        return film + self.config.assumed_prompt_tokens
