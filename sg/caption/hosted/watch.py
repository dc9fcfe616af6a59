"""Shows a run while it works: a progress bar with the costs, and metrics for W&B or the CSV logger."""

import time

from sg.caption.hosted.engine.outcomes import Settled
from sg.caption.hosted.engine.requests import RequestPipeline
from sg.caption.hosted.engine.run import CaptioningRun
from sg.caption.ledger.ledger import SUCCEEDED, TERMINAL
from sg.core.progress import Progress
from sg.core.tracking import Tracker

_LOGGED_EVERY_S = 10.0


class Watch:
    """Called with every settled request of a run; metrics are logged every ten seconds."""

    def __init__(self, bar: Progress, tracker: Tracker) -> None:
        self._bar, self._tracker, self._logged = bar, tracker, time.monotonic()

    def __call__(self, settled: Settled, run: CaptioningRun) -> None:
        """Show one settled request."""
        counts, pipeline = run.counts, run.pipeline
        self._bar.cost_usd = pipeline.budget.spent_usd
        note = f"${self._bar.cost_usd:.4f}, {run.concurrency.in_flight} in flight"
        if settled.decision.state == SUCCEEDED:
            self._bar.advance(note=note)
        elif settled.decision.state in TERMINAL:
            self._bar.note = note
            self._bar.fail()
        if time.monotonic() - self._logged > _LOGGED_EVERY_S:
            self._logged = time.monotonic()
            values: dict[str, float] = {"captions/done": counts.captions, "captions/without": counts.ended_without}
            values |= {"speed/requests": counts.requests, "speed/concurrency": run.concurrency.limit}
            values |= {"tokens/input": counts.input_tokens, "tokens/output": counts.output_tokens}
            errors = {f"errors/{kind}": count for kind, count in counts.errors.items()}
            self._tracker.log(values | errors | {"cost/usd": pipeline.budget.spent_usd, **share_of_budget(pipeline)})


def share_of_budget(pipeline: RequestPipeline) -> dict[str, float]:
    """The share of the budget that is spent, as a metric."""
    return {"cost/share_of_budget": pipeline.budget.spent_usd / pipeline.budget.limit_usd}
