"""Saves seconds of CPU time where other packages import what this program does not need.

`import torchvision` loads its zoo of models, its operators and its datasets; only the image transforms are used here.
They are loaded at the first use instead. The losses of transformers import `scipy.optimize` where it is installed,
which only detectors of objects need; they are not supported here.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_AT_FIRST_USE = ("torchvision.datasets", "torchvision.models", "torchvision.ops")
_LOSSES = "transformers.loss.loss_utils"


class _Unloaded(ModuleType):
    """A module that runs when an attribute is missing: its name, path and spec do not need that."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        spec = self.__spec__
        self.__class__ = ModuleType  # type: ignore[assignment]  # it is one from now on
        assert spec is not None and isinstance(spec.loader, _AtFirstUse)
        spec.loader.real.exec_module(self)
        return getattr(self, name)


class _AtFirstUse(Loader):
    """Makes an unloaded module of the one that `real` loads."""

    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Unloaded(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Sparing(MetaPathFinder):
    """Runs before other finders; it finds only the modules that are loaded at first use."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _LOSSES:
            sys.modules["transformers.utils"].is_scipy_available = lambda: False  # type: ignore[attr-defined]
        if fullname not in _AT_FIRST_USE:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _AtFirstUse(spec.loader)
        return spec


def spare_imports() -> None:
    """Prepare later imports of torchvision and transformers in this process; costs nothing until then."""
    if not any(isinstance(finder, _Sparing) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Sparing())
