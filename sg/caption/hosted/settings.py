"""Settings of the captioners that ask a service, and of what they cost."""

import datetime
import re
from dataclasses import dataclass, field
from typing import Any

from sg.caption.config import CaptionerConfig
from sg.caption.hosted.services.secrets import looks_like_a_key
from sg.core.commands import register
from sg.core.errors import ConfigError

KINDS = ("gemini", "gemini_batch", "gemini_legacy", "openai_compatible")
TRANSPORTS = ("auto", "inline", "upload", "proxy")
ON_DRIFT = ("stop", "warn", "record")
ON_DAILY_QUOTA = ("wait", "stop")
RESOLUTIONS = ("unspecified", "low", "medium", "high")


@dataclass
class PriceConfig:
    """One row of a price list, USD per million tokens, thinking charged as output.

    Attributes:
        valid_from: first day of the price, YYYY-MM-DD.
        valid_to: last day; null while no end is known.
        source: where the price was read; `read_on`: when.
    """

    input: float = 0.0
    output: float = 0.0
    valid_from: str = "2000-01-01"
    valid_to: str | None = None
    source: str = ""
    read_on: str = ""

    def __post_init__(self) -> None:
        if self.input < 0 or self.output < 0:
            raise ConfigError(f"A price of {self.input} and {self.output} USD a million tokens should not be negative.")
        for day in (self.valid_from, self.valid_to):
            try:
                _ = day and datetime.date.fromisoformat(day)
            except ValueError:
                raise ConfigError(
                    f"valid_from and valid_to of a price should be days (2026-12-31), not {day!r}."
                ) from None


@dataclass
class ModelConfig:
    """A model of a service: what its requests may hold, what its tokens cost, and how it counts a film.

    Attributes:
        name: as the service calls it.
        prices: rows with their days of validity.
        batch_discount: share of the price that batch jobs pay.
        tokens_per_frame: at one of the resolutions.
        audio_tokens_per_s: for a film with sound, or whose sound is unknown.
        timestamp_tokens_per_s: what the service adds for its time stamps.
        media_resolution: sent with every request when not `unspecified`.
        thinking_levels: those that the model accepts.
        thinking_level: sent with every request; null leaves the model's own.
        sampling: whether temperature and top_p may be sent.
        max_output_tokens: the most it can be asked for.
    """

    name: str = "???"
    prices: list[PriceConfig] = field(default_factory=list)
    batch_discount: float = 0.5
    tokens_per_frame: dict[str, float] = field(default_factory=lambda: {"unspecified": 0.0})
    audio_tokens_per_s: float = 0.0
    timestamp_tokens_per_s: float = 0.0
    media_resolution: str = "unspecified"
    thinking_levels: list[str] = field(default_factory=list)
    thinking_level: str | None = None
    sampling: bool = True
    max_output_tokens: int = 8192

    def __post_init__(self) -> None:
        _check_choice("model.media_resolution", self.media_resolution, RESOLUTIONS)
        if self.media_resolution not in self.tokens_per_frame:
            raise ConfigError(
                f"captioner.model.tokens_per_frame of {self.name} has no number for {self.media_resolution}: add it."
            )
        if self.thinking_level is not None and self.thinking_level not in self.thinking_levels:
            levels = ", ".join(self.thinking_levels) or "none"
            raise ConfigError(
                f"captioner.model.thinking_level={self.thinking_level!r} is not accepted by {self.name} ({levels})."
            )


@dataclass
class QuotaConfig:
    """What the provider's console allows this project; null is no limit.

    Attributes:
        rpm, tpm, rpd: requests a minute, input tokens a minute, requests a day (a day ends at midnight US Pacific).
        usd_per_10_min: the spend limit on a rolling window.
        safety_factor: share of each limit that is used.
        on_daily_quota: `wait` for the next day, or `stop` (exit code 4).
    """

    rpm: float | None = 1000
    tpm: float | None = 1_000_000
    rpd: int | None = None
    usd_per_10_min: float | None = 10
    safety_factor: float = 0.9
    on_daily_quota: str = "wait"

    def __post_init__(self) -> None:
        if not 0 < self.safety_factor <= 1:
            raise ConfigError(f"captioner.quota.safety_factor={self.safety_factor} should be above 0 and at most 1.")
        for name in ("rpm", "tpm", "rpd", "usd_per_10_min"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"captioner.quota.{name}={value} should be above 0, or null for no limit.")
        _check_choice("quota.on_daily_quota", self.on_daily_quota, ON_DAILY_QUOTA)


@dataclass
class BatchConfig:
    """Batch waves.

    Attributes:
        max_bytes, max_tasks: of one job's input file.
        enqueued_tokens: the project's allowance of tokens waiting in jobs.
        max_jobs: at the same time.
        poll_s, max_poll_s: seconds between looks at a job, growing.
        stall_hours: a job that is not done by then is cancelled and its clips go back.
    """

    max_bytes: int = 1_900_000_000
    max_tasks: int = 50_000
    enqueued_tokens: int = 10_000_000
    max_jobs: int = 100
    poll_s: float = 60.0
    max_poll_s: float = 600.0
    stall_hours: float = 26.0


@dataclass
class RetryConfig:
    """How often and how long to try.

    Attributes:
        deadline_s: for one request, whatever the server does.
        max_attempts, max_minutes: of transient trouble for one clip.
        backoff_s, max_wait_s: first and longest pause; an announced pause is honoured up to `max_wait_s`.
        quality_retries: tries with the stricter prompt for a caption that a gate rejected.
        max_unknown_errors: errors of no known kind, after which the run stops.
    """

    deadline_s: float = 300.0
    max_attempts: int = 6
    max_minutes: float = 30.0
    backoff_s: float = 2.0
    max_wait_s: float = 300.0
    quality_retries: int = 1
    max_unknown_errors: int = 3

    def __post_init__(self) -> None:
        if self.deadline_s <= 0 or self.max_attempts < 1 or self.backoff_s < 0 or self.max_wait_s <= 0:
            raise ConfigError("captioner.retry needs a positive deadline_s, max_attempts and max_wait_s.")


@dataclass
class HostedCaptionerConfig(CaptionerConfig):
    """What every captioner has that asks a service.

    Attributes:
        kind: `gemini` (one request a clip through google-genai), `gemini_batch` (waves of jobs at half the price),
            `gemini_legacy` (through google-generativeai), or `openai_compatible` (a server of one's own).
        model: a file of conf/captioner/model.
        prompt: a prompt of the package by name, or the path of one's own.
        base_url: another address of the service; api_version: of its paths.
        key_file: a file with the key (mode 0600); null takes the environment.
        transport: `auto` sends small films inline, uploads larger ones, and makes a proxy of what does not fit.
        generation: sent as it is: max_output_tokens, temperature, seed, ...
        budget_usd: the run stops before it is passed; null allows `free_without_asking_usd`.
        canary: clips that are captioned and compared with the estimate first; 0 leaves that out.
        shard: `k/n` takes only the k-th of n parts of the clips (k from 0); quotas are meant for one shard.
        i_have_rights: that you may send these films to the service.
    """

    kind: str = "???"
    model: ModelConfig = field(default_factory=ModelConfig)
    prompt: str = "dense_en"
    base_url: str | None = None
    api_version: str = "v1beta"
    key_file: str | None = None
    python: str | None = None
    transport: str = "auto"
    fps: float | None = None
    generation: dict[str, Any] = field(default_factory=dict)
    quota: QuotaConfig = field(default_factory=QuotaConfig)
    retry: RetryConfig = field(default_factory=RetryConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    min_concurrency: int = 1
    max_concurrency: int = 64
    budget_usd: float | None = None
    free_without_asking_usd: float = 5.0
    assumed_prompt_tokens: int = 350
    assumed_output_tokens: int = 300
    canary: int = 50
    on_model_drift: str = "stop"
    allow_expired_price: bool = False
    shard: str = "0/1"
    retry_states: list[str] = field(default_factory=list)
    max_duplicates: int = 3
    language: str | None = "en"
    i_have_rights: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("kind", self.kind, KINDS)
        _check_choice("transport", self.transport, TRANSPORTS)
        _check_choice("on_model_drift", self.on_model_drift, ON_DRIFT)
        if not 1 <= self.min_concurrency <= self.max_concurrency:
            raise ConfigError("captioner.min_concurrency should be from 1 to captioner.max_concurrency.")
        if self.budget_usd is not None and not self.budget_usd > 0:
            raise ConfigError(f"captioner.budget_usd={self.budget_usd} should be above 0.")
        self.shard_of  # noqa: B018 - checks the text
        _check_no_key(self)

    @property
    def shard_of(self) -> tuple[int, int]:
        """Which shard of how many."""
        match = re.fullmatch(r"(\d+)/(\d+)", self.shard)
        if not match or not int(match[1]) < int(match[2]):
            raise ConfigError(f"captioner.shard={self.shard!r} should be k/n with k below n, such as 0/4.")
        return int(match[1]), int(match[2])


def _check_no_key(config: HostedCaptionerConfig) -> None:
    """Hydra shows and stores configs, so a key in one would be published."""
    for name, value in vars(config).items():
        if looks_like_a_key(str(value)):
            raise ConfigError(
                f"captioner.{name} holds what looks like an API key: configs are shown and stored, so put the key "
                "into the environment variable GEMINI_API_KEY or a file named by captioner.key_file."
            )


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"captioner.{key}={value!r} should be one of {', '.join(choices)}.")


register("captioner", "hosted_schema", HostedCaptionerConfig)
register("captioner/model", "model_schema", ModelConfig)
