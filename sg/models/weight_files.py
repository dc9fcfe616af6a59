"""Reads untrusted weight files: safetensors, or pickles of tensors only. Each failure becomes one sentence."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sg.core.errors import DataError, MissingInputError, ModelError
from sg.core.files import read_json

PROJECTOR_FILE = "mm_projector.bin"
_INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of one file, on the CPU. Opening a pickle runs no code.

    Raises:
        MissingInputError: there is no such file.
        ModelError: the file is truncated, holds more than tensors, or has another format.
    """
    weights = open_weights(path)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ModelError(f"{path} does not hold a dictionary of tensors, as a weights file should.")
    return weights


def open_weights(path: Path) -> Any:
    """The content of a weights file, with tensors on the CPU: a dictionary of tensors, or a container of one.

    Raises:
        MissingInputError: there is no such file.
        ModelError: the file is truncated, or opening it would run code.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no weights file {path}: download the checkpoint again.")
    path.open("rb").close()  # a file that the user must not read is not damaged
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except SafetensorError as error:
        raise ModelError(f"{path} is truncated or not a safetensors file ({error}): download it again.") from error
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path} holds more than tensors (or is not a weights file), so it was not loaded.") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or ["unexpected end of file"])[0]
        raise ModelError(f"{path} is truncated or not a PyTorch file ({reason}): download it again.") from error


def checkpoint_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint folder without the projector's own file; shards are found by their index.

    Raises:
        MissingInputError: the folder holds no weights, or a shard of the index is missing.
        ModelError: the index is damaged.
    """
    for name in _INDEX_FILES:
        if (folder / name).is_file():
            return _indexed_files(folder / name)
    for name in _SINGLE_FILES:
        if (folder / name).is_file():
            return [folder / name]
    others = sorted(path for path in folder.glob("[!.]*") if path.suffix in (".safetensors", ".bin"))
    others = [path for path in others if path.name not in (PROJECTOR_FILE, "training_args.bin")]
    if not others:
        raise MissingInputError(
            f"{folder} holds no model weights (model.safetensors or pytorch_model.bin, sharded or not); "
            "give a folder with only mm_projector.bin as model.projector."
        )
    return others


def iterate_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of all weight files of a checkpoint folder, file by file."""
    for path in checkpoint_files(folder):
        yield from read_weights(path).items()


def _indexed_files(index: Path) -> list[Path]:
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
        paths = [index.parent / name for name in names]
    except (DataError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is not an index of weight shards: download it again.") from error
    if any(path.parent.resolve() != index.parent.resolve() for path in paths):
        raise ModelError(f"{index} names shards outside its folder, so it was not loaded.")
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise MissingInputError(
            f"{index.parent} lacks {len(missing)} of {len(paths)} shards, first {missing[0]}: download it."
        )
    return paths


def _is_zip(path: Path) -> bool:
    """True when the file has PyTorch's newer format, which can be memory-mapped."""
    with path.open("rb") as stream:
        return stream.read(2) == b"PK"
