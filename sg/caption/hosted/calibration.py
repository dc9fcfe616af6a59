"""Calibration of the estimate: the service counts the tokens of some requests (`countTokens`), free of charge."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.manifest import scan_manifest
from sg.caption.captioners import CAPTIONERS
from sg.caption.hosted.engine.addresses import media_of
from sg.caption.hosted.engine.items import CaptionItem, item_of
from sg.caption.hosted.engine.limits import ServiceRefusedError
from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.hosted.services.records import CountingService, Failure, Kind
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.errors import ConfigError, DataError
from sg.sources.config import DataConfig


@dataclass(frozen=True, slots=True)
class Calibration:
    """Input tokens of some videos' requests: `counted` by the service and `expected` by the estimate, per video."""

    counted: Sequence[int]
    expected: Sequence[int]
    left_out: int
    assumed_prompt_tokens: int

    @property
    def ratio(self) -> float:
        """Counted tokens divided by expected tokens, over all of the videos."""
        return sum(self.counted) / sum(self.expected)

    @property
    def ratio_95(self) -> float:
        """The 95th percentile of the videos' ratios."""
        ratios = sorted(count / expected for count, expected in zip(self.counted, self.expected, strict=True))
        return ratios[min(int(0.95 * len(ratios)), len(ratios) - 1)]

    def text(self) -> str:
        """The numbers, and the assumption with which the estimate would agree with them."""
        videos = len(self.counted)
        mean, assumed = sum(self.counted) / videos, sum(self.expected) / videos
        without = f", {self.left_out} left out (unreadable or too large)" if self.left_out else ""
        agreeing = round(self.assumed_prompt_tokens + mean - assumed)
        advice = f"captioner.assumed_prompt_tokens={agreeing} makes a run expect the same"
        if agreeing < 0:
            advice = "the videos alone take fewer tokens than the model's file (captioner.model) says: correct that"
        return (
            f"counted by the service: {mean:,.0f} input tokens per video over {videos} videos, expected {assumed:,.0f} "
            f"({self.ratio:.1%}, 95% of the videos below {self.ratio_95:.1%}){without}\n"
            f"the numbers above are corrected; {advice}"
        )


def calibrate(
    data: DataConfig, config: HostedCaptionerConfig, recipe: Recipe, manifest: Path, videos: int
) -> Calibration:
    """Let the service count the requests of `videos` videos, drawn over the whole manifest with a fixed seed.

    Raises:
        ConfigError: the service cannot count, the key is missing, or the permission to send videos.
        ServiceRefusedError: the service refuses to count.
        DataError: none of the drawn videos can be sent.
    """
    if not config.i_have_rights:
        raise ConfigError("calibrate= sends videos to the service: set captioner.i_have_rights=true if you may do so.")
    if not config.counts_tokens:
        name = CAPTIONERS.name_of(config)
        raise ConfigError(f"calibrate= asks the Gemini API to count, which captioner={name} does not use.")
    service: CountingService = config.service()  # type: ignore[assignment]  # `counts_tokens` says so
    drawn = _drawn(map(item_of, scan_manifest(manifest)), videos)
    return asyncio.run(_count(data, config, recipe, drawn, service))


def _drawn(items: Iterable[CaptionItem], most: int) -> list[CaptionItem]:
    """At most this many items, each with the same probability (reservoir sampling)."""
    draw, kept = random.Random(0), dict[int, CaptionItem]()
    for number, item in enumerate(items):
        place = number if number < most else draw.randrange(number + 1)
        if place < most:
            kept[place] = item
    return list(kept.values())


async def _count(
    data: DataConfig,
    config: HostedCaptionerConfig,
    recipe: Recipe,
    items: Sequence[CaptionItem],
    service: CountingService,
) -> Calibration:
    # A file that a run would upload is left out: it is not uploaded for a count.
    media = media_of(data, config, "proxy" if config.transport == "proxy" else "auto")
    counted, expected = [], []
    try:
        for item in items:
            file = await media.prepare(item)
            if isinstance(file, Failure) or (file.data is None and not file.uri.startswith("http")):
                continue
            tokens = await service.count_tokens(recipe.request(item, file, file.uri, {}))
            await media.let_go(file)
            if isinstance(tokens, Failure):
                if tokens.kind is Kind.MEDIA:
                    continue
                raise ServiceRefusedError(f"The service counts no tokens ({tokens.sentence()}): leave calibrate= out.")
            counted.append(tokens)
            expected.append(recipe.expected(item).input)
    finally:
        await service.close()
    if not counted:
        raise DataError(
            f"None of the {len(items)} videos drawn for calibrate= can be counted: they are unreadable, or larger than "
            f"the {config.inline_bytes * 3 // 4 / 1e6:.0f} MB that fit into a request."
        )
    return Calibration(counted, expected, len(items) - len(counted), config.assumed_prompt_tokens)
