"""The store of visual tokens: the output of the frozen part of a model for clips, computed once.

A store is a folder. `visual_tokens.json` records what made the tokens (an identity), their type, and the width of each
of their tensors. A shard is two files: `part-00000.safetensors` holds the tensors [sum n, C] of many clips, and
`part-00000.parquet` one row per clip in the same order (`shards.py`).

The Parquet file is written last, so a shard without one does not exist. Shards are only added, under a lock, so several
processes can fill one store. A key can have the tokens of several files: of a file before and after it was replaced, or
of two demo worlds. A process reads those of the file content that it names; other processes do not change them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.artefacts.visual_tokens.shards import ShardIndex, checksum, forget_in_shard, row_of, write_shard
from sg.core.content import FileState, file_content, file_stamp
from sg.core.errors import DataError, MissingInputError
from sg.core.files import file_lock, read_json, write_record
from sg.core.identity import Identity, differences, from_plain, made_by
from sg.core.places.mirror import fetch

if TYPE_CHECKING:
    from torch import Tensor

INFO_FILE = "visual_tokens.json"
TOKENS = "tokens"
"""Name of the tensor of stores of version 0.1."""
BYTES_PER_VALUE = {"float16": 2, "bfloat16": 2, "float32": 4}
SHARD_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class _StoredClip:
    """Where a clip's tokens are, and the file they were made of."""

    shard: int
    row: int
    start: int
    count: int
    crc32: int
    source: FileState


class VisualTokenStore:
    """The visual tokens of many clips by key, read memory-mapped.

    Args:
        folder: a store that `VisualTokenStore.create` made.

    Raises:
        MissingInputError: there is no store.
        DataError: the store is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / INFO_FILE).is_file():
            raise MissingInputError(
                f"There are no visual tokens in {folder}: train or evaluate with the cache on to make them."
            )
        info = read_json(folder / INFO_FILE)
        try:
            self.identity: Identity = from_plain(info["identity"])
            self.dtype: str = info["dtype"]
            self.widths: dict[str, int] = info["widths"] if "widths" in info else {TOKENS: info["channels"]}
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{folder / INFO_FILE} does not describe a store of visual tokens; delete {folder}."
            ) from error
        self._entries: dict[str, dict[str, _StoredClip]] = {}  # by key and content, in the order of the shards
        self._used: dict[str, str] = {}
        self._shards: list[ShardIndex] = []
        self._open: dict[int, Any] = {}
        self.refresh()

    @classmethod
    def create(
        cls, folder: Path, work: Identity, widths: Mapping[str, int], dtype: str = "float16"
    ) -> VisualTokenStore:
        """Open the store in `folder`; make it if there is none.

        Args:
            work: what decides the tokens: tower, sampling, merging.
            widths: the width C of each tensor, by name; `dtype`: float16, bfloat16 or float32.

        Raises:
            DataError: the folder holds tokens that something else made.
        """
        if dtype not in BYTES_PER_VALUE:
            raise DataError(
                f"visual tokens cannot be stored as {dtype!r}: expected one of {', '.join(BYTES_PER_VALUE)}."
            )
        with file_lock(_lock_path(folder)):
            if not (folder / INFO_FILE).is_file():
                write_record(folder / INFO_FILE, {**made_by(work), "dtype": dtype, "widths": dict(widths)})
        store = cls(folder)
        changes = [str(change) for change in differences(store.identity, work)]
        changes += [f"dtype: {store.dtype} -> {dtype}"] * (store.dtype != dtype)
        changes += [f"widths: {store.widths} -> {dict(widths)}"] * (store.widths != widths)
        if changes:
            raise DataError(f"{folder} holds other visual tokens ({'; '.join(changes)}): delete it or use another.")
        return store

    def refresh(self) -> None:
        """Read the indices of shards that this or another process has added since."""
        fetch(self.folder)
        known = {shard.path for shard in self._shards}
        for path in sorted(self.folder.glob("part-*.parquet")):
            if path not in known:
                self._add_shard(path)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def source(self, key: str) -> FileState | None:
        """The file that the tokens of `key` were made of, or None when the store has no tokens of it."""
        return self._entry(key).source if key in self._entries else None

    def source_of(self, key: str, path: Path, stamp: str) -> FileState | None:
        """The file at `path`, which has this stamp, as it was encoded for `key`; None when it was not.

        An equal stamp decides without reading the file. Otherwise the content decides: a copied or touched file keeps
        its tokens, and a replaced file of the same size does not.
        """
        found = self._entries.get(key, {})
        if not found:
            return None
        for entry in found.values():
            if entry.source.stamp == stamp:
                return entry.source
        try:
            content = file_content(path)
        except OSError:
            return None
        return found[content].source if content in found else None

    def is_current(self, key: str, path: Path) -> bool:
        """True when the store has the tokens of the file at `path` for `key`, which it then returns.

        It is also true when there is no such file any more: its last tokens stay valid.
        """
        stamp = file_stamp(path)
        source = None if stamp is None else self.source_of(key, path, stamp)
        if source is not None:
            self._used[key] = source.content
        return stamp is None or source is not None

    def use(self, content: Mapping[str, str]) -> None:
        """Return the tokens of files of this content from now on, by key; by default they are those added last."""
        self._used |= content

    @property
    def bytes_per_row(self) -> int:
        """Bytes of one row of all tensors."""
        return sum(self.widths.values()) * BYTES_PER_VALUE[self.dtype]

    def facts(self, key: str) -> ClipFacts:
        """The frames that the tokens of `key` were made of."""
        entry = self._entry(key)
        return self._shards[entry.shard].facts(entry.row)

    def tensors(self, key: str) -> dict[str, Tensor]:
        """The tensors [n, C] of the clip `key` as stored, memory-mapped.

        Raises:
            MissingInputError: the store does not hold the clip.
            DataError: the shard is gone or damaged; the message names it.
        """
        return self._tensors(key, self._entry(key))

    def _tensors(self, key: str, entry: _StoredClip) -> dict[str, Tensor]:
        from safetensors import SafetensorError

        try:
            shard, end = self._shard(entry.shard), entry.start + entry.count
            tensors = {name: shard.get_slice(name)[entry.start : end] for name in self.widths}
        except SafetensorError as error:
            raise self._damaged(entry.shard, "its safetensors file holds other tokens") from error
        if checksum(tensors) != entry.crc32:
            raise self._damaged(entry.shard, f"the tokens of {key} have another checksum")
        return tensors

    def __getitem__(self, key: str) -> ClipTensors:
        return ClipTensors(key, self.facts(key), self.tensors(key), are_features=True)

    def verify(self) -> int:
        """Read every clip and compare its checksum; the number of clips; DataError if a shard is damaged."""
        for key, entries in self._entries.items():
            for entry in entries.values():
                self._tensors(key, entry)
        return len(self)

    def forget(self, keys: Collection[str]) -> int:
        """Remove the tokens of the files behind `keys`, also under other keys; returns the number of removed clips."""
        with file_lock(_lock_path(self.folder)):
            self.refresh()
            gone = {content for key in keys for content in self._entries.get(key, {})}
            removed = sum(forget_in_shard(shard.path, gone, self.identity.name) for shard in self._shards)
            self._entries, self._shards, self._open, self._used = {}, [], {}, {}
            self.refresh()
        return removed

    def writer(self, shard_bytes: int = SHARD_BYTES) -> VisualTokenWriter:
        """A context manager that adds clips in shards of about `shard_bytes`."""
        return VisualTokenWriter(self, shard_bytes)

    def __getstate__(self) -> dict[str, Any]:
        """Open files are left out when the store is sent to another process."""
        return {**self.__dict__, "_open": {}}

    def _entry(self, key: str) -> _StoredClip:
        found = self._entries.get(key, {})
        content = self._used.get(key) or next(reversed(found), "")
        if content not in found:
            raise MissingInputError(
                f"There are no visual tokens of {key} in {self.folder}: run the stage again to add them."
            )
        return found[content]

    def _add_shard(self, path: Path) -> None:
        index = ShardIndex(path, self.identity.name)
        shard, start = len(self._shards), 0
        self._shards.append(index)
        for row, (key, count, crc32, stamp, content) in enumerate(index.rows()):
            entry = _StoredClip(shard, row, start, count, crc32, FileState(stamp, content))
            self._entries.setdefault(key, {})[content] = entry
            start += count
        data = path.with_suffix(".safetensors")
        if not data.is_file() or data.stat().st_size < start * self.bytes_per_row:
            raise self._damaged(shard, "its safetensors file is missing or too short")

    def _shard(self, shard: int) -> Any:
        if shard not in self._open:
            from safetensors import SafetensorError, safe_open

            path = self._shards[shard].path.with_suffix(".safetensors")
            try:
                path.open("rb").close()  # its error names the file
                self._open[shard] = safe_open(path, framework="pt")
            except PermissionError:
                raise
            except (SafetensorError, OSError) as error:
                raise self._damaged(shard, "its safetensors file cannot be read") from error
        return self._open[shard]

    def _damaged(self, shard: int, what: str) -> DataError:
        name = self._shards[shard].path.stem
        return DataError(f"Shard {name} in {self.folder} is damaged ({what}): delete {name}.* and run again.")


class VisualTokenWriter:
    """Adds clips to a store. After an interruption, all shards that were already written stay."""

    def __init__(self, store: VisualTokenStore, shard_bytes: int) -> None:
        self._store, self._shard_bytes = store, shard_bytes
        self._rows: list[dict[str, Any]] = []
        self._tensors: list[dict[str, Tensor]] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def add(self, clip: ClipTensors, source: FileState) -> None:
        """Add the features of a clip that was read from `source`; skipped if another process has added them.

        Raises:
            DataError: a tensor is not [n, C] with the width of the store, or has values that its type cannot hold.
        """
        import torch

        store, dtype = self._store, getattr(torch, self._store.dtype)
        shapes = {name: tuple(tensor.shape) for name, tensor in clip.tensors.items()}
        num_rows = next(iter(shapes.values()), (0,))[0]
        if shapes != {name: (num_rows, width) for name, width in store.widths.items()}:
            raise DataError(f"visual tokens of {clip.key} have shapes {shapes}, expected [n, C] with {store.widths}")
        stored = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in clip.tensors.items()}
        if not all(bool(torch.isfinite(tensor).all()) for tensor in stored.values()):
            raise DataError(f"visual tokens of {clip.key} hold values that are not finite {store.dtype} numbers")
        self._rows.append(row_of(clip.key, clip.facts, num_rows, checksum(stored), source))
        self._tensors.append(stored)
        self._bytes += num_rows * store.bytes_per_row
        if self._bytes >= self._shard_bytes:
            self.flush()

    def flush(self) -> None:
        """Write the clips that were added since the last shard as a new one."""
        store = self._store
        with file_lock(_lock_path(store.folder)):
            store.refresh()
            # Another process may have added some of these clips since: whoever holds the lock first keeps its tokens.
            names = [(row["key"], row["file_content"]) for row in self._rows]
            first = {name: position for position, name in reversed(list(enumerate(names)))}
            new = sorted(at for (key, content), at in first.items() if content not in store._entries.get(key, {}))
            if new:
                taken = [int(path.stem.removeprefix("part-")) for path in store.folder.glob("part-*.parquet")]
                path = store.folder / f"part-{max(taken, default=-1) + 1:05d}.parquet"
                write_shard(
                    path, [self._rows[at] for at in new], [self._tensors[at] for at in new], store.identity.name
                )
                store.refresh()
        store.use(dict(names))
        self._rows, self._tensors, self._bytes = [], [], 0


def _lock_path(folder: Path) -> Path:
    return folder / ".lock"
