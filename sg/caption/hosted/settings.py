"""Settings that all captioners that ask a service share, and the models and prices of services."""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from sg.caption.captioners import CaptionerConfig
from sg.caption.hosted.prices import BATCH, FLEX, STANDARD, TIERS, PriceConfig
from sg.caption.hosted.services.records import Service
from sg.caption.hosted.services.secrets import looks_like_a_key
from sg.caption.ledger.ledger import RETRY_STATES
from sg.caption.quality.gates import LANGUAGES
from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY, Identity
from sg.core.mistakes import check_choice, check_numbers

TRANSPORTS = ("auto", "inline", "upload", "proxy", "path")
ON_DRIFT = ("stop", "warn", "record")
ON_DAILY_QUOTA = ("wait", "stop")
ADAPTIVE = "adaptive"
RESOLUTIONS = ("unspecified", "low", "medium", "high")
DEFAULT_MAX_OUTPUT_TOKENS = 1024
FLEX_DEADLINE_S = 900.0
_LENGTH, _ONE = "the longest answer is captioner.generation.max_output_tokens", "one answer per request is read"
_MODEL, _OURS = "it is a setting of captioner.model", "this program sends its own"
_OTHER_NAMES = {
    **dict.fromkeys(("maxOutputTokens", "max_tokens", "max_completion_tokens", "max_new_tokens"), _LENGTH),
    **dict.fromkeys(("n", "candidate_count", "candidateCount", "best_of", "stream"), _ONE),
    **dict.fromkeys(("media_resolution", "mediaResolution", "thinking_level", "thinkingLevel"), _MODEL),
    **dict.fromkeys(("model", "messages", "contents", "thinking_config", "thinkingConfig"), _OURS),
}
"""Parameters of services that this program replaces by its own, or whose result it does not read."""


@dataclass
class ServiceModelConfig:
    """A model of a service: what its requests may hold, what its tokens cost, and how it counts a video.

    Attributes:
        name: the model's name at the service.
        announced: the day on which the model was announced, YYYY-MM-DD: no price can have been read before.
        prices: rows that come before those of the price table (`sg/caption/hosted/prices.json`) where they are valid.
        tokens_per_frame: by media resolution.
        audio_tokens_per_s: for a video with sound, or whose sound is unknown.
        timestamp_tokens_per_s: tokens that the service adds for its time stamps.
        media_resolution: sent with every request unless it is `unspecified`.
        thinking_levels: the levels that the model accepts.
        thinking_level: sent with every request; null leaves the model's default.
        sampling: whether temperature and top_p may be sent.
        max_output_tokens: the largest value that the model accepts.
    """

    name: str = "???"
    announced: str | None = field(default=None, metadata=NOT_IDENTITY)
    prices: list[PriceConfig] = field(default_factory=list, metadata=NOT_IDENTITY)
    tokens_per_frame: dict[str, float] = field(default_factory=lambda: {"unspecified": 0.0}, metadata=NOT_IDENTITY)
    audio_tokens_per_s: float = field(default=0.0, metadata=NOT_IDENTITY)
    timestamp_tokens_per_s: float = field(default=0.0, metadata=NOT_IDENTITY)
    media_resolution: str = "unspecified"
    thinking_levels: list[str] = field(default_factory=list, metadata=NOT_IDENTITY)
    thinking_level: str | None = None
    sampling: bool = field(default=True, metadata=NOT_IDENTITY)
    max_output_tokens: int = field(default=8192, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        check_choice("captioner.model.media_resolution", self.media_resolution, RESOLUTIONS)
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
    """Limits of the user's project, as the provider's console shows them; null means no limit.

    Attributes:
        rpm: requests per minute.
        tpm: input tokens per minute.
        rpd: requests per day; a day ends at midnight US Pacific.
        usd_per_10_min: the spend limit in USD, on a rolling window of 10 minutes.
        safety_factor: the share of each limit that is used.
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
        check_choice("captioner.quota.on_daily_quota", self.on_daily_quota, ON_DAILY_QUOTA)


@dataclass
class BatchConfig:
    """Batch jobs.

    Attributes:
        max_bytes: the maximum size of a job's input file.
        inline_mb: the largest request inside a job, in MB; it is not documented whether a line may have 100 MB.
        max_tasks: the maximum number of videos of a job.
        enqueued_tokens: the project's limit of tokens in unfinished jobs.
        max_jobs: the maximum number of unfinished jobs.
        poll_s: seconds between two looks at a job at first; the pause grows up to `max_poll_s`.
        stall_hours: a job that is not done by then is cancelled, and its videos become pending again.
    """

    max_bytes: int = 1_900_000_000
    inline_mb: float = 20.0
    max_tasks: int = 50_000
    enqueued_tokens: int = 10_000_000
    max_jobs: int = 100
    poll_s: float = 60.0
    max_poll_s: float = 600.0
    stall_hours: float = 26.0

    def __post_init__(self) -> None:
        check_numbers("captioner.batch.", self, max_bytes=1, max_tasks=1, enqueued_tokens=1, max_jobs=1)
        check_numbers("captioner.batch.", self, poll_s=0, max_poll_s=self.poll_s, stall_hours=0)


@dataclass
class RetryConfig:
    """How often and how long a request is tried.

    Attributes:
        deadline_s: the maximum duration of one request, even if the server still sends bytes.
        max_attempts: attempts of one video that end in transient errors, at most.
        max_minutes: time after the first attempt of a video in which transient errors are retried.
        backoff_s: the first pause between attempts.
        max_wait_s: the longest pause; a pause that the service announces is respected up to this.
        max_shed: how often the service may shed one request of `captioner.tier=flex`; no attempt is counted.
        quality_retries: tries with the stricter prompt for a caption that a gate rejected.
        max_unknown_errors: the number of errors of no known kind after which the run stops.
    """

    deadline_s: float = 300.0
    max_attempts: int = 6
    max_minutes: float = 30.0
    backoff_s: float = 2.0
    max_wait_s: float = 300.0
    max_shed: int = 100
    quality_retries: int = 1
    max_unknown_errors: int = 3

    def __post_init__(self) -> None:
        if self.deadline_s <= 0 or self.max_attempts < 1 or self.backoff_s < 0 or self.max_wait_s <= 0:
            raise ConfigError("captioner.retry needs a positive deadline_s, max_attempts and max_wait_s.")
        check_numbers("captioner.retry.", self, max_minutes=0, max_shed=0, quality_retries=0, max_unknown_errors=1)


@dataclass
class HostedCaptionerConfig(CaptionerConfig):
    """What the settings of every captioner have that asks a service.

    Fields that are part of the identity decide what the service is asked. All others are marked: they change speed,
    cost or the choice among the answers, never an answer that the ledger already has.

    Attributes:
        model: a file of conf/captioner/model.
        tier: `standard`; `batch` (jobs, answers within a day) and `flex` (within minutes, may be shed) at about half
            the price; `priority` (first served) at about 1.8 times the price.
        batch: sizes and times of the jobs of `tier=batch`.
        prompt: the name of a prompt of the package, or the path of a prompt file.
        base_url: another address of the service; null takes the provider's.
        api_version: the version in the paths of the address.
        key_file: a file with the key (mode 0600); null takes the environment.
        transport: `auto` sends small files inside the request, uploads larger ones, and makes a proxy of what does not
            fit; `path` sends the path of the file (`file://...`) to a server that reads the same disk.
        inline_mb: the largest request that the service takes, in MB: 100 since 2026-01-08 (before, 20).
        urls: a file with one video id and its URL per line, separated by a space or a tab, for signed URLs, which the
            service reads itself; null sends files, or what `data.videos=gs://...` or `https://...` names.
        fps: frames per second that the service samples; null leaves its default of 1.
        generation: parameters that are sent as they are: max_output_tokens, temperature, seed, ...
        quota: limits of the provider.
        retry: how often and how long a request is tried.
        min_concurrency: requests in flight, at least.
        max_concurrency: requests in flight, at most.
        budget_usd: the run stops before it is exceeded; null allows `free_without_asking_usd`.
        usd_per_hour: the price of an hour of one GPU of your own; requests then cost their share of its time.
        assumed_gpu_s: GPU-seconds of a video, for estimates, and for the budget until the first answers.
        budget_gpu_hours: the budget in GPU-hours instead of `budget_usd`; needs `usd_per_hour`.
        free_without_asking_usd: the cost up to which a run starts without `budget_usd`.
        buy: `all`, or `adaptive`: `train.py` buys the captions of nested cores, each twice the one before, trains on
            each, and stops when the next is predicted not to be worth its money (`sg.study.buying`).
        buy_first: the first of these cores, as `data.scale`.
        min_gain_per_usd: of `buy=adaptive`: the least fall of the held-out loss, in nats per token, per dollar.
        assumed_prompt_tokens: tokens of the prompt, for estimates.
        assumed_output_tokens: tokens of an answer, for estimates.
        canary: videos that are captioned first and compared with the estimate; 0 leaves that out.
        on_model_drift: `stop`, `warn` or `record` when another model answers than the one that was asked.
        allow_expired_price: estimate with the last price row when none is valid today.
        shard: `k/n` takes only the k-th of n parts of the videos (k from 0); quotas are meant for one shard.
        retry_states: final states whose videos are tried again: blocked, rejected, failed_permanent; `submitted` gives
            unfinished batch jobs up, and pays for their videos again.
        max_duplicates: a text that more videos share is left out of `captions.parquet`.
        language: the language that the gates expect (ISO 639-1); null does not check it.
        i_have_rights: that you may send these videos to the service.
    """

    tiers: ClassVar[tuple[str, ...]] = (STANDARD,)
    """The tiers that the service offers."""
    has_file_store: ClassVar[bool] = False
    """Whether the service keeps files: its `service()` is a `FileService`."""
    uploads_videos: ClassVar[bool] = False
    """Whether a video that is too large for a request is uploaded; otherwise a proxy is made."""
    reads_addresses: ClassVar[bool] = False
    """Whether the service reads videos at their URLs."""
    reads_paths: ClassVar[bool] = False
    """Whether the service reads files of this machine: `transport=path`."""
    reads_ranges: ClassVar[bool] = False
    """Whether it also reads files of an address, because it is a part of this program."""
    sends_fps: ClassVar[bool] = True
    """Whether its requests say `fps`."""
    counts_tokens: ClassVar[bool] = False
    """Whether the service counts the tokens of a request free of charge: its `service()` is a `CountingService`."""

    model: ServiceModelConfig = field(default_factory=ServiceModelConfig)
    tier: str = field(default=STANDARD, metadata=NOT_IDENTITY)
    batch: BatchConfig = field(default_factory=BatchConfig, metadata=NOT_IDENTITY)
    prompt: str = field(default="dense_en", metadata=NOT_IDENTITY)  # its text is an input of the identity
    base_url: str | None = field(default=None, metadata=NOT_IDENTITY)
    api_version: str = field(default="v1beta", metadata=NOT_IDENTITY)
    key_file: str | None = field(default=None, metadata=NOT_IDENTITY)
    transport: str = field(default="auto", metadata={"identity": lambda transport: transport == "proxy"})
    inline_mb: float = field(default=100.0, metadata=NOT_IDENTITY)
    urls: str | None = field(default=None, metadata=NOT_IDENTITY)
    fps: float | None = None
    generation: dict[str, Any] = field(
        default_factory=dict,
        metadata={"identity": lambda sent: {"max_output_tokens": DEFAULT_MAX_OUTPUT_TOKENS} | sent},
    )
    quota: QuotaConfig = field(default_factory=QuotaConfig, metadata=NOT_IDENTITY)
    retry: RetryConfig = field(default_factory=RetryConfig, metadata=NOT_IDENTITY)
    min_concurrency: int = field(default=1, metadata=NOT_IDENTITY)
    max_concurrency: int = field(default=64, metadata=NOT_IDENTITY)
    budget_usd: float | None = field(default=None, metadata=NOT_IDENTITY)
    usd_per_hour: float = field(default=0.0, metadata=NOT_IDENTITY)
    assumed_gpu_s: float = field(default=0.0, metadata=NOT_IDENTITY)
    budget_gpu_hours: float | None = field(default=None, metadata=NOT_IDENTITY)
    free_without_asking_usd: float = field(default=5.0, metadata=NOT_IDENTITY)
    buy: str = field(default="all", metadata=NOT_IDENTITY)
    buy_first: str = field(default="50k", metadata=NOT_IDENTITY)
    min_gain_per_usd: float | None = field(default=None, metadata=NOT_IDENTITY)
    assumed_prompt_tokens: int = field(default=350, metadata=NOT_IDENTITY)
    assumed_output_tokens: int = field(default=300, metadata=NOT_IDENTITY)
    canary: int = field(default=50, metadata=NOT_IDENTITY)
    on_model_drift: str = field(default="stop", metadata=NOT_IDENTITY)
    allow_expired_price: bool = field(default=False, metadata=NOT_IDENTITY)
    shard: str = field(default="0/1", metadata=NOT_IDENTITY)
    retry_states: list[str] = field(default_factory=list, metadata=NOT_IDENTITY)
    max_duplicates: int = field(default=3, metadata=NOT_IDENTITY)  # an input of the identity of captions.parquet
    language: str | None = field(default="en", metadata=NOT_IDENTITY)
    i_have_rights: bool = field(default=False, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("captioner.tier", self.tier, TIERS)
        if self.tier not in self.tiers:
            raise ConfigError(
                f"captioner.tier={self.tier} is not offered by this service: it has {', '.join(self.tiers)}."
            )
        check_choice("captioner.buy", self.buy, ("all", ADAPTIVE))
        if (self.buy == ADAPTIVE) != (self.min_gain_per_usd is not None and self.min_gain_per_usd > 0):
            raise ConfigError(
                f"captioner.buy={self.buy} with captioner.min_gain_per_usd={self.min_gain_per_usd}: adaptive buying "
                "needs the least fall of the held-out loss per dollar, a number above 0, and nothing else does."
            )
        if self.buy != ADAPTIVE and self.buy_first != type(self).buy_first:
            raise ConfigError(f"captioner.buy_first={self.buy_first} is for captioner.buy=adaptive.")
        check_choice("captioner.transport", self.transport, TRANSPORTS)
        check_choice("captioner.on_model_drift", self.on_model_drift, ON_DRIFT)
        if not (self.inline_mb > 0 and self.batch.inline_mb > 0):
            raise ConfigError("captioner.inline_mb and captioner.batch.inline_mb should be above 0.")
        if not 1 <= self.min_concurrency <= self.max_concurrency:
            raise ConfigError("captioner.min_concurrency should be from 1 to captioner.max_concurrency.")
        if self.budget_usd is not None and not self.budget_usd > 0:
            raise ConfigError(f"captioner.budget_usd={self.budget_usd} should be above 0.")
        if self.transport == "path" and not self.reads_paths:
            raise ConfigError("captioner.transport=path is for servers of your own, which read the same disk.")
        if self.transport == "upload" and (self.in_batches or not self.uploads_videos):
            raise ConfigError("captioner.transport=upload needs captioner=gemini without tier=batch: leave it out.")
        hours = self.budget_gpu_hours
        if hours is not None and (self.budget_usd is not None or not (hours > 0 and self.usd_per_hour > 0)):
            raise ConfigError(
                "captioner.budget_gpu_hours should be above 0, needs captioner.usd_per_hour, and replaces "
                "captioner.budget_usd."
            )
        check_numbers("captioner.", self, canary=0, max_duplicates=1, assumed_prompt_tokens=0, assumed_output_tokens=0)
        check_numbers("captioner.", self, free_without_asking_usd=0, usd_per_hour=0, assumed_gpu_s=0)
        for state in self.retry_states:
            check_choice("captioner.retry_states", state, RETRY_STATES)
        if self.fps is not None and not self.fps > 0:
            raise ConfigError(f"captioner.fps={self.fps} should be above 0, or null for the service's default.")
        if self.fps is not None and not self.sends_fps:
            raise ConfigError(f"captioner.fps={self.fps} has no effect: requests to this model do not say it.")
        if self.language is not None and self.language not in LANGUAGES:
            raise ConfigError(
                f"captioner.language={self.language!r} should be two letters (ISO 639-1) of a language that the gates "
                "recognise, such as en, or null: every caption would be rejected otherwise."
            )
        _check_generation(self.generation)
        self.shard_of  # noqa: B018 - checks the text
        _check_no_key(self)
        check_address(self.base_url)

    def service(self) -> Service:
        """A client of the service, ready to ask; the key is read here and nowhere else.

        Raises:
            ConfigError: the key or the address is missing.
        """
        raise NotImplementedError

    @property
    def weights(self) -> Identity | None:
        """What decides the answers of a model in this process; None for a service, whose model has a name."""
        return None

    @property
    def usd_budget(self) -> float | None:
        """The budget in USD, whether it is given in USD or in GPU-hours."""
        return self.budget_usd if self.budget_gpu_hours is None else self.budget_gpu_hours * self.usd_per_hour

    @property
    def in_batches(self) -> bool:
        """Whether requests go out in batch jobs."""
        return self.tier == BATCH

    @property
    def inline_bytes(self) -> int:
        """The largest request in bytes, with a tenth of the limit in reserve for what surrounds the video."""
        return int(0.9e6 * (self.batch.inline_mb if self.in_batches else self.inline_mb))

    @property
    def deadline_s(self) -> float:
        """The maximum duration of one request in seconds; a request of the flex tier may wait for 15 minutes."""
        return max(self.retry.deadline_s, FLEX_DEADLINE_S if self.tier == FLEX else 0.0)

    @property
    def shard_of(self) -> tuple[int, int]:
        """The number of this shard, from 0, and the number of shards."""
        match = re.fullmatch(r"(\d+)/(\d+)", self.shard)
        if not match or not int(match[1]) < int(match[2]):
            raise ConfigError(f"captioner.shard={self.shard!r} should be k/n with k below n, such as 0/4.")
        return int(match[1]), int(match[2])


def _check_no_key(config: HostedCaptionerConfig) -> None:
    """Refuse a key in a setting: Hydra prints and stores configs, so the key would be published."""
    for name, value in vars(config).items():
        if looks_like_a_key(str(value)):
            raise ConfigError(
                f"captioner.{name} holds what looks like an API key: configs are printed and stored, so put the key "
                "into the environment variable GEMINI_API_KEY or a file named by captioner.key_file."
            )


def _check_generation(sent: dict[str, Any]) -> None:
    for name, least in (("max_output_tokens", 1), ("seed", 0)):
        value = sent.get(name, least)
        if type(value) is not int or value < least:
            raise ConfigError(f"captioner.generation.{name}={value} should be a whole number of at least {least}.")
    for name, value in sent.items():
        if (own := _OTHER_NAMES.get(name)) and not (own == _ONE and value in (1, False) and value is not True):
            raise ConfigError(f"captioner.generation.{name}={value} would not be used: {own}.")


def check_address(url: str | None) -> None:
    """Refuse what is not a plain address. A user name or password in it would be printed and stored."""
    try:
        parts = urlsplit(url or "https://x")
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        _ = parts.port  # raises for one that cannot be
    except ValueError:
        is_plain = False
    if not is_plain or parts.query or parts.fragment:
        raise ConfigError(
            "captioner.base_url should be an address such as https://host:8000/v1, without user name, password and "
            "query: keys belong into the environment or captioner.key_file."
        )


register("captioner/model", "model_schema", ServiceModelConfig)
