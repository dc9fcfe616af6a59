"""An index of keys returns what a dict of lists would; values in a file are what was added."""

from collections import defaultdict
from pathlib import Path
from random import Random

import pytest

from sg.sources.scan import key_index
from sg.sources.scan.key_index import KeyIndex
from sg.sources.scan.spilled import Spilled


@pytest.mark.parametrize("seed", range(4))
def test_an_index_returns_the_numbers_of_a_key_the_last_first(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "_FEWEST_SLOTS", 4)
    rng, index, expected = Random(seed), KeyIndex(), defaultdict(list)
    for number in range(3000):
        key = str(rng.randrange(1500))
        assert index.numbers(key) == expected.get(key, [])[::-1]
        index.add(key, number)
        expected[key].append(number)
    assert len(index) == 3000
    assert all(index.numbers(key) == numbers[::-1] for key, numbers in expected.items())


def test_keys_whose_slots_run_over_the_end_are_found_after_growing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "_FEWEST_SLOTS", 8)
    monkeypatch.setattr(key_index, "hash", lambda key: int(key) * 2**32 - 1, raising=False)
    index = KeyIndex()
    for number in range(50):
        index.add(str(number), number)
    assert [index.numbers(str(number)) for number in range(50)] == [[number] for number in range(50)]


def test_values_in_a_file_are_returned_while_others_are_added(tmp_path: Path) -> None:
    with Spilled(tmp_path / "new") as values:
        for number in range(100):
            assert values.append((str(number), {"x": number})) == number
            assert values[number // 2] == (str(number // 2), {"x": number // 2})
        assert list(values) == [(str(number), {"x": number}) for number in range(100)]
        assert not list((tmp_path / "new").iterdir()), "nothing is left when the process dies"
