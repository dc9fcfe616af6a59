"""What is done about each class of error: a pure decision from the class and from the earlier tries."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from sg.caption.hosted.services.records import Kind
from sg.caption.hosted.settings import RetryConfig
from sg.caption.ledger.ledger import BLOCKED, DEFERRED, FAILED, PENDING, REJECTED, Task

STRICT, PROXY, LONGER, RESEED, AGAIN, SHED = "strict", "proxy", "longer", "reseed", "reupload", "shed"
"""Special tries, each counted in `Task.tries`."""
PAUSE_JITTER = 1.1
"""An announced pause is prolonged by a random factor up to this one."""
# What a second try changes, and the state of a video whose second try fails as well.
_TRIES = {Kind.MEDIA: PROXY, Kind.UNCLEAR: PROXY, Kind.LOST_FILE: AGAIN, Kind.TRUNCATED: LONGER, Kind.ODD: RESEED}
_ENDS = {
    Kind.MEDIA: FAILED, Kind.UNCLEAR: FAILED, Kind.LOST_FILE: FAILED, Kind.TRUNCATED: REJECTED, Kind.ODD: REJECTED
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state of a task, and what it means for the run.

    Attributes:
        delay_s: seconds until the task may be tried again.
        pause_s: seconds for which no request leaves.
        suspend: no request leaves until the next day of the provider.
        stop: the run ends.
    """

    state: str
    delay_s: float = 0.0
    attempts: int = 0
    tries: Mapping[str, int] | None = None
    pause_s: float = 0.0
    suspend: bool = False
    stop: bool = False


def decide(
    kind: Kind,
    task: Task,
    config: RetryConfig,
    *,
    now: float,
    retry_after_s: float | None = None,
    streak: int = 0,
    can_proxy: bool = True,
    draw: random.Random,
) -> Decision:
    """What to do with a task after an error.

    Args:
        kind: the class of the error.
        task: the task with its earlier tries.
        config: limits of the retries.
        now: the current time in seconds.
        retry_after_s: the pause that the service announced.
        streak: the number of quota errors in a row, over all tasks.
        can_proxy: whether the video was not sent as a proxy already.
        draw: for jitter.
    """
    tries, announced = dict(task.tries), min(retry_after_s or 0.0, config.max_wait_s)
    if kind in (Kind.CONFIG, Kind.TIER_CAP):
        return Decision(PENDING, 0, task.attempts, tries, stop=True)
    if kind is Kind.QUOTA_DAY:
        return Decision(PENDING, 0, task.attempts, tries, suspend=True)
    if kind in (Kind.QUOTA, Kind.STORAGE):
        # Not counted as an attempt: the request was refused because of the others, not because of this video.
        pause = announced_pause(retry_after_s, streak, config, draw)
        held = pause if kind is Kind.QUOTA else 0.0
        return Decision(PENDING, pause, task.attempts, tries, pause_s=held)
    if kind is Kind.SHED and tries.get(SHED, 0) < config.max_shed:
        # Not counted as an attempt: the tier has no room now, and says nothing about this video or the other ones.
        tries[SHED] = tries.get(SHED, 0) + 1
        longest = min(config.backoff_s * 2 ** min(tries[SHED], 20), config.max_wait_s)
        return Decision(PENDING, max(draw.uniform(0, longest), announced), task.attempts, tries)
    if kind in (Kind.TRANSIENT, Kind.BUG, Kind.SHED):
        return _after_transient(task, config, now, retry_after_s, draw)
    if kind is Kind.BLOCKED:
        return Decision(BLOCKED, 0, task.attempts, tries)
    if kind is Kind.QUALITY:
        allowed, name, end = config.quality_retries, STRICT, REJECTED
    else:
        allowed, name, end = 1, _TRIES[kind], _ENDS[kind]
    if tries.get(name, 0) >= allowed or (name == PROXY and not can_proxy):
        return Decision(end, 0, task.attempts, tries)
    tries[name] = tries.get(name, 0) + 1
    return Decision(PENDING, 0, task.attempts, tries)


def _after_transient(
    task: Task, config: RetryConfig, now: float, retry_after_s: float | None, draw: random.Random
) -> Decision:
    """Another attempt after a random share of an exponentially growing pause, as long as the limits permit.

    Afterwards the next run asks again: an error of the service says nothing about a video.
    """
    attempts = task.attempts + 1
    late = task.first_try_at is not None and now - task.first_try_at > config.max_minutes * 60
    if attempts >= config.max_attempts or late:
        return Decision(DEFERRED, 0, attempts, task.tries)
    longest = min(config.backoff_s * 2 ** (attempts - 1), config.max_wait_s)
    delay = max(draw.uniform(0, longest), min(retry_after_s or 0, config.max_wait_s))
    return Decision(PENDING, delay, attempts, task.tries)


def announced_pause(retry_after_s: float | None, streak: int, config: RetryConfig, draw: random.Random) -> float:
    """The pause in seconds after a quota error: the announced or an exponentially growing one, with jitter, capped.

    The cap is needed because services have announced pauses of centuries (the largest int64).
    """
    backoff = min(config.backoff_s * 2 ** min(streak, 20), config.max_wait_s)
    wanted = min(max(retry_after_s or 0.0, backoff), config.max_wait_s)
    return float(wanted * draw.uniform(1.0, PAUSE_JITTER))
