"""Registries and plug-ins: one file adds one of a kind, from inside `sg` or from outside."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sg.core.errors import ConfigError
from sg.core.plugins import load_plugins
from sg.core.registry import Registry


@dataclass
class Base:
    size: int = 1


@dataclass
class Derived(Base):
    pass


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[str]:
    package = tmp_path / "kinds_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return Registry("kind", "kinds_of_test")


def test_what_is_registered_is_found_by_name_and_by_its_settings(registry: Registry[str]) -> None:
    registry.register("base", Base)("the part")
    assert registry["base"] == registry.of(Base()) == registry.of(Derived()) == "the part"
    assert list(registry) == ["base"]


def test_an_unknown_name_lists_the_known_ones(registry: Registry[str]) -> None:
    registry.register("base", Base)("the part")
    with pytest.raises(ConfigError, match=r"There is no kind=other: choose one of base\."):
        registry["other"]
    with pytest.raises(ConfigError, match="int is not registered"):
        registry.of(3)


def test_names_and_settings_are_registered_once(registry: Registry[str]) -> None:
    registry.register("base", Base)("the part")
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("base", Derived)
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("second", Base)


def test_plugins_in_the_config_folder_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "a_plugin_of_this_test.py").write_text("LOADED = True\n")
    load_plugins(["data=demo", "--config-dir", str(tmp_path)])
    assert sys.modules.pop("a_plugin_of_this_test").LOADED


def test_a_plugin_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "broken_plugin_of_this_test.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=r"broken_plugin_of_this_test\.py cannot be imported: ZeroDivisionError"):
        load_plugins([f"--config-dir={tmp_path}"])
