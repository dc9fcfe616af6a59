"""Checks that the settings of several curators share."""

import itertools

from sg.core.errors import ConfigError

KEEPS = ("hard", "easy", "random")


def check_seed(seed: int) -> None:
    """Raise ConfigError when `seed` does not fit into the 8 bytes that key the hash of ids."""
    if not 0 <= seed < 2**64:
        raise ConfigError(f"curator.seed={seed} should be between 0 and 2**64 - 1.")


def check_positive(**values: int) -> None:
    """Raise ConfigError when a count is below 1."""
    for key, value in values.items():
        if value < 1:
            raise ConfigError(f"curator.{key}={value} should be at least 1.")


def check_share(key: str, value: float) -> None:
    """Raise ConfigError when `value` is not above 0 and at most 1."""
    if not 0 < value <= 1:
        raise ConfigError(f"curator.{key}={value} should be above 0, at most 1.")


def check_rungs(rungs: list[float], rungs_of: float) -> None:
    """Raise ConfigError when the sizes in `rungs` do not fall, start below `rungs_of`, and stay above 0."""
    falling = all(above > below for above, below in itertools.pairwise(rungs))
    if rungs and not (falling and rungs[0] < rungs_of and rungs[-1] > 0):
        raise ConfigError(
            f"curator.rungs={list(rungs)} should be falling numbers above 0 and below rungs_of={rungs_of:g}."
        )
