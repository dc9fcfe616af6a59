"""Numbers by text keys, for tens of millions of keys."""

from __future__ import annotations

from array import array

_FEWEST_SLOTS = 2**10


class KeyIndex:
    """Every number that was added under a key. An entry takes 25 to 30 bytes; in a dict of texts it takes 150.

    Keys are kept as 64-bit hashes, so a number may, very rarely, be that of another key: callers compare the key of
    what they find. The hashes have a secret seed, so nobody can write annotations whose keys collide.
    """

    def __init__(self) -> None:
        self._hashes, self._numbers = array("q"), array("q")
        self._earlier = array("i")
        """The entry before each entry with the same hash; -1 where there is none."""
        self._slots = array("i", [-1]) * _FEWEST_SLOTS
        """The last entry of each hash, in the first free slot from the place that the hash names."""

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, key: str, number: int) -> None:
        """Add a number under a key, after those that it has."""
        if 4 * len(self._hashes) >= 3 * len(self._slots):
            self._grow()
        wanted = hash(key)
        slot = self._slot(wanted)
        self._earlier.append(self._slots[slot])
        self._slots[slot] = len(self._hashes)
        self._hashes.append(wanted)
        self._numbers.append(number)

    def numbers(self, key: str) -> list[int]:
        """The numbers of a key, the last one first."""
        entry = self._slots[self._slot(hash(key))]
        if entry < 0:
            return []
        found = [self._numbers[entry]]
        while (entry := self._earlier[entry]) >= 0:
            found.append(self._numbers[entry])
        return found

    def _slot(self, wanted: int) -> int:
        """The slot of a hash, or the one that it would have."""
        slots, hashes = self._slots, self._hashes
        last = len(slots) - 1
        slot = wanted & last
        while (entry := slots[slot]) >= 0 and hashes[entry] != wanted:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        """Double the slots. In numpy, because a loop would take as long as all calls of `add`."""
        import numpy as np

        slots, hashes = np.array(self._slots), np.array(self._hashes)
        entries = slots[slots >= 0]
        first = hashes[entries] & (2 * len(slots) - 1)
        order = np.argsort(first, kind="stable")
        steps = np.arange(len(order))
        # In the order of their hashes, every entry is in the slot that its hash names, or behind the one before it.
        places = np.maximum.accumulate(first[order] - steps) + steps
        fits = places < 2 * len(slots)
        grown = np.full(2 * len(slots), -1, np.int32)
        grown[places[fits]] = entries[order][fits]
        self._slots = array("i", grown.tobytes())
        for entry in entries[order][~fits].tolist():
            self._slots[self._slot(self._hashes[entry])] = entry
