"""The hashed order: the id of a video alone decides on which side of a round it is.

So the result depends neither on the order of files nor on the machine. And if one pair merges differently, only its own
clusters change; in the original ToMe, every later split depends on every earlier score.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sg.core.errors import ConfigError


def video_keys(video_ids: Sequence[str], seed: int) -> NDArray[np.uint64]:
    """[N] keyed BLAKE2b hash of each id.

    Raises:
        ConfigError: two ids share a key (expected once in millions of runs at 530k videos).
    """
    secret = seed.to_bytes(8, "little")
    digests = (hashlib.blake2b(video_id.encode(), digest_size=8, key=secret).digest() for video_id in video_ids)
    keys = np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
    if len(np.unique(keys)) != len(keys):
        raise ConfigError(f"Two videos have the same hash under curator.seed={seed}: choose another seed.")
    return keys


def mix(keys: NDArray[np.uint64], round_number: int) -> NDArray[np.uint64]:
    """[N] splitmix64 of the keys for a round: an independent-looking number for every key and round."""
    step = np.uint64((round_number + 1) * 0x9E3779B97F4A7C15 % 2**64)
    z = keys + step
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def is_target_side(keys: NDArray[np.uint64], round_number: int) -> NDArray[np.bool_]:
    """[N] True for tokens on the side that stays (B) in this round, False for those on the side that may merge (A)."""
    side: NDArray[np.bool_] = mix(keys, round_number) >> np.uint64(63) == 1
    return side
