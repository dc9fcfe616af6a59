"""The output of a frozen vision tower: kept for the cache, and given to a connector that learns.

The vision side of a model runs its own code. Modules of the tower that contain no part of the connector are frozen.
`TowerOutput` finds those of their outputs that the connector reads: for most families the output of the whole tower,
for others that of some of its layers. To restore a clip, the model's code runs once more on pixels without meaning,
while these modules return what was kept, and the other layers of the tower return what they are given.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from transformers import PreTrainedModel

from sg.core.errors import ModelError
from sg.models.hf import features
from sg.models.hf.features import Features
from sg.models.hf.media import without_values
from sg.models.student import CONNECTOR, VISION

Inputs = Mapping[str, Tensor]
"""What a processor returns for a clip, by name."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A module whose output the connector reads.

    Attributes:
        spec: structure of the output.
        shapes: by number of a leaf of the output that is read its shape; -1 where clips differ.
    """

    module: nn.Module
    spec: pytree.TreeSpec
    shapes: dict[int, tuple[int, ...]]


class TowerOutput:
    """The outputs of the tower of a model that its connector reads.

    Args:
        parts: names of modules by part.
        tried: two clips of different length and size, to find the outputs with.

    Raises:
        ModelError: the tower cannot be separated from the connector.
    """

    def __init__(
        self, model: PreTrainedModel, parts: Mapping[str, Sequence[str]], tried: Sequence[Inputs], label: str
    ) -> None:
        self._model, self._label = model, label
        named = dict(model.named_modules())
        connector = [name for name in parts[CONNECTOR] if name in named]
        roots = [(name, named[name]) for name in parts[VISION] if name in named]
        self._frozen = [module for name, root in roots for module in _without(root, name, connector)]
        layers = [module for _, root in roots for module in root.modules() if isinstance(module, nn.ModuleList)]
        self._layers = [module for module in self._frozen if any(module in list(layer) for layer in layers)]
        self._check_order(tried[0], connector)
        self._read = self._find(tried)
        for inputs in tried:
            self._check(inputs)

    def rows(self, inputs: Inputs) -> list[Tensor]:
        """The outputs for a clip as tensors [n, C].

        Raises:
            ModelError: they have other shapes than those of the tried clips.
        """
        kept: dict[nn.Module, list[Any]] = {}
        with torch.no_grad(), self._changed({read.module: _keeper(kept, read.module) for read in self._read}):
            features.encode(self._model, inputs)
        found = []
        for read in self._read:
            if read.module not in kept:
                raise self._refusal("a module that not all clips pass")
            for number, shape in read.shapes.items():
                value = kept[read.module][number]
                if len(value.shape) != len(shape) or any(
                    wanted not in (-1, size) for wanted, size in zip(shape, value.shape, strict=True)
                ):
                    raise self._refusal(f"{tuple(value.shape)} where {shape} was expected")
                found.append(value.reshape(-1, value.shape[-1]))
        if len({len(value) for value in found}) != 1:
            raise self._refusal("levels of different length")
        return found

    def restored(self, rows: Sequence[Tensor], inputs: Inputs) -> Features:
        """The features of a clip, from its kept outputs, with gradients of the connector.

        Args:
            inputs: of the clip; the values of its pixels do not matter.
        """
        left = iter(rows)
        stubs: dict[nn.Module, Callable[..., Any]] = dict.fromkeys(self._layers, _same)
        for read in self._read:
            leaves: list[Any] = [None] * read.spec.num_leaves
            for number, shape in read.shapes.items():
                leaves[number] = next(left).reshape(shape)
            stubs[read.module] = _returning(pytree.tree_unflatten(leaves, read.spec))
        with self._changed(stubs):
            return features.encode(self._model, inputs)

    def _find(self, tried: Sequence[Inputs]) -> list[_Read]:
        """The modules and leaves that the connector reads: those with a gradient if every output begins its own."""
        outputs: list[dict[nn.Module, list[Any]]] = []
        specs: dict[nn.Module, pytree.TreeSpec] = {}
        for inputs in tried:
            kept: dict[nn.Module, list[Any]] = {}
            with torch.enable_grad(), self._changed({m: _beginning(kept, specs, m) for m in self._frozen}):
                encoded = features.flattened(features.encode(self._model, inputs), self._label)
                total = torch.stack([value.float().sum() for value in encoded.values()]).sum()
            begun = [leaf for leaves in kept.values() for leaf in leaves if _begins(leaf)]
            gradients = torch.autograd.grad(total, begun, allow_unused=True) if begun and total.requires_grad else ()
            read_leaves = {id(leaf) for leaf, found in zip(begun, gradients, strict=False) if found is not None}
            outputs.append(kept)
        found = []
        for module in self._frozen:
            values = [kept.get(module, []) for kept in outputs]
            read = [number for number, leaf in enumerate(values[-1]) if id(leaf) in read_leaves]
            if read:
                shapes = {n: self._shape([leaves[n].shape for leaves in values]) for n in read}
                found.append(_Read(module, specs[module], shapes))
        if not found:
            raise self._refusal("no output that the connector reads")
        return found

    def _shape(self, shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
        sizes = [set(axis) for axis in zip(*shapes, strict=True)]
        differing = [axis for axis, size in enumerate(sizes) if len(size) > 1] or [int(shapes[0][0] == 1)]
        if len(differing) > 1 or differing[0] == len(sizes) - 1:
            raise self._refusal(f"outputs of the shapes {', '.join(str(tuple(one)) for one in shapes)}")
        return tuple(-1 if axis == differing[0] else size for axis, size in enumerate(shapes[0]))

    def _check_order(self, inputs: Inputs, connector: Sequence[str]) -> None:
        """Refuse a tower in which weights of the connector decide what a later frozen module returns."""
        learnt = {name: value.requires_grad for name, value in self._model.named_parameters()}
        kept: dict[nn.Module, list[Any]] = {}
        try:
            for name, value in self._model.named_parameters():
                value.requires_grad_(any(name.startswith(f"{module}.") for module in connector))
            with torch.enable_grad(), self._changed({module: _keeper(kept, module) for module in self._frozen}):
                features.encode(self._model, inputs)
        finally:
            for name, value in self._model.named_parameters():
                value.requires_grad_(learnt[name])
        if any(isinstance(leaf, Tensor) and leaf.requires_grad for leaves in kept.values() for leaf in leaves):
            raise self._refusal("layers after the connector")

    @torch.no_grad()
    def _check(self, inputs: Inputs) -> None:
        expected = features.flattened(features.encode(self._model, inputs), self._label)
        found = features.flattened(self.restored(self.rows(inputs), without_values(inputs)), self._label)
        if any(not torch.equal(found[name], value) for name, value in expected.items()):
            raise self._refusal("features that depend on the pixels beside the tower")

    def _refusal(self, reason: str) -> ModelError:
        return ModelError(
            f"{self._label} has a vision tower whose output cannot be cached apart from the connector ({reason})."
        )

    @contextlib.contextmanager
    def _changed(self, forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
        """Other `forward` functions of modules for a while."""
        before = {module: module.__dict__.get("forward") for module in forwards}
        for module, forward in forwards.items():
            module.forward = forward
        try:
            yield
        finally:
            for module, own in before.items():
                del module.forward
                if own is not None:
                    module.forward = own


def _without(module: nn.Module, name: str, connector: Sequence[str]) -> list[nn.Module]:
    """The largest modules inside `module` that contain no module of the connector; layers of a list one by one."""
    if name in connector:
        return []
    is_divided = any(other.startswith(f"{name}.") for other in connector) or isinstance(module, nn.ModuleList)
    if not is_divided:
        return [module]
    inside = ((f"{name}.{own}", child) for own, child in module.named_children())
    return [found for path, child in inside for found in _without(child, path, connector)]


def _keeper(kept: dict[nn.Module, list[Any]], module: nn.Module) -> Callable[..., Any]:
    own = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = own(*args, **kwargs)
        kept[module] = pytree.tree_flatten(output)[0]
        return output

    return forward


def _begins(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.requires_grad


def _beginning(
    kept: dict[nn.Module, list[Any]], specs: dict[nn.Module, pytree.TreeSpec], module: nn.Module
) -> Callable[..., Any]:
    """`forward` whose outputs begin the graph of gradients."""
    own = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            leaves, specs[module] = pytree.tree_flatten(own(*args, **kwargs))
        begun = [
            leaf.detach().clone().requires_grad_() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
            for leaf in leaves
        ]
        kept[module] = begun
        return pytree.tree_unflatten(begun, specs[module])

    return forward


def _returning(output: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: output


def _same(hidden: Any, *args: Any, **kwargs: Any) -> Any:
    return hidden
