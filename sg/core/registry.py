"""Registries of sources, benchmarks, captioners, embedders and curators.

One file adds one of a kind: it defines a settings class and a factory, and registers both under a name. A YAML file of
that name in the group of `conf/` makes it selectable. There are no other lists of names in `sg`.

Files of users register in the same way (`docs/extending.md`).
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from sg.core.commands import register as register_schema
from sg.core.errors import ConfigError
from sg.core.mistakes import nearest

Part = TypeVar("Part")


class Registry(Generic[Part]):
    """The registered parts of one kind, by name and by settings class.

    Args:
        group: the config group, a folder of `conf/`; the settings of `webvid` are its schema `webvid_schema`.
        packages: the packages whose modules register themselves; they are imported at the first look-up.
    """

    def __init__(self, group: str, *packages: str) -> None:
        self.group, self.packages = group, packages
        self._by_name: dict[str, tuple[type, Part]] = {}
        self._is_loaded = False

    def register(self, name: str, settings: type) -> Callable[[Part], Part]:
        """Decorator that registers a class or function as `name`, with the dataclass of its settings.

        Raises:
            ValueError: the name or the settings class is taken; each needs its own.
        """
        if name in self._by_name:
            raise ValueError(f"{self.group}={name} is registered twice.")
        if any(settings is taken for taken, _ in self._by_name.values()):
            raise ValueError(f"{settings.__name__} is registered twice: derive a settings class of its own for {name}.")

        def add(part: Part) -> Part:
            self._by_name[name] = (settings, part)
            register_schema(self.group, f"{name}_schema", settings)
            return part

        return add

    def load(self) -> None:
        """Import every module of the packages, so that all of them are registered, and their schemas known to Hydra."""
        if self._is_loaded:
            return
        self._is_loaded = True
        for package in self.packages:
            modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
            for name in sorted(module.name for module in modules):
                importlib.import_module(f"{package}.{name}")

    def of(self, settings: Any) -> Part:
        """What is registered for these settings: by their class, or the nearest class that they derive from.

        Raises:
            ConfigError: nothing is.
        """
        return self[self.name_of(settings)]

    def name_of(self, settings: Any) -> str:
        """The name under which the class of these settings is registered, or the nearest class that it derives from.

        Raises:
            ConfigError: nothing is.
        """
        self.load()
        names = {registered: name for name, (registered, _) in self._by_name.items()}
        for candidate in type(settings).__mro__:
            if candidate in names:
                return names[candidate]
        raise ConfigError(f"{self.group}: {type(settings).__name__} is not registered; there are {', '.join(self)}.")

    def settings(self, name: str) -> type:
        """The settings class that is registered under `name`; ConfigError if nothing is."""
        self[name]
        return self._by_name[name][0]

    def __getitem__(self, name: str) -> Part:
        """What is registered under `name`; ConfigError if nothing is."""
        self.load()
        if name not in self._by_name:
            raise ConfigError(
                f"There is no {self.group}={name}{nearest(name, list(self))}: choose one of {', '.join(self)}."
            )
        return self._by_name[name][1]

    def __iter__(self) -> Iterator[str]:
        """The registered names in alphabetical order."""
        self.load()
        return iter(sorted(self._by_name))
