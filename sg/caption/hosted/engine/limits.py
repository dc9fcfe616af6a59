"""What ends or suspends a run: the budget, the daily quota, and errors of the service."""

import asyncio
import time
from collections.abc import Callable

from sg.caption.hosted.services.records import Kind
from sg.caption.hosted.settings import QuotaConfig
from sg.caption.ledger.batch_jobs import RecordedJob
from sg.caption.ledger.reading import pacific_midnight
from sg.core.errors import ExitCode, SgError

_ROUNDING_USD = 1e-9


class BudgetReachedError(SgError):
    """The next request could exceed the budget."""

    exit_code = ExitCode.BUDGET


class QuotaExhaustedError(SgError):
    """The daily quota or the spending cap of the provider is used up."""

    exit_code = ExitCode.QUOTA


class ModelDriftError(SgError):
    """A model answered that is not the requested one."""

    exit_code = ExitCode.MODEL_DRIFT


class ServiceRefusedError(SgError):
    """The service does not accept the key, the project, the model or the settings."""


class ServiceUnavailableError(SgError):
    """The service failed at every attempt for some videos, which the next run asks for again."""


class CanaryError(SgError):
    """The first videos did not cost what was estimated, or too many of them have no caption."""


def refusal(kind: Kind, message: str) -> SgError:
    """The error of a run whose requests, or batch job, the service refuses; the message is the service's."""
    if kind is Kind.TIER_CAP:
        return QuotaExhaustedError(
            f"The provider's spending cap is reached ({message}): raise it there, then run the same command."
        )
    return ServiceRefusedError(
        f"The service refuses the requests ({message}): check the key, the project, captioner.model.name and "
        "captioner.generation; nothing is lost, the same command continues."
    )


def daily_quota_used(free_at: float) -> QuotaExhaustedError:
    """The error of a run that the quota of the day ends; `free_at` is a time stamp."""
    until = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(free_at))
    return QuotaExhaustedError(f"The daily quota is used up until {until}: run the same command then.")


def unreadable_job(job: RecordedJob, reason: str) -> ServiceRefusedError:
    """The error of a batch job whose answers may be paid for and cannot be read: only the user may ask again."""
    return ServiceRefusedError(
        f"The answers of batch job {job.job_name} ({job.num_tasks:,} videos) cannot be read: {reason}. They may be "
        "paid for, so its videos are not sent again: run the same command later, with the key of the job's project. "
        "captioner.retry_states=[submitted] gives all unfinished batch jobs up and pays for their videos again."
    )


class Budget:
    """The costs so far and the maximum costs of the requests in flight, against a limit, all in USD.

    The maximum cost of a request is reserved before it leaves, so the limit holds whatever the answers cost.
    """

    def __init__(self, limit_usd: float, spent_usd: float) -> None:
        self.limit_usd, self.spent_usd, self.reserved_usd = limit_usd, spent_usd, 0.0
        self._settled = asyncio.Event()

    async def reserve_when_free(self, usd: float) -> bool:
        """Reserve `usd`; False if that could exceed the limit even after all requests in flight have ended.

        A request usually costs less than was reserved for it, so the end of one can make room for the next.
        """
        while not self.reserve(usd):
            if not self.reserved_usd:
                return False
            self._settled.clear()
            await self._settled.wait()
        return True

    def reserve(self, usd: float) -> bool:
        """Reserve the maximum cost of a request; False if that could exceed the limit."""
        if self.spent_usd + self.reserved_usd + usd > self.limit_usd:
            return False
        self.reserved_usd += usd
        return True

    def settle(self, reserved_usd: float, cost_usd: float) -> None:
        """Replace the reserved cost of a request by its actual cost."""
        left = self.reserved_usd - reserved_usd
        self.reserved_usd = left if left > _ROUNDING_USD else 0.0
        self.spent_usd += cost_usd
        self._settled.set()

    def exceeded(self, result: str = "caption") -> BudgetReachedError:
        """The error of a run that this budget ends; `result` is what its requests obtain."""
        return BudgetReachedError(
            f"The budget of ${self.limit_usd:.2f} is reached: ${self.spent_usd:.4f} are spent, and one more request "
            f"could exceed it. The {result}s so far are kept; continue with a larger captioner.budget_usd."
        )


class DailyQuota:
    """Counts the requests of the provider's day, which ends at midnight in California.

    Two days of the year have 23 and 25 hours there. `counted` returns the number of requests since a time.
    """

    def __init__(
        self, quota: QuotaConfig, counted: Callable[[float], int], now: Callable[[], float] = time.time
    ) -> None:
        self._limit = None if quota.rpd is None else int(quota.rpd * quota.safety_factor)
        self._now, self._counted = now, counted
        self._day_ends = pacific_midnight(now(), 1)
        self._used = counted(pacific_midnight(now())) if self._limit is not None else 0
        self._suspended_until = 0.0

    def suspend(self) -> None:
        """Send nothing until the next day: the service reports that the quota is used up, whatever was counted here."""
        self._suspended_until = pacific_midnight(self._now(), 1)

    def free_at(self) -> float:
        """When the next request may leave: 0 for now, else the end of the provider's day as a time stamp."""
        now = self._now()
        next_day = pacific_midnight(now, 1)
        if now >= self._day_ends:
            self._day_ends, self._used = next_day, 0
        # A clock that was ahead and was set back must not make the run wait for the day that it showed.
        self._day_ends, self._suspended_until = min(self._day_ends, next_day), min(self._suspended_until, next_day)
        if now < self._suspended_until:
            return self._suspended_until
        if self._limit is not None and self._used >= self._limit:
            return self._day_ends
        return 0.0

    def count(self) -> None:
        """Count one request."""
        self._used += 1
