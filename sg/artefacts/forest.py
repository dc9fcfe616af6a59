"""The merge forest: one row per video, in the order in which curation removes the videos.

`removed_at` is the position of a row in that order. The core of size n is the n rows removed last, so each core is part
of every larger one. `merged_into` names the video that represents a removed one. It is null for the last
survivors, and for curators that do not merge. The cluster of a video is found by following `merged_into` to a video of
the core.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.tables import read_info, write_batches
from sg.core.checksums import check_file
from sg.core.errors import ConfigError, DataError, MissingInputError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

FOREST_FILE = "forest.parquet"
KIND = "merge forest"
NO_ROUND = -2
"""Represents a null `round` in memory."""
COLLAPSE_ROUND = -1
"""The `round` of exact duplicates, which are removed first."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """A merge forest in memory; row i is removed i-th. All arrays have length N.

    Attributes:
        parent: row of `merged_into`, -1 for none.
        similarity: of the merge; NaN for null.
        round: of the merge; `NO_ROUND` for null.
        size: number of videos that the row represented when it was removed, itself included.
        rep_similarity: cosine of the row's own vector and that of `merged_into`; NaN for null.
    """

    video_ids: list[str]
    parent: NDArray[np.int64]
    similarity: NDArray[np.float32]
    round: NDArray[np.int32]
    size: NDArray[np.int64]
    rep_similarity: NDArray[np.float32]
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.video_ids)

    def core(self, n: int) -> list[str]:
        """Ids of the core of size `n`, the video removed last first. For m < n, core(m) is the beginning of core(n)."""
        self._check_scale(n)
        return self.video_ids[len(self) - n :][::-1]

    def assignment(self, n: int) -> NDArray[np.int64]:
        """[N] row of the core member that represents each row at size `n`; -1 for a row without one."""
        import numpy as np

        self._check_scale(n)
        first_alive = len(self) - n
        rows = np.arange(len(self))
        # One merge per row. Members of the core and rows without a parent point to themselves.
        owner = np.where((rows >= first_alive) | (self.parent < 0), rows, self.parent)
        # Pointer jumping: each pass doubles the length of the followed chains, so log2(depth) passes suffice. Chains
        # end, because a video is merged only into one that is removed later.
        while not np.array_equal(owner, further := owner[owner]):
            owner = further
        return np.where(owner >= first_alive, owner, -1)

    def clusters(self, n: int) -> dict[str, list[str]]:
        """{core member: videos that it represents at size `n`}: the member, then the others, those removed last first.

        Videos without a representative (of curators that do not merge) are in no cluster.
        """
        import numpy as np

        if n == 0:
            return {}
        # Reversed, so that a stable sort by owner puts the member itself first: all its videos are removed earlier.
        owner = self.assignment(n)[::-1]
        rows = np.arange(len(self))[::-1]
        order = np.argsort(-owner, kind="stable")[: int((owner >= 0).sum())]  # the rows without an owner sort last
        owners, members = owner[order], rows[order].tolist()
        starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]]).tolist()
        ends = [*starts[1:], len(members)]
        ids = self.video_ids
        groups = ([ids[row] for row in members[start:end]] for start, end in zip(starts, ends, strict=True))
        return {group[0]: group for group in groups}

    def cut_similarity(self, n: int) -> float | None:
        """Similarity of the last merge before size `n` is reached; None if there is none or it has no similarity."""
        import math

        self._check_scale(n)
        value = float(self.similarity[len(self) - n - 1]) if n < len(self) else math.nan
        return None if math.isnan(value) else value

    @property
    def content_hash(self) -> str:
        """16 hex digits over the order of removal and the clusters, not over similarities, which rounding changes."""
        digest = hashlib.blake2b(digest_size=8)
        for video_id in self.video_ids:
            digest.update(video_id.encode() + b"\n")
        digest.update(self.parent.astype("<i8").tobytes())
        return digest.hexdigest()

    def _check_scale(self, n: int) -> None:
        if not 0 <= n <= len(self):
            raise ConfigError(
                f"A core of {n} videos was asked for, but the merge forest has {len(self)}: choose a smaller scale."
            )


def subtree_sizes(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] number of videos that each row represents, itself included. Parents must come later than their children."""
    import numpy as np

    # In order of the rows, so that the size of a row is complete before it is added to its parent.
    sizes = [1] * len(parent)
    for row, up in enumerate(parent.tolist()):
        if up >= 0:
            sizes[up] += sizes[row]
    return np.array(sizes, dtype=np.int64)


def write_forest(path: Path, forest: Forest) -> Path:
    """Check `forest` and write it as Parquet, atomically; `forest.info` becomes the file's metadata."""
    import numpy as np
    import pyarrow as pa

    check_forest(forest, path)
    ids = pa.array(forest.video_ids, pa.string())
    indices = pa.array(np.maximum(forest.parent, 0), mask=forest.parent < 0)
    columns = {
        "video_id": ids,
        "removed_at": pa.array(np.arange(len(forest))),
        "merged_into": ids.take(indices) if len(ids) else pa.array([], pa.string()),
        "similarity": pa.array(forest.similarity, mask=np.isnan(forest.similarity)),
        "round": pa.array(forest.round, mask=forest.round == NO_ROUND),
        "size": pa.array(forest.size),
        "rep_similarity": pa.array(forest.rep_similarity, mask=np.isnan(forest.rep_similarity)),
    }
    schema = _schema()
    batch = pa.record_batch([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)
    write_batches(path, [batch], schema, KIND, forest.info)
    return path


def read_forest(path: Path) -> Forest:
    """Read a merge forest and check its invariants.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is truncated, lacks a column, or violates an invariant: ids are unique, `removed_at` is 0..N-1,
            each video is merged into one that is removed later, and sizes add up.
    """
    import pyarrow as pa

    table = _read_table(path)
    # Ten million ids take 800 MB as Python texts, and twice 270 MB in the table: one copy at a time. The reader of
    # Parquet keeps as much unused memory as the table takes.
    names, table = table.select(["video_id", "merged_into"]), table.drop_columns(["video_id", "merged_into"])
    names = names.combine_chunks()
    pa.default_memory_pool().release_unused()
    parent = _parents(names, path)
    names = names.select(["video_id"])
    pa.default_memory_pool().release_unused()
    forest = Forest(
        video_ids=names["video_id"].to_pylist(),
        parent=parent,
        similarity=_floats(table["similarity"]),
        round=table["round"].fill_null(NO_ROUND).to_numpy().astype("int32"),
        size=table["size"].to_numpy(),
        rep_similarity=_floats(table["rep_similarity"]),
        info=read_info(path),
    )
    check_forest(forest, path)
    return forest


def check_forest(forest: Forest, origin: Path) -> None:
    """Check the invariants of `forest`; DataError if one is violated; the message names `origin`."""
    import numpy as np

    count = len(forest)
    columns: Mapping[str, NDArray[Any]] = {
        name: getattr(forest, name) for name in ("parent", "similarity", "round", "size", "rep_similarity")
    }
    for name, values in columns.items():
        if values.shape != (count,):
            raise DataError(f"{origin}: {name} has {values.shape} values for {count} videos: curate again.")
    # A set of ten million texts takes a gigabyte; their hashes take 80 MB. Two texts rarely have the same hash.
    hashes = np.fromiter(map(hash, forest.video_ids), np.int64, count)
    if len(np.unique(hashes)) != count and len(set(forest.video_ids)) != count:
        raise DataError(f"{origin}: {count - len(set(forest.video_ids))} video ids repeat: curate again.")
    early = (forest.parent >= 0) & (forest.parent <= np.arange(count))
    if early.any() or (forest.parent >= count).any():
        row = int(np.flatnonzero(early | (forest.parent >= count))[0])
        raise DataError(f"{origin}: {forest.video_ids[row]!r} is not merged into a video removed later: curate again.")
    # Children come before their parents: if every size is one more than the sizes of the children, all are right.
    merged = forest.parent >= 0
    of_children = np.bincount(forest.parent[merged], weights=forest.size[merged], minlength=count)
    wrong = forest.size != 1 + of_children[:count]
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{origin}: {forest.video_ids[row]!r} has size {forest.size[row]}, but a different number of videos "
            "is merged into it: curate again."
        )


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("video_id", pa.string(), nullable=False),
            pa.field("removed_at", pa.int64(), nullable=False),
            pa.field("merged_into", pa.string()),
            pa.field("similarity", pa.float32()),
            pa.field("round", pa.int32()),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("rep_similarity", pa.float32()),
        ]
    )


def _read_table(path: Path) -> pa.Table:
    """The columns of a forest, sorted by `removed_at`, which is checked to be 0..N-1."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise MissingInputError(f"There is no merge forest at {path}: make it with `python -m sg.curate`.")
    schema = _schema()
    try:
        check_file(path, "delete it and curate again")
        file = pq.ParquetFile(path)
        lacking = [name for name in schema.names if name not in file.schema_arrow.names]
        if lacking:
            raise DataError(f"{path} has no column {lacking[0]!r}: a merge forest has {', '.join(schema.names)}.")
        table = file.read(columns=schema.names).select(schema.names)
        nulls = [name for name in ("video_id", "removed_at", "size") if table[name].null_count]
        if nulls:
            raise DataError(f"{path}: column {nulls[0]!r} has empty rows: curate again.")
        table = table.cast(schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a merge forest ({str(error).splitlines()[0]}): curate again."
        ) from error
    removed_at = table["removed_at"].to_numpy()
    if not np.array_equal(removed_at, np.arange(len(table))):
        table = table.sort_by("removed_at")
        if not np.array_equal(table["removed_at"].to_numpy(), np.arange(len(table))):
            raise DataError(f"{path}: removed_at does not number the rows from 0 to {len(table) - 1}: curate again.")
    return table


def _parents(table: pa.Table, path: Path) -> NDArray[np.int64]:
    """[N] row of `merged_into`, -1 for null."""
    import pyarrow.compute as pc

    ids = table["video_id"].combine_chunks()
    into = table["merged_into"].combine_chunks()
    rows = pc.index_in(into, value_set=ids)
    unknown = pc.and_(pc.is_null(rows), pc.is_valid(into))
    if pc.any(unknown).as_py():
        name = into.filter(unknown)[0].as_py()
        raise DataError(f"{path}: a video is merged into {name!r}, which is not a row of the forest: curate again.")
    # index_in looks up a null of merged_into like a value. No id is null, so the result is null.
    result: NDArray[np.int64] = rows.fill_null(-1).to_numpy(zero_copy_only=False).astype("int64")
    return result


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A float32 column with NaN for null."""
    values: NDArray[np.float32] = column.fill_null(float("nan")).to_numpy().astype("float32")
    return values
