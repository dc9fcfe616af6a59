"""What the captions of a study cost that a service still has to write, for its plan."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from sg.caption.hosted.settings import ADAPTIVE
from sg.core.errors import ConfigError
from sg.core.scales import parse_scale, scale_label
from sg.study.config import TrainConfig
from sg.study.core_counts import scales_to_buy

CLIP_S = 18
"""Mean seconds of a video before there is a manifest: those of WebVid."""


def check_buying(config: TrainConfig) -> None:
    """Raise ConfigError if `captioner.buy=adaptive` cannot compare the cores of these settings."""
    if getattr(config.captioner, "buy", None) != ADAPTIVE:
        return
    if config.data.held_out.dialogs is None:
        raise ConfigError(
            "captioner.buy=adaptive compares cores by their loss on the same captions: give a file of dialogs as "
            "data.held_out.dialogs=FILE, because a draw from the bought captions would be another one for each core."
        )
    if config.data.is_made_on_the_way and config.curator.uses_captions:
        raise ConfigError(
            f"captioner.buy=adaptive chooses videos before they have captions, but curator={config.curator.name} looks "
            "at captions: add curator=random, or curator.survivor=dst."
        )
    if config.captioner.shard_of[1] > 1:
        raise ConfigError(
            f"captioner.buy=adaptive buys in one process: leave out captioner.shard={config.captioner.shard}."
        )
    if parse_scale(config.captioner.buy_first, "captioner.buy_first") == 0:
        raise ConfigError("captioner.buy_first=0 has no captions to begin with: write a number such as 50k.")


def caption_prices(configs: Sequence[TrainConfig]) -> list[dict[str, Any]]:
    """One record per captioner of the runs that asks a service and has no captions yet, or not all; dollars by tier.

    A captioner describes the videos of the largest core. Videos last as long as those of the manifest on average, or
    `CLIP_S` seconds, with sound, if there is no manifest (`is_assumed`).
    """
    from sg.caption.captioners import captioner_of
    from sg.caption.hosted.settings import HostedCaptionerConfig

    of_captioner: dict[tuple[str, str], list[TrainConfig]] = {}
    bought: set[tuple[str, str]] = set()
    for config in configs:
        if not isinstance(config.captioner, HostedCaptionerConfig):
            continue
        captioner = captioner_of(config.captioner)
        assert captioner.recipe is not None
        key = config.data.dir, captioner.recipe.name
        of_captioner.setdefault(key, []).append(config)
        if captioner.place(config.data).is_file() and config.captioner.buy != ADAPTIVE:
            bought.add(key)
    return [_price(runs) for key, runs in of_captioner.items() if key not in bought]


def _price(runs: Sequence[TrainConfig]) -> dict[str, Any]:
    from sg.caption.hosted.pricing import EstimatedVideo, estimate
    from sg.caption.hosted.run import estimate_run

    data, captioner = runs[0].data, runs[0].captioner
    is_known, videos = data.manifest_path.is_file(), captioned_clips(runs)
    is_whole = any(parse_scale(str(run.data.scale)) is None for run in runs)
    if is_known:
        found = estimate_run(data, captioner, data.manifest_path)
        videos = found.videos if is_whole else min(videos, found.videos)
    else:
        found = estimate(captioner, [EstimatedVideo(CLIP_S, None)], datetime.datetime.now(datetime.UTC).date())
        videos = 1000 if is_whole else videos
    cores: list[str] = []
    if captioner.buy == ADAPTIVE and (is_known or not is_whole):
        cores = [scale_label(scale) for scale in scales_to_buy(runs[0], round(videos))]
    part = videos / found.videos if found.videos else 0.0
    return {
        "captioner": captioner.name, "model": found.model, "tier": captioner.tier, "videos": round(videos),
        "usd": {tier: usd * part for tier, usd in found.usd.items()}, "is_assumed": not is_known,
        "cores": cores, "is_part": is_whole and not is_known,
    }  # fmt: skip


def captioned_clips(configs: Sequence[TrainConfig]) -> float:
    """Number of clips in the largest core of the runs."""
    clips: list[float] = [(parse_scale(str(run.data.scale)) or 0) * run.data.captions_per_k / 1000 for run in configs]
    return max(clips)


def caption_lines(prices: Sequence[Mapping[str, Any]]) -> list[str]:
    """The records of `caption_prices` as lines of text."""
    return [_line(row) for row in prices]


def _line(row: Mapping[str, Any]) -> str:
    what = "captions to buy" + ", at most" * bool(row["cores"]) + ", for every 1,000 videos" * row["is_part"]
    usd = ", ".join(f"${usd:,.2f} ({tier})" for tier, usd in row["usd"].items())
    line = f"{what}: {row['videos']:,} by {row['model']} (captioner={row['captioner']}): {usd}"
    if row["is_assumed"]:
        line += f"; assumed: videos of {CLIP_S} s with sound, as no manifest exists"
    if row["cores"]:
        line += f"; buy=adaptive trains on each of {', '.join(row['cores'])} until it stops"
    return line
