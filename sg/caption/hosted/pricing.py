"""Costs: tokens of a video, the estimate for a whole manifest, and the reservation of a request's cost."""

import datetime
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sg.caption.hosted.prices import Price, price_on
from sg.caption.hosted.services.records import Usage
from sg.caption.hosted.settings import HostedCaptionerConfig

FILE_STORE_BYTES = 20 * 2**30
THINKING_TOKENS = 500
"""Of the estimate's second figure, per video."""


def expected_usage(config: HostedCaptionerConfig, duration_s: float, has_audio: bool | None) -> Usage:
    """Tokens of a request and its answer by the rates of the model and the assumed lengths of prompt and answer.

    A video whose sound is unknown counts as one with sound.
    """
    model, seconds = config.model, math.ceil(duration_s)
    frames = math.ceil(duration_s * (config.fps or 1.0)) * model.tokens_per_frame[model.media_resolution]
    audio = 0 if has_audio is False else math.ceil(seconds * model.audio_tokens_per_s)
    pictures = math.ceil(frames + seconds * model.timestamp_tokens_per_s)
    tokens = config.assumed_prompt_tokens + pictures + audio
    seconds_of_gpu = config.assumed_gpu_s
    return Usage(tokens, config.assumed_output_tokens, video=pictures, audio=audio, gpu_seconds=seconds_of_gpu)


@dataclass(frozen=True, slots=True)
class EstimatedVideo:
    """What the estimate needs of one video; `size` in bytes, 0 if unknown."""

    duration_s: float
    has_audio: bool | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a run will take: `usd` by tier, `hours` by the configured quotas (None without quotas)."""

    model: str
    day: datetime.date
    videos: int
    seconds: float
    input_tokens: int
    output_tokens: int
    usd: Mapping[str, float]
    thinking_usd: float
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
        row = self.price.row
        price = (
            f"{row['input']:g} in, {row['audio']:g} sound, {row['output']:g} out per million tokens, "
            f"tier {row['tier']} ({self.price.source}, from {self.price.valid_from})"
        )
        rows = [
            ("videos", f"{self.videos:,} ({self.seconds / 3600:,.1f} h)"),
            ("model", f"{self.model} on {self.day}"),
            ("price", price + (" (EXPIRED)" if self.price.expired else "")),
            ("tokens", f"{self.input_tokens:,} in, {self.output_tokens:,} out"),
            *((f"cost, tier {tier}", f"${usd:,.2f}") for tier, usd in self.usd.items()),
            ("cost, and thinking", f"${self.thinking_usd:,.2f} with {THINKING_TOKENS} thinking tokens per video"),
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
    price = price_of(config, day)
    usd, thinking_usd = dict.fromkeys(price.rates, 0.0), 0.0
    count, seconds, tokens, size = 0, 0.0, 0.0, 0
    for video in videos:
        count, seconds, size = count + 1, seconds + video.duration_s, size + video.size
        one = _scaled(expected_usage(config, video.duration_s, video.has_audio), input_ratio)
        tokens += one.input
        # One request at a time: the price of a token depends on the length of its prompt.
        for tier in usd:
            usd[tier] += price.cost(one, tier)
        thinking_usd += price.cost(replace(one, thinking=THINKING_TOKENS))
    return CostEstimate(
        model=config.model.name,
        day=day,
        videos=count,
        seconds=seconds,
        input_tokens=round(tokens),
        output_tokens=count * config.assumed_output_tokens,
        usd=usd,
        thinking_usd=thinking_usd,
        hours=_hours(config, count, round(tokens), usd[price.tier]),
        media_bytes=size,
        price=price,
    )


def price_of(config: HostedCaptionerConfig, day: datetime.date) -> Price:
    """The price of a captioner's model and tier on a day; see `price_on`."""
    model = config.model
    price = price_on(model.name, model.prices, day, config.tier, allow_expired=config.allow_expired_price)
    return replace(price, usd_per_hour=config.usd_per_hour)


def _scaled(usage: Usage, ratio: float) -> Usage:
    """The usage with `ratio` times the input tokens of each kind."""
    return replace(usage, **{name: math.ceil(getattr(usage, name) * ratio) for name in ("input", "video", "audio")})


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
        self._seen, self._ratio, self._longest, self._gpu_s = 0, 1.0, max_output_tokens, 0.0

    def tokens(self, expected: Usage) -> int:
        """Input tokens to reserve for a request that should have `expected`."""
        return self._input(expected).input

    def worst_usd(self, expected: Usage, max_output_tokens: int | None = None) -> float:
        """The maximum cost of a request in USD: its input as forecast, and the longest answer that it allows."""
        return self._price.cost(replace(self._input(expected), output=max_output_tokens or self._max_output))

    def likely_usd(self, expected: Usage) -> float:
        """The probable cost of a request in USD, for the spend limit."""
        return self._price.cost(replace(self._input(expected), output=self._longest))

    def _input(self, expected: Usage) -> Usage:
        return replace(_scaled(expected, self._ratio), gpu_seconds=self._gpu_s or expected.gpu_seconds)

    def learn(self, expected: Usage, usage: Usage) -> None:
        """Take an answer into account."""
        if not usage.input or not expected.input:
            return
        self._ratios.append(usage.input / expected.input)
        self._outputs.append(usage.output + usage.thinking)
        self._seen += 1
        self._gpu_s = max(self._gpu_s, usage.gpu_seconds)
        # The maxima are passes over 200 values: often enough at first, then every 20 answers.
        if self._seen < 20 or self._seen % 20 == 0:
            self._ratio = max(*self._ratios, 0.05)
            self._longest = max(self._outputs)
