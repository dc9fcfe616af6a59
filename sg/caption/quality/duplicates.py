"""Captions that several clips share: word for word, or nearly so."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable

_SHINGLE = 3
_BANDS, _ROWS = 16, 4


def normalised(text: str) -> str:
    """The text without case, punctuation and spacing."""
    return " ".join(re.findall(r"\w+", text.lower()))


def repeated(texts: Iterable[tuple[str, str]], most: int) -> set[str]:
    """Ids of the captions whose text more than `most` clips have: the model saw black films, or saw nothing."""
    by_text: dict[bytes, list[str]] = defaultdict(list)
    for video_id, text in texts:
        by_text[hashlib.blake2b(normalised(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()].append(
            video_id
        )
    return {video_id for ids in by_text.values() if len(ids) > most for video_id in ids}


def near_duplicates(texts: Iterable[tuple[str, str]], threshold: float = 0.8) -> list[tuple[str, str, float]]:
    """Pairs of captions whose runs of three words overlap by at least `threshold` (Jaccard), found by MinHash.

    Each caption is paired with the first of its bucket only, so a thousand equal captions give 999 pairs.
    """
    buckets: dict[tuple[int, bytes], str] = {}
    kept: dict[str, frozenset[str]] = {}
    pairs: dict[tuple[str, str], float] = {}
    for video_id, text in texts:
        words = normalised(text).split()
        shingles = frozenset(" ".join(words[i : i + _SHINGLE]) for i in range(max(len(words) - _SHINGLE + 1, 1)))
        kept[video_id] = shingles
        for band, name in enumerate(_band_names(shingles)):
            first = buckets.setdefault((band, name), video_id)
            if first != video_id and (first, video_id) not in pairs:
                share = len(kept[first] & shingles) / len(kept[first] | shingles)
                if share >= threshold:
                    pairs[first, video_id] = share
    return [(*pair, share) for pair, share in pairs.items()]


def _band_names(shingles: frozenset[str]) -> list[bytes]:
    import numpy as np

    digests = b"".join(hashlib.blake2b(s.encode("utf-8", "surrogatepass"), digest_size=8).digest() for s in shingles)
    hashes = np.frombuffer(digests, dtype="<u8")
    draw = np.random.default_rng(0)
    factors = draw.integers(1, 2**63, size=_BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
    mixed = hashes[:, None] * factors[None, :]
    mixed ^= mixed >> np.uint64(29)
    signature = mixed.min(axis=0)
    return [signature[band * _ROWS : (band + 1) * _ROWS].tobytes() for band in range(_BANDS)]
