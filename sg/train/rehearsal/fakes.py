"""Tensors without values and processes that do not exist, for rehearsals."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from sg.train.config import TrainerConfig

aten: Any = torch.ops.aten  # its operators are not known to the type checker
_INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index.Tensor)
_GATHERED = {"_allgather_base_", "allgather_", "allgather_into_tensor_coalesced_", "all_gather_into_tensor"}
_REDUCED = {"_reduce_scatter_base_", "reduce_scatter_", "reduce_scatter_tensor_coalesced_", "reduce_scatter_tensor"}


class WholeNumbersAreReal(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's
    """Tensors of whole numbers and truth values keep their values, floating-point tensors have none.

    Ids, labels, masks and lengths decide shapes, so they have to be real; they are small. Weights, activations and
    gradients are not, and neither are weights in 4 bits, which come from the meta device. A question about a value that
    does not exist is answered by 1, or by true.

    Enter it inside a `FakeTensorMode` with `allow_non_fake_inputs=True`.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func` really if it neither takes nor makes a floating-point tensor."""
        kwargs = kwargs or {}
        tensors = [value for value in pytree.tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        if func is aten._local_scalar_dense.default and isinstance(tensors[0], FakeTensor):
            return True if tensors[0].dtype == torch.bool else 1.0  # not 0: it may divide
        without = (isinstance(value, FakeTensor) or value.is_meta or value.is_floating_point() for value in tensors)
        are_real = not any(without)
        if (tensors and are_real) or (not tensors and _makes_whole_numbers(func, args, kwargs)):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func in _INDEXED:
            args = args[0], _by_places(args[1]), *args[2:]
        return func(*args, **kwargs)


def _makes_whole_numbers(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    dtype = kwargs.get("dtype")
    if dtype is None:
        return func.overloadpacket in (aten.arange, aten.full) and isinstance(args[-1], int)
    return not (dtype.is_floating_point or dtype.is_complex)


def _by_places(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Indices with the places instead of masks, so that the shape of the result is known."""
    found: list[Tensor | None] = []
    for index in indices:
        if index is None or isinstance(index, FakeTensor) or index.dtype != torch.bool:
            found.append(index)
        else:
            with unset_fake_temporarily():
                found += index.nonzero().unbind(1)
    return found


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's
    """Counts the bytes that each process receives in collective operations, by kind: `gather` and `reduce`.

    Of a gathered tensor a process receives all parts but its own, of a scattered sum all other parts of its share.
    """

    def __init__(self, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self.bytes = {"gather": 0.0, "reduce": 0.0}
        self._others = (size - 1) / size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count `func` and call it."""
        name = func.overloadpacket.__name__
        if func.namespace in ("c10d", "_c10d_functional"):
            tensors = [value for value in pytree.tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
            whole = max((value.numel() * value.element_size() for value in tensors), default=0) * self._others
            if name in _GATHERED:
                self.bytes["gather"] += whole
            elif name in _REDUCED:
                self.bytes["reduce"] += whole
        return func(*args, **(kwargs or {}))

    def add_gradients(self, weights: Sequence[Tensor]) -> None:
        """Count the sum of all processes' gradients that DDP gives to each of them: scattered, then gathered."""
        for kind in self.bytes:
            self.bytes[kind] += sum(value.numel() * value.element_size() for value in weights) * self._others


class FusedDropout(nn.Dropout):
    """Dropout that keeps what it keeps on a GPU: a mask of one byte per value. On a CPU it keeps factors."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop values in training."""
        return torch.native_dropout(input, self.p, True)[0] if self.training and self.p else input


def fuse_dropout(network: nn.Module) -> None:
    """Replace all dropout in a network by `FusedDropout`."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, name, FusedDropout(child.p))


@contextlib.contextmanager
def without_values() -> Iterator[FakeTensorMode]:
    """In the block floating-point tensors have no values; others have (`WholeNumbersAreReal`)."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, WholeNumbersAreReal():  # type: ignore[no-untyped-call]  # PyTorch's
        yield mode


def emptied(network: nn.Module, model: Any) -> None:
    """Give a network on the meta device weights without values; `model` is the one in it. Call it in `without_values`.

    What changes the types of weights has to come before: PyTorch changes them on the meta device only.
    """
    network.to_empty(device="cpu")
    model.tie_weights()


@contextlib.contextmanager
def fake_team(trainer: TrainerConfig) -> Iterator[None]:
    """In the block this process is the first of a team whose other processes do not exist."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=trainer.world_size, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()
