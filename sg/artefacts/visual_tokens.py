"""Visual tokens: what the frozen part of the model makes of a clip, computed once for every stage and evaluation.

A store is a folder: `visual_tokens.json` says what made the tokens and their type; a shard is `part-00000.safetensors`
(one tensor `tokens` [sum n, C] of many clips) and `part-00000.parquet` (a row a clip, in the same order: key, number of
tokens, CRC-32 of its bytes, size of the film, and which of its frames were taken). The Parquet file is written last: a
shard without one does not exist. Shards are only ever added, under a lock, so several processes may fill one store; a
clip that is added again, because its film was replaced, counts as in the last shard.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sg.core.errors import DataError, MissingInputError
from sg.core.files import atomic_path, file_lock, read_json, write_json

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

INFO_FILE = "visual_tokens.json"
BYTES_PER_VALUE = {"float16": 2, "bfloat16": 2, "float32": 4}
SHARD_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """Merged tokens of a clip before the projector, `tokens` [n, C] as stored, and the frames they were made of."""

    tokens: Tensor
    frame_indices: Sequence[int]
    fps: float
    num_frames: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a clip's tokens are, how many frames they were made of, and the bytes of its film."""

    shard: int
    row: int
    start: int
    count: int
    crc32: int
    film_bytes: int
    frame_count: int


class VisualTokenStore:
    """The visual tokens of many clips by key, read memory-mapped.

    Args:
        folder: where the store is, made before by `VisualTokenStore.create`.

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
            self.settings: dict[str, Any] = info["settings"]
            self.dtype: str = info["dtype"]
            self.channels: int = info["channels"]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{folder / INFO_FILE} does not describe a store of visual tokens; delete {folder}."
            ) from error
        self._entries: dict[str, _Entry] = {}
        self._shards: list[Path] = []
        self._open: dict[int, Any] = {}
        self._tables: dict[int, pa.Table] = {}
        self.refresh()

    @classmethod
    def create(
        cls, folder: Path, settings: Mapping[str, Any], channels: int, dtype: str = "float16"
    ) -> VisualTokenStore:
        """Open the store in `folder`, made first where there is none.

        `settings` is plain data that decides the tokens (tower, sampling, merging); `dtype` is float16, bfloat16 or
        float32.

        Raises:
            DataError: the folder holds tokens that were made with other settings.
        """
        if dtype not in BYTES_PER_VALUE:
            raise DataError(
                f"visual tokens cannot be stored as {dtype!r}: expected one of {', '.join(BYTES_PER_VALUE)}."
            )
        wanted = {"settings": dict(settings), "dtype": dtype, "channels": channels}
        with file_lock(_lock_path(folder)):
            if not (folder / INFO_FILE).is_file():
                write_json(folder / INFO_FILE, wanted)
            elif (found := read_json(folder / INFO_FILE)) != wanted:
                differing = sorted(key for key in wanted if found.get(key) != wanted[key])
                raise DataError(
                    f"{folder} holds visual tokens of other {', '.join(differing)}; delete it or use another."
                )
        return cls(folder)

    def refresh(self) -> None:
        """Take notice of shards that were added since, by this or another process."""
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

    def film_bytes(self, key: str) -> int | None:
        """Size of the film that the tokens of `key` were made of; None where the store has no tokens of it."""
        return self._entries[key].film_bytes if key in self._entries else None

    def frame_count(self, key: str) -> int:
        """Frames that the tokens of `key` were made of: how many placeholders stand for the clip."""
        return self._entry(key).frame_count

    def tokens(self, key: str) -> Tensor:
        """Tokens [n, C] of the clip `key` as stored, memory-mapped.

        Raises:
            MissingInputError: the store does not hold the clip.
            DataError: the shard is gone or damaged; the message names it.
        """
        entry = self._entry(key)
        tokens: Tensor = self._shard(entry.shard).get_slice("tokens")[entry.start : entry.start + entry.count]
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
        for key in self:
            self.tokens(key)
        return len(self)

    def writer(self, shard_bytes: int = SHARD_BYTES) -> VisualTokenWriter:
        """A context manager that adds clips in shards of about `shard_bytes`."""
        return VisualTokenWriter(self, shard_bytes)

    def __getstate__(self) -> dict[str, Any]:
        """Open files stay behind when the store goes to another process."""
        return {**self.__dict__, "_open": {}, "_tables": {}}

    def _entry(self, key: str) -> _Entry:
        if key not in self._entries:
            raise MissingInputError(
                f"There are no visual tokens of {key} in {self.folder}: run the stage again to add them."
            )
        return self._entries[key]

    def _add_shard(self, index_path: Path) -> None:
        table = _read_index(index_path)
        shard, start = len(self._shards), 0
        self._shards.append(index_path)
        frame_counts = [len(frames) for frames in table["frame_indices"]]
        columns = (table[name].to_pylist() for name in ("key", "count", "crc32", "film_bytes"))
        for row, (key, count, crc32, film_bytes) in enumerate(zip(*columns, strict=True)):
            self._entries[key] = _Entry(shard, row, start, count, crc32, film_bytes, frame_counts[row])
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
        return DataError(f"Shard {name} in {self.folder} is damaged ({what}): delete {name}.* to have it made again.")


class VisualTokenWriter:
    """Adds clips to a store; what was added before an interruption stays, whole shards at a time."""

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

    def add(self, key: str, clip: VisualTokens, film_bytes: int) -> None:
        """Add the tokens [n, C] of a clip, whose film has that size; what another process added is left as it is.

        Raises:
            DataError: the tokens have another width, or values that the store's type cannot hold.
        """
        import torch

        store, tokens = self._store, clip.tokens
        if tokens.ndim != 2 or tokens.shape[1] != store.channels:
            raise DataError(f"visual tokens of {key} have shape {tuple(tokens.shape)}, expected [n, {store.channels}]")
        stored = tokens.detach().to("cpu", getattr(torch, store.dtype)).contiguous()
        if not bool(torch.isfinite(stored).all()):
            raise DataError(f"visual tokens of {key} hold values that are no finite {store.dtype} numbers")
        row = {
            "key": key,
            "count": len(stored),
            "crc32": _checksum(stored),
            "film_bytes": film_bytes,
            "fps": float(clip.fps),
            "num_frames": int(clip.num_frames),
        }
        self._rows.append(row | {"frame_indices": [int(index) for index in clip.frame_indices]})
        self._tokens.append(stored)
        self._bytes += stored.nbytes
        if self._bytes >= self._shard_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what has been added as a shard, now."""
        store = self._store
        with file_lock(_lock_path(store.folder)):
            store.refresh()
            first = {row["key"]: position for position, row in reversed(list(enumerate(self._rows)))}
            new = sorted(at for key, at in first.items() if store.film_bytes(key) != self._rows[at]["film_bytes"])
            if new:
                taken = [int(path.stem.removeprefix("part-")) for path in store.folder.glob("part-*.parquet")]
                path = store.folder / f"part-{max(taken, default=-1) + 1:05d}.parquet"
                _write_shard(path, [self._rows[at] for at in new], [self._tokens[at] for at in new])
                store.refresh()
        self._rows, self._tokens, self._bytes = [], [], 0


def _checksum(tokens: Tensor) -> int:
    import torch

    return zlib.crc32(tokens.contiguous().view(torch.uint8).numpy().data)


def _lock_path(folder: Path) -> Path:
    return folder / ".lock"


def _index_schema() -> pa.Schema:
    import pyarrow as pa

    columns = {"key": pa.string(), "count": pa.int32(), "crc32": pa.uint32(), "film_bytes": pa.int64()}
    return pa.schema({**columns, "frame_indices": pa.list_(pa.int32()), "fps": pa.float64(), "num_frames": pa.int64()})


def _write_shard(index_path: Path, rows: list[dict[str, Any]], tokens: list[Tensor]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from safetensors.torch import save_file

    with atomic_path(index_path.with_suffix(".safetensors")) as temporary:
        save_file({"tokens": torch.cat(tokens)}, temporary)
    with atomic_path(index_path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=_index_schema()), temporary)


def _read_index(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, schema=_index_schema())
    except (pa.ArrowException, OSError) as error:
        stem = path.with_suffix("")
        raise DataError(
            f"{path} is no index of visual tokens ({error}); delete {stem}.* to have it made again."
        ) from error
