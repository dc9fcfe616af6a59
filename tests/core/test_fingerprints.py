from dataclasses import dataclass
from pathlib import Path

import pytest

from sg.core.fingerprints import file_hash, fingerprint, text_seed


@dataclass
class Settings:
    rate: float = 0.1
    names: tuple[str, ...] = ("a",)


def test_key_order_and_container_type_do_not_matter_but_values_do() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": (1, 2), "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint(Settings()) == fingerprint({"rate": 0.1, "names": ["a"]})


def test_values_without_a_canonical_form_are_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        fingerprint({"a": {1, 2}})
    with pytest.raises(ValueError, match="JSON"):
        fingerprint(float("nan"))


def test_the_values_never_change_between_versions() -> None:
    # The folder names and data orders of finished studies depend on these values.
    assert fingerprint({"scale": 50_000, "seed": 0}) == "a46be8740c51e9c2"
    assert text_seed("order", 3) == 3228877197166084302


def test_seeds_depend_on_the_boundaries_of_the_parts() -> None:
    assert text_seed("a", "bc") != text_seed("ab", "c")


def test_a_file_is_named_by_its_bytes(tmp_path: Path) -> None:
    for name, data in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / name).write_bytes(data)
    assert file_hash(tmp_path / "a") == file_hash(tmp_path / "b") != file_hash(tmp_path / "c")
