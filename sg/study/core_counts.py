"""How many videos a scale stands for in a run's data, and how many samples the caption stage sees."""

from collections.abc import Iterator

from sg.artefacts.arms import EQUAL_STEPS
from sg.core.errors import ConfigError
from sg.core.scales import parse_scale
from sg.sources.config import DataConfig
from sg.study.config import TrainConfig


def num_core_videos(config: TrainConfig, scale: str, available: int) -> tuple[int, int]:
    """(scale as a number, videos that it stands for) in data with `available` captioned videos.

    Raises:
        ConfigError: the data has fewer videos.
    """
    per_k = config.data.captions_per_k
    number = parse_scale(scale)
    if number is None:
        return available * 1000 // per_k, available
    videos = number * per_k // 1000
    if videos > available:
        raise ConfigError(
            f"data.scale={scale} is more than {config.data.name} has: {available * 1000 // per_k:,} captions"
            f"{f' ({available:,} videos, {per_k} per 1,000)' if per_k != 1000 else ''}; use that or less, or all."
        )
    if number > 0 and videos == 0:
        raise ConfigError(f"data.scale={scale} is less than one video of {config.data.name} ({per_k} per 1,000).")
    return number, videos


def caption_draws(config: TrainConfig, available: int | None) -> int | None:
    """Samples that the caption stage sees over all its epochs.

    The equal-step control repeats its core until it has seen as many samples as a run at `data.control_scale` does.

    Args:
        available: captioned videos of the data, or None before they are known.

    Returns:
        None if the scale that decides is `all` and `available` is not known yet.

    Raises:
        ConfigError: a scale is larger than the data, or the control's target is smaller than its core.
    """
    data, epochs = config.data, config.stage.caption.epochs
    own = _videos(config, str(data.scale), available)
    if data.control != EQUAL_STEPS or own == 0:
        return None if own is None else own * epochs
    target = _videos(config, str(data.control_scale), available)
    if own is not None and target is not None and target < own:
        raise ConfigError(
            f"data.control_scale={data.control_scale} is smaller than data.scale={data.scale}: "
            "the control repeats a core up to the steps of a larger one."
        )
    return None if target is None else target * epochs


def _videos(config: TrainConfig, scale: str, available: int | None) -> int | None:
    if available is not None:
        return num_core_videos(config, scale, available)[1]
    number = parse_scale(scale)
    return None if number is None else number * int(config.data.captions_per_k) // 1000


def asked_scale(data: DataConfig) -> int:
    """The scale of a run as a number; for `all`, the number that the settings of the data imply, or 1 if there is none.

    The row of a run that failed before its data was read uses it. It must not be 0, which is the baseline.
    """
    number = parse_scale(str(data.scale))
    if number is not None:
        return number
    return 1 if data.expected_captions is None else data.expected_captions * 1000 // data.captions_per_k


def scales_to_buy(config: TrainConfig, videos: int) -> Iterator[int]:
    """The scales of the cores that `captioner.buy=adaptive` buys: the first, its doublings, and the largest."""
    per_k = config.data.captions_per_k
    whole = videos * 1000 // per_k
    largest = min(parse_scale(str(config.data.scale)) or whole, whole)
    scale = parse_scale(config.captioner.buy_first, "captioner.buy_first") or whole
    while scale < largest:
        yield scale
        scale *= 2
    yield largest
