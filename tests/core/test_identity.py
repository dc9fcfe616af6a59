"""Identity: every field counts unless it is marked, and two identities can be compared."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sg.core.identity import ABSENT, NOT_IDENTITY, Change, differences, from_plain, identity, made_by, recorded


@dataclass
class Inner:
    size: int = 3
    workers: int = field(default=1, metadata=NOT_IDENTITY)


@dataclass
class Settings:
    rate: float = 0.5
    inner: Inner = field(default_factory=Inner)
    matcher: str = field(default="exact", metadata={"identity": lambda name: "exact" if name == "projected" else name})
    folder: str = field(default="/here", metadata=NOT_IDENTITY)


def of(settings: object, **inputs: object) -> str:
    return identity("test", settings=settings, inputs=inputs, version=1).name


def test_a_field_counts_unless_it_is_marked() -> None:
    assert of(Settings(rate=0.6)) != of(Settings())
    assert of(Settings(inner=Inner(size=4))) != of(Settings())
    assert of(Settings(folder="/there")) == of(Settings())
    assert of(Settings(inner=Inner(workers=8))) == of(Settings())


def test_a_new_field_changes_the_identity_without_being_listed_anywhere() -> None:
    longer = dataclasses.make_dataclass("Settings", [("extra", int, field(default=0))], bases=(Settings,))
    assert of(longer()) != of(Settings())


def test_a_field_can_name_values_with_the_same_result() -> None:
    assert of(Settings(matcher="projected")) == of(Settings(matcher="exact")) != of(Settings(matcher="cells"))


def test_version_inputs_and_step_count() -> None:
    one = identity("test", settings=Settings(), inputs={"captions": "a"}, version=1)
    names = {
        one.name,
        identity("test", settings=Settings(), inputs={"captions": "b"}, version=1).name,
        identity("test", settings=Settings(), inputs={"captions": "a"}, version=2).name,
        identity("other", settings=Settings(), inputs={"captions": "a"}, version=1).name,
    }
    assert len(names) == 4


def test_a_path_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be part of an identity"):
        identity("test", settings={"folder": Path("/here")}, version=1)


def test_differences_name_the_keys() -> None:
    before = identity("test", settings=Settings(), inputs={"captions": "a", "old": 1}, version=1)
    now = identity("test", settings=Settings(inner=Inner(size=9)), inputs={"captions": "b"}, version=2)
    assert set(differences(before, now)) == {
        Change("settings.inner.size", 3, 9),
        Change("inputs.captions", "a", "b"),
        Change("inputs.old", 1, ABSENT),
        Change("version", 1, 2),
    }
    assert differences(before, before) == []


def test_the_identity_is_read_from_a_record() -> None:
    work = identity("test", settings=Settings(), inputs={"parent": identity("test", settings={}, version=1)}, version=3)
    record = made_by(work)
    assert recorded(record) == work == from_plain(work.plain())
    assert record["made_by"] == work.name and set(record["code"]) == {"sg", "commit"}
    assert recorded({"something": "else"}) is None
