"""Visual tokens: the output of the frozen part of the model for a clip, computed once for all stages and evaluations.

A store is a folder. `visual_tokens.json` records what made the tokens (an identity) and their type. A shard is two
files: `part-00000.safetensors` holds one tensor `tokens` [sum n, C] of many clips, and `part-00000.parquet` one row per
clip in the same order: key, number of tokens, CRC-32 of their bytes, stamp and content of the clip's file, and the
indices of the sampled frames.

The Parquet file is written last, so a shard without one does not exist. Shards are only added, under a lock, so several
processes can fill one store. A key can have the tokens of several files: of a file before and after it was replaced, or
of two demo worlds. A process reads those of the file content that it names; other processes do not change them.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sg.artefacts.tables import parquet_writer
from sg.core.checksums import check_file
from sg.core.content import FileState, file_content, file_stamp
from sg.core.errors import DataError, MissingInputError
from sg.core.files import atomic_path, file_lock, read_json, write_record
from sg.core.identity import Identity, differences, from_plain, made_by

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

INFO_FILE = "visual_tokens.json"
BYTES_PER_VALUE = {"float16": 2, "bfloat16": 2, "float32": 4}
SHARD_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """Merged tokens [n, C] of a clip before the projector, in the store's type, and the frames they were made of."""

    tokens: Tensor
    frame_indices: Sequence[int]
    fps: float
    num_frames: int


@dataclass(frozen=True, slots=True)
class _StoredClip:
    """Where a clip's tokens are, the file they were made of, and the number of its sampled frames."""

    shard: int
    row: int
    start: int
    count: int
    crc32: int
    source: FileState
    frame_count: int


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
            self.channels: int = info["channels"]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{folder / INFO_FILE} does not describe a store of visual tokens; delete {folder}."
            ) from error
        self._entries: dict[str, dict[str, _StoredClip]] = {}  # by key and content, in the order of the shards
        self._used: dict[str, str] = {}
        self._shards: list[Path] = []
        self._open: dict[int, Any] = {}
        self._tables: dict[int, pa.Table] = {}
        self.refresh()

    @classmethod
    def create(cls, folder: Path, work: Identity, channels: int, dtype: str = "float16") -> VisualTokenStore:
        """Open the store in `folder`; make it if there is none.

        Args:
            work: what decides the tokens: tower, sampling, merging.
            channels: width C of a token; `dtype`: float16, bfloat16 or float32.

        Raises:
            DataError: the folder holds tokens that something else made.
        """
        if dtype not in BYTES_PER_VALUE:
            raise DataError(
                f"visual tokens cannot be stored as {dtype!r}: expected one of {', '.join(BYTES_PER_VALUE)}."
            )
        with file_lock(_lock_path(folder)):
            if not (folder / INFO_FILE).is_file():
                write_record(folder / INFO_FILE, {**made_by(work), "dtype": dtype, "channels": channels})
        store = cls(folder)
        changes = [str(change) for change in differences(store.identity, work)]
        changes += [f"dtype: {store.dtype} -> {dtype}"] * (store.dtype != dtype)
        changes += [f"channels: {store.channels} -> {channels}"] * (store.channels != channels)
        if changes:
            raise DataError(f"{folder} holds other visual tokens ({'; '.join(changes)}): delete it or use another.")
        return store

    def refresh(self) -> None:
        """Read the indices of shards that this or another process has added since."""
        known = set(self._shards)
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

    def frame_count(self, key: str) -> int:
        """Number of frames that the tokens of `key` were made of, which is the number of its placeholders."""
        return self._entry(key).frame_count

    def tokens(self, key: str) -> Tensor:
        """Tokens [n, C] of the clip `key` as stored, memory-mapped.

        Raises:
            MissingInputError: the store does not hold the clip.
            DataError: the shard is gone or damaged; the message names it.
        """
        return self._tokens(key, self._entry(key))

    def _tokens(self, key: str, entry: _StoredClip) -> Tensor:
        from safetensors import SafetensorError

        try:
            tokens: Tensor = self._shard(entry.shard).get_slice("tokens")[entry.start : entry.start + entry.count]
        except SafetensorError as error:
            raise self._damaged(entry.shard, "its safetensors file holds other tokens") from error
        if _checksum(tokens) != entry.crc32:
            raise self._damaged(entry.shard, f"the tokens of {key} have another checksum")
        return tokens

    def __getitem__(self, key: str) -> VisualTokens:
        entry = self._entry(key)
        if entry.shard not in self._tables:
            self._tables[entry.shard] = _read_index(self._shards[entry.shard])
        row = self._tables[entry.shard].slice(entry.row, 1).to_pylist()[0]
        return VisualTokens(self.tokens(key), row["frame_indices"], row["fps"], row["num_frames"])

    def verify(self) -> int:
        """Read every clip and compare its checksum; the number of clips.

        Raises:
            DataError: a shard is damaged.
        """
        for key, entries in self._entries.items():
            for entry in entries.values():
                self._tokens(key, entry)
        return len(self)

    def forget(self, keys: Collection[str]) -> int:
        """Remove the tokens of the files behind `keys`, also under other keys; returns the number of removed clips."""
        with file_lock(_lock_path(self.folder)):
            self.refresh()
            gone = {content for key in keys for content in self._entries.get(key, {})}
            removed = sum(_forget_in_shard(path, gone) for path in self._shards)
            self._entries, self._shards, self._open, self._tables, self._used = {}, [], {}, {}, {}
            self.refresh()
        return removed

    def writer(self, shard_bytes: int = SHARD_BYTES) -> VisualTokenWriter:
        """A context manager that adds clips in shards of about `shard_bytes`."""
        return VisualTokenWriter(self, shard_bytes)

    def __getstate__(self) -> dict[str, Any]:
        """Open files are left out when the store is sent to another process."""
        return {**self.__dict__, "_open": {}, "_tables": {}}

    def _entry(self, key: str) -> _StoredClip:
        found = self._entries.get(key, {})
        content = self._used.get(key) or next(reversed(found), "")
        if content not in found:
            raise MissingInputError(
                f"There are no visual tokens of {key} in {self.folder}: run the stage again to add them."
            )
        return found[content]

    def _add_shard(self, index_path: Path) -> None:
        table = _read_index(index_path)
        shard, start = len(self._shards), 0
        self._shards.append(index_path)
        frame_counts = [len(frames) for frames in table["frame_indices"]]
        columns = (table[name].to_pylist() for name in ("key", "count", "crc32", "file_stamp", "file_content"))
        for row, (key, count, crc32, stamp, content) in enumerate(zip(*columns, strict=True)):
            source = FileState(stamp, content)
            entry = _StoredClip(shard, row, start, count, crc32, source, frame_counts[row])
            self._entries.setdefault(key, {})[content] = entry
            start += count
        wanted = start * self.channels * BYTES_PER_VALUE[self.dtype]
        data = index_path.with_suffix(".safetensors")
        if not data.is_file() or data.stat().st_size < wanted:
            raise self._damaged(shard, "its safetensors file is missing or too short")

    def _shard(self, shard: int) -> Any:
        if shard not in self._open:
            from safetensors import SafetensorError, safe_open

            try:
                self._open[shard] = safe_open(self._shards[shard].with_suffix(".safetensors"), framework="pt")
            except (SafetensorError, OSError) as error:
                raise self._damaged(shard, "its safetensors file cannot be read") from error
        return self._open[shard]

    def _damaged(self, shard: int, what: str) -> DataError:
        name = self._shards[shard].stem
        return DataError(f"Shard {name} in {self.folder} is damaged ({what}): delete {name}.* and run again.")


class VisualTokenWriter:
    """Adds clips to a store. After an interruption, all shards that were already written stay."""

    def __init__(self, store: VisualTokenStore, shard_bytes: int) -> None:
        self._store, self._shard_bytes = store, shard_bytes
        self._rows: list[dict[str, Any]] = []
        self._tokens: list[Tensor] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def add(self, key: str, clip: VisualTokens, source: FileState) -> None:
        """Add the tokens [n, C] of a clip that was read from `source`; skipped if another process has added them.

        Raises:
            DataError: the tokens have another width, or values that the store's type cannot hold.
        """
        import torch

        store, tokens = self._store, clip.tokens
        if tokens.ndim != 2 or tokens.shape[1] != store.channels:
            raise DataError(f"visual tokens of {key} have shape {tuple(tokens.shape)}, expected [n, {store.channels}]")
        stored = tokens.detach().to("cpu", getattr(torch, store.dtype)).contiguous()
        if not bool(torch.isfinite(stored).all()):
            raise DataError(f"visual tokens of {key} hold values that are not finite {store.dtype} numbers")
        row = {
            "key": key,
            "count": len(stored),
            "crc32": _checksum(stored),
            "file_stamp": source.stamp,
            "file_content": source.content,
            "fps": float(clip.fps),
            "num_frames": int(clip.num_frames),
        }
        self._rows.append(row | {"frame_indices": [int(index) for index in clip.frame_indices]})
        self._tokens.append(stored)
        self._bytes += stored.nbytes
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
                _write_shard(path, [self._rows[at] for at in new], [self._tokens[at] for at in new])
                store.refresh()
        store.use(dict(names))
        self._rows, self._tokens, self._bytes = [], [], 0


def _checksum(tokens: Tensor) -> int:
    import torch

    return zlib.crc32(tokens.contiguous().view(torch.uint8).numpy().data)


def _lock_path(folder: Path) -> Path:
    return folder / ".lock"


def _index_schema() -> pa.Schema:
    import pyarrow as pa

    columns = {"key": pa.string(), "count": pa.int32(), "crc32": pa.uint32()}
    columns |= {"file_stamp": pa.string(), "file_content": pa.string()}
    return pa.schema({**columns, "frame_indices": pa.list_(pa.int32()), "fps": pa.float64(), "num_frames": pa.int64()})


def _forget_in_shard(index_path: Path, contents: Collection[str]) -> int:
    """Write a shard again without the clips of these file contents; returns their number."""
    from safetensors.torch import load_file

    rows = _read_index(index_path).to_pylist()
    if not any(row["file_content"] in contents for row in rows):
        return 0
    data = index_path.with_suffix(".safetensors")
    counts = [row["count"] for row in rows]
    parts = load_file(data)["tokens"].split(counts)  # type: ignore[no-untyped-call]  # PyTorch's
    kept = [(row, part) for row, part in zip(rows, parts, strict=True) if row["file_content"] not in contents]
    index_path.unlink()  # without its index, the shard does not exist
    if kept:
        _write_shard(index_path, [row for row, _ in kept], [part for _, part in kept])
    else:
        data.unlink()
    return len(rows) - len(kept)


def _write_shard(index_path: Path, rows: list[dict[str, Any]], tokens: list[Tensor]) -> None:
    import pyarrow as pa
    import torch
    from safetensors.torch import save_file

    with atomic_path(index_path.with_suffix(".safetensors")) as temporary:
        save_file({"tokens": torch.cat(tokens)}, temporary)
    with parquet_writer(index_path, _index_schema()) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=_index_schema()))


def _read_index(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_file(path, f"delete {path.with_suffix('')}.* and run again")
        return pq.read_table(path, schema=_index_schema())
    except (pa.ArrowException, OSError) as error:
        stem = path.with_suffix("")
        raise DataError(f"{path} is not an index of visual tokens ({error}); delete {stem}.* and run again.") from error
