"""Costs: price rows with days of validity, tokens of a video, and the estimate for a whole manifest."""

from __future__ import annotations

import datetime
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from sg.caption.hosted.services.records import Usage
from sg.caption.hosted.settings import HostedCaptionerConfig, PriceConfig, ServiceModelConfig
from sg.core.errors import ConfigError

FILE_STORE_BYTES = 20 * 2**30
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Price:
    """A valid price row with the batch discount; `expired` if no row is valid and the last one is used instead."""

    input: float
    output: float
    valid_from: str
    expired: bool = False

    def cost(self, usage: Usage) -> float:
        """USD of one request; thinking tokens are charged as output."""
        return (usage.input * self.input + (usage.output + usage.thinking) * self.output) / _MILLION


def price_on(
    model: ServiceModelConfig, day: datetime.date, *, batch: bool = False, allow_expired: bool = False
) -> Price:
    """The price of a model on a day.

    Raises:
        ConfigError: no row is valid on that day, and `allow_expired` is off.
    """
    rows = sorted(model.prices, key=lambda row: row.valid_from)
    share = model.batch_discount if batch else 1.0
    valid = [row for row in rows if _is_valid(row, day)]
    if valid:
        return Price(valid[-1].input * share, valid[-1].output * share, valid[-1].valid_from)
    if allow_expired and rows:
        return Price(rows[-1].input * share, rows[-1].output * share, rows[-1].valid_from, expired=True)
    raise ConfigError(
        f"conf/captioner/model has no price of {model.name} for {day}: add a row with valid_from and valid_to, or set "
        "captioner.allow_expired_price=true."
    )


def _is_valid(row: PriceConfig, day: datetime.date) -> bool:
    after = datetime.date.fromisoformat(row.valid_from) <= day
    return after and (row.valid_to is None or day <= datetime.date.fromisoformat(row.valid_to))


def video_tokens(model: ServiceModelConfig, duration_s: float, has_audio: bool | None, fps: float | None = None) -> int:
    """Tokens of a video as the model counts them; a video whose sound is unknown counts as one with sound."""
    seconds = math.ceil(duration_s)
    frames = math.ceil(duration_s * (fps or 1.0)) * model.tokens_per_frame[model.media_resolution]
    audio = 0.0 if has_audio is False else seconds * model.audio_tokens_per_s
    return math.ceil(frames + audio + seconds * model.timestamp_tokens_per_s)


@dataclass(frozen=True, slots=True)
class EstimatedVideo:
    """What the estimate needs of one video; `size` in bytes, 0 if unknown."""

    duration_s: float
    has_audio: bool | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a run will take, `hours` by the configured quotas (None without quotas)."""

    model: str
    day: datetime.date
    videos: int
    seconds: float
    input_tokens: int
    output_tokens: int
    sync_usd: float
    batch_usd: float
    sync_usd_thinking: float
    hours: float | None
    media_bytes: int
    price: Price

    @property
    def wire_bytes(self) -> int:
        """Bytes of all video files in base64."""
        return self.media_bytes * 4 // 3

    @property
    def store_fills(self) -> tuple[int, int]:
        """How many times the files fill the file store: as they are, and in base64 inside batch jobs."""
        raw, encoded = self.media_bytes, self.wire_bytes
        return math.ceil(raw / FILE_STORE_BYTES), math.ceil(encoded / FILE_STORE_BYTES)

    def text(self) -> str:
        """The estimate as a small table."""
        hours = "unlimited" if self.hours is None else f"{self.hours:.1f} h"
        raw, encoded = self.store_fills
        size = (
            f"{self.media_bytes / 1e9:,.2f} GB, {self.wire_bytes / 1e9:,.2f} GB in base64"
            if self.media_bytes
            else "unknown"
        )
        price = f"{self.price.input:g} in, {self.price.output:g} out per million tokens, from {self.price.valid_from}"
        rows = [
            ("videos", f"{self.videos:,} ({self.seconds / 3600:,.1f} h)"),
            ("model", f"{self.model} on {self.day}"),
            ("price", price + (" (EXPIRED)" if self.price.expired else "")),
            ("tokens", f"{self.input_tokens:,} in, {self.output_tokens:,} out"),
            (
                "cost, single requests",
                f"${self.sync_usd:,.2f} (${self.sync_usd_thinking:,.2f} with 500 thinking tokens per video)",
            ),
            ("cost, batch jobs", f"${self.batch_usd:,.2f}"),
            ("time at the quotas", hours),
            ("bytes", size),
            ("uploads, if all are", f"{raw} times the file store (20 GiB), {encoded} times in base64"),
        ]
        return "\n".join(f"  {name:<24}{value}" for name, value in rows)


def estimate(
    config: HostedCaptionerConfig, videos: Iterable[EstimatedVideo], day: datetime.date, input_ratio: float = 1.0
) -> CostEstimate:
    """What captioning these videos on this day takes, by the assumed lengths of prompt and answer.

    `input_ratio`: the ratio of actual to expected input tokens, if the service has counted some.
    """
    model = config.model
    count, seconds, tokens, size = 0, 0.0, 0, 0
    for video in videos:
        count, seconds, size = count + 1, seconds + video.duration_s, size + video.size
        tokens += video_tokens(model, video.duration_s, video.has_audio, config.fps) + config.assumed_prompt_tokens
    tokens = round(tokens * input_ratio)
    output = count * config.assumed_output_tokens
    price = price_on(model, day, allow_expired=config.allow_expired_price)
    batch = price_on(model, day, batch=True, allow_expired=config.allow_expired_price)
    return CostEstimate(
        model=model.name,
        day=day,
        videos=count,
        seconds=seconds,
        input_tokens=tokens,
        output_tokens=output,
        sync_usd=price.cost(Usage(tokens, output)),
        batch_usd=batch.cost(Usage(tokens, output)),
        sync_usd_thinking=price.cost(Usage(tokens, output, 500 * count)),
        hours=_hours(config, count, tokens, price.cost(Usage(tokens, output))),
        media_bytes=size,
        price=price,
    )


def _hours(config: HostedCaptionerConfig, requests: int, tokens: int, usd: float) -> float | None:
    quota = config.quota
    minutes = [
        need / (limit * quota.safety_factor) for need, limit in ((requests, quota.rpm), (tokens, quota.tpm)) if limit
    ]
    if quota.usd_per_10_min:
        minutes.append(10 * usd / (quota.usd_per_10_min * quota.safety_factor))
    if quota.rpd:
        minutes.append((math.ceil(requests / (quota.rpd * quota.safety_factor)) - 1) * 24 * 60)
    return max(minutes) / 60 if minutes else None


class Forecast:
    """What the next request will take: the assumption at first, then the maximum of the recent answers.

    A request is reserved with the largest ratio of actual to expected tokens among the last 200 answers. A mean would
    let a longer answer exceed the token limit or the budget.
    """

    def __init__(self, price: Price, max_output_tokens: int) -> None:
        self._price, self._max_output = price, max_output_tokens
        self._ratios: deque[float] = deque(maxlen=200)
        self._outputs: deque[int] = deque(maxlen=200)
        self._seen, self._ratio, self._longest = 0, 1.0, max_output_tokens

    def tokens(self, expected: int) -> int:
        """Input tokens to reserve for a request with `expected` tokens."""
        return math.ceil(expected * self._ratio)

    def worst_usd(self, expected: int, max_output_tokens: int | None = None) -> float:
        """The maximum cost of a request in USD: its input as forecast, and the longest answer that it allows."""
        longest = max_output_tokens or self._max_output
        return self._price.cost(Usage(self.tokens(expected), longest))

    def likely_usd(self, expected: int) -> float:
        """The probable cost of a request in USD, for the spend limit."""
        return self._price.cost(Usage(self.tokens(expected), self._longest))

    def estimated_usd(self, durations_s: list[float], config: HostedCaptionerConfig, audio: list[bool | None]) -> float:
        """The cost of these videos in USD by the assumptions of the estimate alone."""
        tokens = sum(
            video_tokens(config.model, duration, sound, config.fps) + config.assumed_prompt_tokens
            for duration, sound in zip(durations_s, audio, strict=True)
        )
        return self._price.cost(Usage(tokens, len(durations_s) * config.assumed_output_tokens))

    def learn(self, expected: int, usage: Usage) -> None:
        """Take an answer into account."""
        if not usage.input or not expected:
            return
        self._ratios.append(usage.input / expected)
        self._outputs.append(usage.output + usage.thinking)
        self._seen += 1
        # The maxima are passes over 200 values: often enough at first, then every 20 answers.
        if self._seen < 20 or self._seen % 20 == 0:
            self._ratio = max(*self._ratios, 0.05)
            self._longest = max(self._outputs)
