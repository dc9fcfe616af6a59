"""How many videos a scale stands for in a run's data."""

from sg.core.errors import ConfigError
from sg.core.scales import parse_scale
from sg.sources.config import DataConfig, DemoDataConfig
from sg.study.config import TrainConfig


def num_core_videos(config: TrainConfig, scale: str, available: int) -> tuple[int, int]:
    """(scale as a number, videos it stands for) when the data has `available` captioned videos.

    Raises:
        ConfigError: the scale asks for more than there is.
    """
    per_k = config.data.captions_per_k
    number = parse_scale(scale)
    if number is None:
        return available * 1000 // per_k, available
    videos = number * per_k // 1000
    if videos > available:
        raise ConfigError(
            f"data.scale={scale} is more than {config.data.name} has: {available * 1000 // per_k:,} captions"
            f"{f' ({available:,} videos, {per_k} a k)' if per_k != 1000 else ''}; use that or less, or all."
        )
    if number > 0 and videos == 0:
        raise ConfigError(f"data.scale={scale} is less than one video of {config.data.name} ({per_k} a k).")
    return number, videos


def asked_scale(data: DataConfig) -> int:
    """The scale that a run asked for, as a number; for `all`, what the data's config tells, else 1.

    For the row of a run that failed before its data was read: never 0 by accident, which would be the baseline.
    """
    number = parse_scale(str(data.scale))
    if number is not None:
        return number
    return data.world.corpus_videos * 1000 // data.captions_per_k if isinstance(data, DemoDataConfig) else 1


def expected_captions(config: TrainConfig) -> int | None:
    """How many captioned videos the data will have, where its config tells; None for data that has to be read."""
    return config.data.world.corpus_videos if isinstance(config.data, DemoDataConfig) else None
