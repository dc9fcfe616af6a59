"""Lets torchvision be imported beside a build of torch that its compiled operators do not fit, such as the CPU build.

The wheels of torchvision are compiled against a CUDA build. Beside another build their library of operators does not
load, and the import then fails on the names of two operators ("operator torchvision::nms does not exist"). The video
processors of transformers need only the image transforms, which are Python. Declaring the two names is enough.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_NAMES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []
"""The library that holds the declarations: PyTorch removes them with it."""


class _BeforeTorchvision(MetaPathFinder):
    """Runs just before torchvision is imported; it finds no module itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision" and not _declared:
            spec = PathFinder.find_spec(fullname, path)
            if spec is not None and spec.submodule_search_locations and not _loads(spec.submodule_search_locations):
                _declare()
        return None


def _loads(folders: Sequence[str]) -> bool:
    """Whether the compiled operators fit this build of torch."""
    import torch

    for library in (library for folder in folders for library in Path(folder).glob("_C*.so")):
        try:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]  # PyTorch's
        except OSError:
            continue
        return True
    return False


def _declare() -> None:
    import torch

    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # PyTorch's
    for name in _NAMES:
        library.define(name)
    _declared.append(library)


def allow_torchvision() -> None:
    """Prepare later imports of torchvision in this process; costs nothing until then."""
    if not any(isinstance(finder, _BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeTorchvision())
