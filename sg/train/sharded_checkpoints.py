"""Checkpoints of a sharded stage: every process writes its shards, in a thread, while training continues.

A checkpoint is a folder of `torch.distributed.checkpoint`, with Lightning's own state in `meta.pt`. Any number of
devices can read it. Its `.metadata` is written last, when the shards of all processes are complete.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.strategies import ModelParallelStrategy
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from sg.core.errors import DataError, first_line

META = "meta.pt"


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's FSDP2 with asynchronous sharded checkpoints of the trained weights and of the optimiser.

    A checkpoint that Lightning replaces by a new one is deleted when the new one is complete.
    """

    def __init__(self, world_size: int) -> None:
        super().__init__(data_parallel_size=world_size, tensor_parallel_size=1)
        self._saving: Future[Any] | None = None
        self._replaced: list[Path] = []
        self._group: Any = None

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The shards of the trained weights."""
        assert self.model is not None
        return {name: value.detach() for name, value in self.model.named_parameters() if value.requires_grad}

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """The shards of the optimiser's state."""
        assert self.model is not None
        return get_optimizer_state_dict(self.model, getattr(optimizer, "_optimizer", optimizer))

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Copy the shards to memory of the CPU and write them in a thread, which has a process group of its own."""
        self._finish()
        path = Path(self.broadcast(filepath))
        state = {"state_dict": checkpoint.pop("state_dict"), "optimizer": checkpoint.pop("optimizer_states")[0]}
        if self.global_rank == 0:
            path.mkdir(parents=True)
            torch.save(checkpoint, path / META)
        self.barrier()
        self._group = self._group or dist.new_group(backend="gloo")
        saving = async_save(state, checkpoint_id=path, process_group=self._group)
        assert isinstance(saving, Future)
        self._saving = saving

    def remove_checkpoint(self, filepath: Any) -> None:
        """Delete a checkpoint as soon as the newer one is complete."""
        self._replaced.append(Path(filepath))

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read the shards of this process. `state_dict` of the result holds the weights that the checkpoint has."""
        path, (optimizer,) = Path(self.broadcast(checkpoint_path)), self.optimizers
        if path.is_file():  # of an earlier version: one file for all processes
            return {**super().load_checkpoint(path, weights_only), "state_dict": self.lightning_module_state_dict()}
        saved = FileSystemReader(path).read_metadata().state_dict_metadata
        weights = self.lightning_module_state_dict()
        weights = {name: value for name, value in weights.items() if f"state_dict.{name}" in saved}
        meta: dict[str, Any] = torch.load(path / META, weights_only=weights_only)
        if len(weights) == len(self.lightning_module_state_dict()):  # else the module refuses the checkpoint
            state = {"state_dict": weights, "optimizer": self.optimizer_state(optimizer)}
            load(state, checkpoint_id=path)
            assert self.model is not None
            set_optimizer_state_dict(self.model, optimizer, optim_state_dict=state["optimizer"])
        return {**meta, "state_dict": weights}

    def teardown(self) -> None:
        """Wait for the last checkpoint."""
        self._finish()
        super().teardown()

    def _finish(self) -> None:
        saving, self._saving = self._saving, None
        if saving is not None:
            try:
                saving.result()
            except (CheckpointException, RuntimeError) as error:
                raise DataError(f"A checkpoint of the stage could not be written: {first_line(error)}.") from None
        if self.global_rank == 0:
            for path in self._replaced:
                shutil.rmtree(path, ignore_errors=True)
        self._replaced.clear()


def sharded_problem(path: Path) -> str:
    """What is wrong with a sharded checkpoint; "" if it is intact.

    PyTorch keeps every tensor as a zip archive with a checksum, which it does not check on reading.
    """
    metadata = FileSystemReader(path).read_metadata()
    for place in _places(metadata):
        with (path / place.relative_path).open("rb") as stream:
            stream.seek(place.offset)
            content = stream.read(place.length)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.testzip() is not None:
                return f"a checksum in {place.relative_path} differs"
    torch.load(path / META, weights_only=True)
    return ""


def _places(metadata: Metadata) -> list[Any]:
    return list((metadata.storage_data or {}).values())
