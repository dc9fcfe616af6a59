"""The canary: the first videos are captioned alone, and compared with the estimate before all others follow.

A wrong assumption, such as a model that thinks longer than expected, would otherwise be paid for every video.
"""

from dataclasses import dataclass

from sg.caption.hosted.engine.limits import CanaryError
from sg.caption.hosted.engine.recipe import Recipe, Words
from sg.caption.hosted.engine.requests import RequestPipeline
from sg.caption.hosted.pricing import expected_usage
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import SUCCEEDED

_MAX_REJECTED = 0.1
_MAX_DEVIATION = 0.3


class Canary:
    """Judges the first `captioner.canary` videos of a data set that has more than those."""

    def __init__(self, pipeline: RequestPipeline) -> None:
        wanted = pipeline.recipe.config.canary
        self._pipeline = pipeline
        self.size = wanted if pipeline.num_videos > wanted else 0
        """The number of videos; 0 if there is no canary."""

    async def missing(self) -> int:
        """The number of its videos that have no result yet."""
        return self.size - len(await self._results()) if self.size else 0

    async def error(self) -> CanaryError | None:
        """Why the run should stop, judged by the results so far; None if nothing is wrong, or there is no result."""
        first = await self._results() if self.size else []
        complaint = canary_report(self._pipeline, first).complaint(self._pipeline.recipe.words) if first else ""
        return CanaryError(f"Canary: {complaint}") if complaint else None

    async def _results(self) -> list[reading.Recorded]:
        ledger, name = self._pipeline.ledger, self._pipeline.recipe.name
        return await self._pipeline.journal.write(
            lambda: list(reading.first_results(ledger.connection, name, self.size))
        )


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """The first videos: their number, mean cost, estimated mean cost, mean tokens, and the share without a caption."""

    videos: int
    mean_usd: float
    estimated_usd: float
    mean_input: float
    mean_output: float
    rejected: float

    def complaint(self, words: Words = Recipe.words) -> str:
        """Why the run should not continue; empty if nothing is wrong."""
        audit = "look at them with `python -m sg.caption audit`, or " if words.is_captioning else ""
        estimate = "print the estimate with dry_run=true, or " if words.is_captioning else ""
        if self.rejected > _MAX_REJECTED:
            return (
                f"{self.rejected:.0%} of the first {self.videos} {words.items} have no usable {words.result} "
                f"(10% are allowed): {audit}continue with captioner.canary=0."
            )
        if self.estimated_usd > 0 and abs(self.mean_usd / self.estimated_usd - 1) > _MAX_DEVIATION:
            return (
                f"the first {self.videos} {words.items} cost ${self.mean_usd:.6f} each, the estimate was "
                f"${self.estimated_usd:.6f} (mean tokens {self.mean_input:.0f} in, {self.mean_output:.0f} out): set "
                f"captioner.assumed_output_tokens={self.mean_output:.0f} and captioner.assumed_prompt_tokens to match, "
                f"{estimate}continue with captioner.canary=0."
            )
        return ""


def canary_report(pipeline: RequestPipeline, first: list[reading.Recorded]) -> CanaryReport:
    """The costs of these results, beside the estimate for the same videos."""
    recipe, good = pipeline.recipe, [row for row in first if row.status == SUCCEEDED]
    used = [row.record for row in good]
    count = max(len(good), 1)
    usage = [(row["tokens"]["input"], row["tokens"]["output"] + row["tokens"]["thinking"]) for row in used]
    expected = (expected_usage(recipe.config, float(row["duration_s"]), row["has_audio"]) for row in used)
    estimated = sum(map(pipeline.outcomes.price.cost, expected))
    return CanaryReport(
        videos=len(first),
        mean_usd=sum(float(row["cost_usd"]) for row in used) / count,
        estimated_usd=estimated / count,
        mean_input=sum(tokens for tokens, _ in usage) / count,
        mean_output=sum(tokens for _, tokens in usage) / count,
        rejected=1 - len(good) / len(first),
    )
