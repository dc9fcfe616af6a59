"""From an answer or a failure to what the ledger records: class, gates, cost, the next state, provenance."""

import json
import random
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sg.caption.hosted.engine import proxies
from sg.caption.hosted.engine.items import CaptionItem
from sg.caption.hosted.engine.media import MediaFile
from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.hosted.engine.retries import PROXY, Decision, decide
from sg.caption.hosted.prices import FLEX, Price
from sg.caption.hosted.services.records import Answer, Failure, Kind, Usage
from sg.caption.ledger.ledger import FAILED, SUCCEEDED, TERMINAL, AttemptEnd, Task, TaskEnd
from sg.caption.quality.gates import REJECT, Verdict, worst

SCHEMA_VERSION = 1
ESTIMATED = "the service reported no token counts, or impossible ones: the cost is estimated"
MAX_TEXT = 100_000
"""Characters of the longest text that is judged; checks of megabytes would hold up all other requests."""
_NO_USAGE = Usage()
_VARIANT = re.compile(r"-(\d{2,}.*|preview.*|exp.*|latest)")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that left: its task, its video, what was sent, how and when."""

    task: Task
    item: CaptionItem
    file: MediaFile | None
    transport: str
    started: float
    batch_job: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What follows from an outcome; `kind` is None for a caption that passed the gates."""

    attempt: AttemptEnd
    task: TaskEnd
    decision: Decision
    kind: Kind | None
    message: str
    drifted_to: str


class Outcomes:
    """Settles outcomes for one recipe; `origin` are the values of the run that every record repeats."""

    def __init__(self, recipe: Recipe, price: Price, origin: Mapping[str, Any], *, draw: random.Random) -> None:
        self._recipe, self.price, self._origin, self._draw = recipe, price, dict(origin), draw
        self.quota_streak = 0

    def settle(self, sent: Sent, outcome: Answer | Failure) -> Settled:
        """What to record and what to do next.

        An answer that cannot be judged or recorded ends as a failure of its own video: it was paid for, and the run
        and the other videos do not depend on it.
        """
        if isinstance(outcome, Failure):
            return self._failed(sent, outcome)
        self.quota_streak = 0
        try:
            if len(outcome.text) > MAX_TEXT:
                raise ValueError(f"it has {len(outcome.text):,} characters")
            return self._answered(sent, outcome)
        except Exception as error:  # noqa: BLE001 - a text of a service may raise anything
            return self.unusable(sent, outcome, error)

    def unusable(self, sent: Sent, answer: Answer, error: Exception) -> Settled:
        """The outcome of an answer that raises an error of ours, such as a form that is nested too deeply."""
        failure = Failure(Kind.ODD, f"the answer cannot be used ({type(error).__name__}: {error})"[:300], 200)
        return self._failed(sent, failure, answer.usage, self._cost(sent, answer))

    def _cost(self, sent: Sent, answer: Answer) -> float:
        return self.price.cost(self._recipe.charged(answer, sent.item), answer.tier)

    def _answered(self, sent: Sent, outcome: Answer) -> Settled:
        kind, text, form = self._recipe.kind_of(outcome), outcome.text, None
        verdicts: tuple[Verdict, ...] = ()
        if kind is None:
            text, form, verdicts = self._recipe.examine(outcome, sent.item, sent.file)
            kind = Kind.QUALITY if worst(verdicts) == REJECT else None
        cost = self._cost(sent, outcome)
        decision = (
            self._decide(kind, sent, None) if kind else Decision(SUCCEEDED, 0, sent.task.attempts, sent.task.tries)
        )
        drift = drifted(outcome.model_version, self._recipe.config.model.name)
        message = "" if kind is None else _reason(kind, outcome, verdicts)
        noted = message or ("" if outcome.is_counted else ESTIMATED)
        record = ""
        if decision.state in TERMINAL:
            record = self._record(sent, outcome, verdicts, form, cost, decision, drift)
        end = TaskEnd(
            *(decision.state, time.time() + decision.delay_s, decision.attempts, decision.tries or {}),
            *(message, text if decision.state != FAILED else "", record),
        )
        attempt = AttemptEnd(
            *(200, kind.value if kind else "", noted, None, outcome.usage, cost),
            *(outcome.request_id, outcome.model_version),
        )
        return Settled(attempt, end, decision, kind, message, drift)

    def _failed(self, sent: Sent, failure: Failure, usage: Usage = _NO_USAGE, cost: float = 0.0) -> Settled:
        if failure.code == 503 and self._recipe.config.tier == FLEX:
            failure = replace(failure, kind=Kind.SHED)
        if failure.kind is Kind.QUOTA:
            self.quota_streak += 1
        decision = self._decide(failure.kind, sent, failure.retry_after_s)
        message = failure.sentence()
        if sent.file is None and sent.task.tries.get(PROXY):  # no proxy can be made: why it was needed is the reason
            message = f"{sent.task.last_error}; {message}"
        record = ""
        if decision.state in TERMINAL:
            record = self._record(sent, Answer("", usage=usage), (), None, cost, decision, "")
        end = TaskEnd(
            *(decision.state, time.time() + decision.delay_s, decision.attempts, decision.tries or {}),
            *(f"{failure.kind.value}: {message}", "", record),
        )
        attempt = AttemptEnd(failure.code, failure.kind.value, message, failure.retry_after_s, usage, cost)
        return Settled(attempt, end, decision, failure.kind, message, "")

    def _decide(self, kind: Kind, sent: Sent, retry_after_s: float | None) -> Decision:
        return decide(
            kind,
            sent.task,
            self._recipe.config.retry,
            now=time.time(),
            retry_after_s=retry_after_s,
            streak=self.quota_streak,
            can_proxy=not (sent.file and sent.file.proxy),
            draw=self._draw,
        )

    def _record(
        self,
        sent: Sent,
        answer: Answer,
        verdicts: tuple[Verdict, ...],
        form: Mapping[str, Any] | None,
        cost: float,
        decision: Decision,
        drift: str,
    ) -> str:
        """The provenance of a result as JSON, without the caption and the keys, which have columns of their own."""
        item, file, recipe = sent.item, sent.file, self._recipe
        sound = proxies.SOUND if file and file.has_audio else None
        proxy = {"fps": proxies.FPS, "short_side": proxies.SHORT_SIDE, "codec": proxies.CODEC, "sound": sound}
        values = {
            **self._origin,
            "source": item.source,
            "split": item.split,
            "clip_start_s": _seconds(item.start_ms),
            "clip_end_s": _seconds(item.end_ms),
            "duration_s": item.duration_s,
            "has_audio": file.sound(item) if file else item.has_audio,
            "media_sha256": file.media_sha256 if file else "",
            "media_bytes": file.size if file else 0,
            "proxy": proxy if file and file.proxy else None,
            "structured": form,
            "finish_reason": answer.finish_reason,
            "block_reason": answer.block_reason,
            "gates": [[v.gate, v.version, v.verdict, v.score] for v in verdicts],
            "model_version": answer.model_version,
            "drifted": bool(drift),
            "params": recipe.parameters,
            "transport": sent.transport,
            "batch_job": sent.batch_job,
            "request_id": answer.request_id,
            "attempts": decision.attempts + sum((decision.tries or {}).values()) + 1,
            "tokens": asdict(answer.usage),
            "cost_usd": cost,
            "cost_estimated": not answer.is_counted,
            "started_at": _utc(sent.started),
            "finished_at": _utc(time.time()),
            "source_licence": item.licence,
        }
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def drifted(answered: str, asked: str) -> str:
    """The model that answered if it is not the requested one; empty if it is.

    A dated or preview version of the requested model (`gemini-x-001`) is the requested model.
    """
    version = answered.removeprefix("models/")
    same = not version or version == asked or (version.startswith(asked) and _VARIANT.fullmatch(version[len(asked) :]))
    return "" if same else version


def _reason(kind: Kind, answer: Answer, verdicts: tuple[Verdict, ...]) -> str:
    gates = ", ".join(v.gate for v in verdicts if v.verdict == REJECT)
    without = "a text without a finish reason" if answer.text.strip() else "an empty answer"
    return f"{kind.value}: {gates or answer.block_reason or answer.finish_reason or without}"


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
