"""Prices: what a request costs by kind of token, length of the prompt and tier.

`prices.json` is a copy of the fields of a maintained list (litellm) for the models that are used here, with the day on
which it was read. The rows of a model's own file (`captioner.model.prices`) come first where they are valid: prices
that the list does not have, and prices of the future.
"""

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from sg.caption.hosted.services.records import Usage
from sg.core.errors import ConfigError

TABLE = Path(__file__).with_name("prices.json")
STANDARD, BATCH, FLEX, PRIORITY = TIERS = ("standard", "batch", "flex", "priority")
LONG_PROMPT = 200_000
"""A request with more input tokens pays the prices of long prompts, for all of its tokens."""
_MILLION = 1e6
_SUFFIXES = {STANDARD: "", BATCH: "_batches", FLEX: "_flex", PRIORITY: "_priority"}
_ABOVE = "_above_200k_tokens"


@dataclass
class PriceConfig:
    """One row of a price list, in USD per million tokens; thinking tokens are charged as output.

    Attributes:
        input: price of input tokens: text, images, video.
        output: price of output tokens.
        audio: price of input tokens of sound; null: as `input`.
        cached: price of input tokens that the service had cached; null: as `input`.
        tiers: by tier, the share of these prices that it charges; a tier that is missing is not offered.
        valid_from: first day of the price, YYYY-MM-DD.
        valid_to: last day; null while no end is known.
        source: where the price was read.
        read_on: the day on which it was read.
    """

    input: float = 0.0
    output: float = 0.0
    audio: float | None = None
    cached: float | None = None
    tiers: dict[str, float] = field(default_factory=lambda: {BATCH: 0.5, FLEX: 0.5, PRIORITY: 1.8})
    valid_from: str = "2000-01-01"
    valid_to: str | None = None
    source: str = ""
    read_on: str = ""

    def __post_init__(self) -> None:
        if min(self.input, self.output, self.audio or 0.0, self.cached or 0.0, *self.tiers.values()) < 0:
            raise ConfigError(f"A price of {self.input} and {self.output} USD per million tokens is negative.")
        for day in (self.valid_from, self.valid_to, self.read_on or None):
            try:
                _ = day and datetime.date.fromisoformat(day)
            except ValueError:
                raise ConfigError(
                    f"valid_from, valid_to and read_on of a price should be days (2026-12-31), not {day!r}."
                ) from None


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens of each kind."""

    input: float
    output: float
    audio: float
    cached: float
    cached_audio: float

    def cost(self, usage: Usage) -> float:
        """USD of one request."""
        sound, cached = min(usage.audio, usage.input), min(usage.cached, usage.input)
        # Without a split of the cached tokens, as few of them as possible are sound: the cost is then the largest.
        cached_sound = min(max(usage.cached_audio, cached - (usage.input - sound)), sound, cached)
        return (
            (usage.input - sound - (cached - cached_sound)) * self.input
            + (sound - cached_sound) * self.audio
            + (cached - cached_sound) * self.cached
            + cached_sound * self.cached_audio
            + (usage.output + usage.thinking) * self.output
        ) / _MILLION


@dataclass(frozen=True, slots=True)
class Price:
    """The prices of a model on a day, by tier: the rates of usual and of long prompts.

    `tier` is the tier that is asked for; `expired` if no price is valid and the last one is used instead;
    `usd_per_hour` is the price of a GPU of one's own.
    """

    rates: Mapping[str, tuple[Rates, Rates]]
    tier: str
    valid_from: str
    source: str
    expired: bool = False
    usd_per_hour: float = 0.0

    @property
    def row(self) -> dict[str, Any]:
        """The prices of the asked tier for usual prompts, as records keep them."""
        usual, _ = self.rates[self.tier]
        values = {name: getattr(usual, name) for name in ("input", "output", "audio", "cached")}
        return {**values, "tier": self.tier, "valid_from": self.valid_from, "source": self.source}

    def cost(self, usage: Usage, tier: str = "") -> float:
        """USD of one request, by the tier that answered if the service named one; thinking is charged as output."""
        usual, long = self.rates.get(tier) or self.rates[self.tier]
        tokens = (long if usage.input > LONG_PROMPT else usual).cost(usage)
        return tokens + usage.gpu_seconds * self.usd_per_hour / 3600


def price_on(
    name: str, rows: list[PriceConfig], day: datetime.date, tier: str = STANDARD, *, allow_expired: bool = False
) -> Price:
    """The price of the model `name` on a day: the latest of its own `rows` that is valid, else that of the table.

    Raises:
        ConfigError: no price is valid on that day, and `allow_expired` is off; or the tier has no price.
    """
    own = sorted(rows, key=lambda row: row.valid_from)
    listed, end = _listed(name)
    candidates = [row for row in own if _is_valid(row, day)]
    if candidates:
        price = _own(candidates[-1])
    elif listed is not None and (end is None or day < end):
        price = listed
    elif allow_expired and (own or listed is not None):
        price = replace(_own(own[-1]) if own else cast(Price, listed), expired=True)
    else:
        ended = "" if end is None else f" (its service ended on {end})"
        raise ConfigError(
            f"There is no price of {name} for {day}{ended}: add a row with valid_from, valid_to, source and read_on to "
            "captioner.model.prices (conf/captioner/model), or set captioner.allow_expired_price=true."
        )
    if tier not in price.rates:
        raise ConfigError(f"captioner.tier={tier} has no price for {name}: it has {', '.join(price.rates)}.")
    return replace(price, tier=tier)


@cache
def table() -> Mapping[str, Any]:
    """The committed copy: `source`, `read_on`, and `models` with their fields by name."""
    value: Mapping[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return value


def _is_valid(row: PriceConfig, day: datetime.date) -> bool:
    after = datetime.date.fromisoformat(row.valid_from) <= day
    return after and (row.valid_to is None or day <= datetime.date.fromisoformat(row.valid_to))


def _own(row: PriceConfig) -> Price:
    audio = row.input if row.audio is None else row.audio
    cached = row.input if row.cached is None else row.cached
    shares = {STANDARD: 1.0} | dict(row.tiers)
    rates = {
        name: Rates(*(share * value for value in (row.input, row.output, audio, cached, cached)))
        for name, share in shares.items()
    }
    return Price({name: (rate, rate) for name, rate in rates.items()}, STANDARD, row.valid_from, row.source)


@cache
def _listed(name: str) -> tuple[Price | None, datetime.date | None]:
    """The price of a model in the table, None without one, and the day on which its service ends, if it is known."""
    fields = table()["models"].get(name)
    if fields is None:
        return None, None
    rates = {
        tier: (_rates(fields, suffix, ""), _rates(fields, suffix, _ABOVE))
        for tier, suffix in _SUFFIXES.items()
        if f"input_cost_per_token{suffix}" in fields
    }
    end = fields.get("deprecation_date")
    price = Price(rates, STANDARD, table()["read_on"], table()["source"])
    return price, None if end is None else datetime.date.fromisoformat(end)


def _rates(fields: Mapping[str, Any], suffix: str, above: str) -> Rates:
    def rate(name: str, otherwise: float | None = None) -> float:
        value = fields.get(f"{name}{above}{suffix}", fields.get(f"{name}{suffix}"))
        if value is None and otherwise is not None:
            return otherwise
        return round(float(value) * _MILLION, 6)

    usual = rate("input_cost_per_token")
    cached = rate("cache_read_input_token_cost", usual)
    return Rates(
        usual,
        rate("output_cost_per_token"),
        rate("input_cost_per_audio_token", usual),
        cached,
        rate("cache_read_input_audio_token_cost", cached),
    )
