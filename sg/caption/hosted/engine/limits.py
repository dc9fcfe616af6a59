"""What ends or suspends a run: the budget, the day's quota, a canary that disagrees with the estimate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sg.caption.hosted.settings import QuotaConfig
from sg.caption.ledger.reading import pacific_midnight
from sg.core.errors import ExitCode, SgError

_ROUNDING_USD = 1e-9


class BudgetReachedError(SgError):
    """The next request could pass the budget."""

    exit_code = ExitCode.BUDGET


class QuotaExhaustedError(SgError):
    """The provider's quota of the day, or its spending cap, is used up."""

    exit_code = ExitCode.QUOTA


class ModelDriftError(SgError):
    """Another model answered than the one that was asked."""

    exit_code = ExitCode.MODEL_DRIFT


class ServiceRefusedError(SgError):
    """The service does not accept the key, the project, the model or the settings."""


class CanaryError(SgError):
    """The first clips cost other than estimated, or too many were rejected."""


class Purse:
    """Money: what is spent, and what requests in flight may still cost, against the budget."""

    def __init__(self, budget_usd: float, spent_usd: float) -> None:
        self.budget_usd, self.spent_usd, self.reserved_usd = budget_usd, spent_usd, 0.0
        self._settled = asyncio.Event()

    async def set_aside(self, usd: float) -> bool:
        """Reserve, after waiting for requests in flight if those leave too little; False when it could pass the budget.

        A request costs less than it may at most, so the end of one can make room for the next.
        """
        while not self.reserve(usd):
            if not self.reserved_usd:
                return False
            self._settled.clear()
            await self._settled.wait()
        return True

    def reserve(self, usd: float) -> bool:
        """Set aside what a request may cost at most; False when that could pass the budget."""
        if self.spent_usd + self.reserved_usd + usd > self.budget_usd:
            return False
        self.reserved_usd += usd
        return True

    def settle(self, reserved_usd: float, cost_usd: float) -> None:
        """The true cost of a request in place of what was set aside."""
        left = self.reserved_usd - reserved_usd
        self.reserved_usd = left if left > _ROUNDING_USD else 0.0
        self.spent_usd += cost_usd
        self._settled.set()


class DailyQuota:
    """Requests of the provider's day, which ends at midnight in California (23 or 25 hours long twice a year)."""

    def __init__(
        self, quota: QuotaConfig, counted: Callable[[float], int], now: Callable[[], float] = time.time
    ) -> None:
        self._limit = None if quota.rpd is None else int(quota.rpd * quota.safety_factor)
        self._now, self._counted = now, counted
        self._day_ends = pacific_midnight(now(), 1)
        self._used = counted(pacific_midnight(now())) if self._limit is not None else 0
        self._suspended_until = 0.0

    def suspend(self) -> None:
        """The service says that the day's quota is used up, whatever we counted."""
        self._suspended_until = pacific_midnight(self._now(), 1)

    def free_at(self) -> float:
        """When the next request may leave: 0 for now, else the end of the provider's day."""
        now = self._now()
        if now >= self._day_ends:
            self._day_ends, self._used = pacific_midnight(now, 1), 0
        if now < self._suspended_until:
            return self._suspended_until
        if self._limit is not None and self._used >= self._limit:
            return self._day_ends
        return 0.0

    def count(self) -> None:
        """One request leaves."""
        self._used += 1


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """The first clips: what they cost a clip, what was estimated, and the share that got no caption."""

    clips: int
    mean_usd: float
    estimated_usd: float
    mean_input: float
    mean_output: float
    rejected: float

    def complaint(self) -> str:
        """What speaks against going on; empty when nothing does."""
        if self.rejected > 0.1:
            return (
                f"{self.rejected:.0%} of the first {self.clips} clips got no usable caption (10% are allowed): look at "
                "them with `python -m sg.caption audit`, or go on with captioner.canary=0."
            )
        if self.estimated_usd > 0 and abs(self.mean_usd / self.estimated_usd - 1) > 0.3:
            return (
                f"the first {self.clips} clips cost ${self.mean_usd:.6f} each, the estimate was "
                f"${self.estimated_usd:.6f} (mean tokens {self.mean_input:.0f} in, {self.mean_output:.0f} out): set "
                f"captioner.assumed_output_tokens={self.mean_output:.0f} and captioner.assumed_prompt_tokens to match, "
                "see the estimate with dry_run=true, or go on with captioner.canary=0."
            )
        return ""
