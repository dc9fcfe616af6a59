"""Captions that several videos share, word for word or nearly."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

_SHINGLE = 3
_BANDS, _ROWS = 16, 6
"""Texts with a Jaccard similarity of 0.8 share a bucket with a probability of 99 %, texts with 0.2 of 0.1 %."""


def normalised(text: str) -> str:
    """The text without case, punctuation and spacing."""
    return " ".join(re.findall(r"\w+", text.lower()))


class Repeated:
    """Texts that more than `most` videos share, often because the model saw only black frames. 8 bytes per text."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._digests = array("Q")
        self._often: frozenset[int] | None = None

    def note(self, text: str) -> None:
        """Count one more video with this text."""
        self._digests.append(_digest(text))
        self._often = None

    def __contains__(self, text: str) -> bool:
        return _digest(text) in self._common()

    def __len__(self) -> int:
        """The number of videos with such a text."""
        common = self._common()
        return sum(digest in common for digest in self._digests)

    def _common(self) -> frozenset[int]:
        if self._often is None:
            import numpy as np

            values, counts = np.unique(np.frombuffer(self._digests, np.uint64), return_counts=True)
            self._often = frozenset(values[counts > self._most].tolist())
        return self._often


def _digest(text: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(normalised(text).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


def near_duplicates(
    texts: Callable[[], Iterable[tuple[str, str]]], threshold: float = 0.8
) -> list[tuple[str, str, float]]:
    """Pairs of captions whose runs of three words overlap by at least `threshold` (Jaccard), found by MinHash.

    Each caption is compared with the first of its bucket only, so a thousand equal captions are 999 pairs. `texts`
    returns (id, text) pairs and is called twice: between the calls only 16 bucket names of 8 bytes per text are kept.
    """
    import numpy as np

    names = array("Q")
    for _, text in texts():
        names.extend(_band_names(_shingles(text)))
    firsts_of = _candidates(names)
    wanted = {first for firsts in firsts_of.values() for first in firsts}
    kept: dict[int, tuple[str, Any]] = {}
    pairs = []
    for number, (video_id, text) in enumerate(texts()):
        if number not in wanted and number not in firsts_of:
            continue
        shingles = _shingles(text)
        if number in wanted:
            kept[number] = video_id, shingles
        for first_id, other in (kept[first] for first in sorted(firsts_of.get(number, ()))):
            common = len(np.intersect1d(other, shingles, assume_unique=True))
            share = common / (len(other) + len(shingles) - common)
            if share >= threshold:
                pairs.append((first_id, video_id, share))
    return pairs


def _candidates(names: array[int]) -> dict[int, set[int]]:
    """By number of a text that shares buckets with earlier ones: the numbers of the first texts of these buckets."""
    import numpy as np

    found: dict[int, set[int]] = {}
    for column in np.frombuffer(names, np.uint64).reshape(-1, _BANDS).T:
        _, first, bucket = np.unique(column, return_index=True, return_inverse=True)
        firsts = first[bucket]
        for number in np.flatnonzero(firsts != np.arange(len(column))):
            found.setdefault(int(number), set()).add(int(firsts[number]))
    return found


def _shingles(text: str) -> Any:
    """Hashes of the distinct runs of three words of a text, sorted: [N] uint64."""
    import numpy as np

    words = normalised(text).split()
    runs = {" ".join(words[i : i + _SHINGLE]) for i in range(max(len(words) - _SHINGLE + 1, 1))}
    digests = b"".join(hashlib.blake2b(run.encode("utf-8", "surrogatepass"), digest_size=8).digest() for run in runs)
    return np.unique(np.frombuffer(digests, dtype="<u8"))


@cache
def _factors() -> Any:
    import numpy as np

    drawn = np.random.default_rng(0).integers(1, 2**63, size=_BANDS * _ROWS, dtype=np.uint64)
    return drawn | np.uint64(1)


def _band_names(shingles: Any) -> list[int]:
    import numpy as np

    mixed = shingles[:, None] * _factors()[None, :]
    mixed ^= mixed >> np.uint64(29)
    rows = mixed.min(axis=0).reshape(_BANDS, _ROWS)
    return [hash(tuple(row)) % 2**64 for row in rows.tolist()]
