"""The estimate against the service's own count: some films are sent to `countTokens`, which charges nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.manifest import scan_manifest
from sg.caption.hosted.engine.clips import Clip, clip_of
from sg.caption.hosted.engine.limits import ServiceRefusedError
from sg.caption.hosted.engine.media import INLINE_LIMIT, Films
from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.hosted.services.gemini_jobs import GeminiJobs
from sg.caption.hosted.services.records import Failure, Kind
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.errors import ConfigError, DataError
from sg.sources.config import DataConfig


@dataclass(frozen=True, slots=True)
class Calibration:
    """Tokens of a few clips' requests: `counted` by the service, `expected` by the estimate, clip by clip."""

    counted: Sequence[int]
    expected: Sequence[int]
    left_out: int
    assumed_prompt_tokens: int

    @property
    def ratio(self) -> float:
        """Tokens counted to tokens expected, over all of the clips."""
        return sum(self.counted) / sum(self.expected)

    @property
    def ratio_95(self) -> float:
        """The ratio that 95 % of the clips stay below."""
        ratios = sorted(count / expected for count, expected in zip(self.counted, self.expected, strict=True))
        return ratios[min(int(0.95 * len(ratios)), len(ratios) - 1)]

    def text(self) -> str:
        """The numbers, and the assumption that would make the estimate agree."""
        clips = len(self.counted)
        mean, assumed = sum(self.counted) / clips, sum(self.expected) / clips
        without = f", {self.left_out} left out (unreadable or too large)" if self.left_out else ""
        agreeing = round(self.assumed_prompt_tokens + mean - assumed)
        advice = f"captioner.assumed_prompt_tokens={agreeing} makes a run expect the same"
        if agreeing < 0:
            advice = "films alone take fewer tokens than the model's file (captioner.model) says: correct that"
        return (
            f"counted by the service: {mean:,.0f} input tokens a clip over {clips} clips, expected {assumed:,.0f} "
            f"({self.ratio:.1%}, 95% of the clips below {self.ratio_95:.1%}){without}\n"
            f"the numbers above are corrected; {advice}"
        )


def calibrate(
    data: DataConfig, config: HostedCaptionerConfig, recipe: Recipe, manifest: Path, clips: int
) -> Calibration:
    """Let the service count the requests of `clips` clips, drawn over the whole manifest, always the same ones.

    Raises:
        ConfigError: the captioner's service cannot count, there is no key, or no permission to send films.
        ServiceRefusedError: the service does not count.
        DataError: none of the drawn films can be sent.
    """
    from sg.caption.hosted.services.build import build_service

    if not config.i_have_rights:
        raise ConfigError("calibrate= sends films to the service: say captioner.i_have_rights=true if you may do so.")
    service = build_service(config)
    if not isinstance(service, GeminiJobs):
        raise ConfigError(f"calibrate= asks the Gemini API to count, which captioner={config.kind} does not use.")
    return asyncio.run(_count(data, config, recipe, _drawn(map(clip_of, scan_manifest(manifest)), clips), service))


def _drawn(clips: Iterable[Clip], most: int) -> list[Clip]:
    """At most this many clips, each with the same chance."""
    draw, kept = random.Random(0), dict[int, Clip]()
    for number, clip in enumerate(clips):
        place = number if number < most else draw.randrange(number + 1)
        if place < most:
            kept[place] = clip
    return list(kept.values())


async def _count(
    data: DataConfig, config: HostedCaptionerConfig, recipe: Recipe, clips: Sequence[Clip], service: GeminiJobs
) -> Calibration:
    proxies = data.captions_path(config.name).parent / "proxies"
    # A film that a run would upload is left out rather than uploaded for a count.
    transport = "proxy" if config.transport == "proxy" else "auto"
    films = Films(Path(data.videos), transport, proxies, can_upload=True, timeout_s=300)
    counted, expected = [], []
    try:
        for clip in clips:
            film = await films.prepare(clip)
            if isinstance(film, Failure) or film.data is None:
                continue
            tokens = await service.count_tokens(recipe.request(clip, film, "", {}))
            if isinstance(tokens, Failure):
                if tokens.kind is Kind.MEDIA:
                    continue
                raise ServiceRefusedError(f"The service counts no tokens ({tokens.sentence()}): leave calibrate= out.")
            counted.append(tokens)
            expected.append(recipe.expected_tokens(clip))
    finally:
        await service.close()
    if not counted:
        raise DataError(
            f"None of the {len(clips)} films drawn for calibrate= can be counted: they are unreadable, or larger than "
            f"the {INLINE_LIMIT * 3 // 4 / 1e6:.0f} MB that fit into a request."
        )
    return Calibration(counted, expected, len(clips) - len(counted), config.assumed_prompt_tokens)
