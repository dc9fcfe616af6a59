"""The merge forest: one row a video, in the order in which curation removes them: any core is a tail.

`removed_at` is the row's place in the global order of removals; the core of size n is the n rows removed last, so every
core is part of every larger one. `merged_into` names the video that stands for a removed one (null where a curator has
no such notion, and for the last survivors): following it to a video of the core gives the cluster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.tables import read_info, write_batches
from sg.core.errors import ConfigError, DataError, MissingInputError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

FOREST_FILE = "forest.parquet"
KIND = "merge forest"
NO_ROUND = -2
"""Stands for a null `round` in memory."""
COLLAPSE_ROUND = -1
"""The `round` of exact duplicates, which go first."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """A merge forest in memory; row i was removed i-th.

    Arrays have length N: `parent` int64 (row of `merged_into`, -1 for none), `similarity` and `rep_similarity` float32
    (NaN for null), `round` int32 (`NO_ROUND` for null), `size` int64 (videos the row stood for when it was removed).
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
        """Ids of the core of size `n`, the video removed last first: core(m) is the beginning of core(n) for m < n."""
        self._check_scale(n)
        return self.video_ids[len(self) - n :][::-1]

    def assignment(self, n: int) -> NDArray[np.int64]:
        """[N] row of the core member that stands for each row at size `n`; -1 where no one does."""
        import numpy as np

        self._check_scale(n)
        first_alive = len(self) - n
        rows = np.arange(len(self))
        owner = np.where((rows >= first_alive) | (self.parent < 0), rows, self.parent)
        while not np.array_equal(owner, further := owner[owner]):
            owner = further
        return np.where(owner >= first_alive, owner, -1)

    def clusters(self, n: int) -> dict[str, list[str]]:
        """Core member -> the videos it stands for at size `n`, itself first, then from the last removed to the first.

        Videos without a survivor (curators without `merged_into`) are in no cluster.
        """
        import numpy as np

        if n == 0:
            return {}
        owner = self.assignment(n)[::-1]
        rows = np.arange(len(self))[::-1]
        order = np.argsort(-owner, kind="stable")[: int((owner >= 0).sum())]
        owners, members = owner[order], rows[order].tolist()
        starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]]).tolist()
        ends = [*starts[1:], len(members)]
        ids = self.video_ids
        groups = ([ids[row] for row in members[start:end]] for start, end in zip(starts, ends, strict=True))
        return {group[0]: group for group in groups}

    def cut_similarity(self, n: int) -> float | None:
        """Similarity of the last merge on the way down to size `n`; None when nothing was merged or it has none."""
        import math

        self._check_scale(n)
        value = float(self.similarity[len(self) - n - 1]) if n < len(self) else math.nan
        return None if math.isnan(value) else value

    @property
    def content_hash(self) -> str:
        """16 hex digits naming the order of removal and the clusters; scores that rounding may move do not count."""
        digest = hashlib.blake2b(digest_size=8)
        for video_id in self.video_ids:
            digest.update(video_id.encode() + b"\n")
        digest.update(self.parent.astype("<i8").tobytes())
        return digest.hexdigest()

    def _check_scale(self, n: int) -> None:
        if not 0 <= n <= len(self):
            raise ConfigError(f"A core of {n} videos is more than the {len(self)} of the merge forest: choose fewer.")


def subtree_sizes(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] number of videos each row stands for, itself included, for parents that come later than their children."""
    import numpy as np

    sizes = [1] * len(parent)
    for row, up in enumerate(parent.tolist()):
        if up >= 0:
            sizes[up] += sizes[row]
    return np.array(sizes, dtype=np.int64)


def write_forest(path: Path, forest: Forest) -> Path:
    """Check `forest` and write it as Parquet, atomically; `forest.info` is kept in the file's metadata."""
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
    """Read a merge forest and check what every user of it relies on.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is truncated, lacks a column, or breaks an invariant (unique ids; `removed_at` is 0..N-1; every
            video is merged into one that is removed later; sizes add up).
    """
    table = _read_table(path)
    parent = _parents(table, path)
    forest = Forest(
        video_ids=table["video_id"].to_pylist(),
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
    """DataError when `forest` breaks an invariant; `origin` is named."""
    import numpy as np

    count = len(forest)
    columns: Mapping[str, NDArray[Any]] = {
        name: getattr(forest, name) for name in ("parent", "similarity", "round", "size", "rep_similarity")
    }
    for name, values in columns.items():
        if values.shape != (count,):
            raise DataError(f"{origin}: {name} has {values.shape} values for {count} videos: curate again.")
    if len(set(forest.video_ids)) != count:
        raise DataError(f"{origin}: {count - len(set(forest.video_ids))} video ids repeat: curate again.")
    early = (forest.parent >= 0) & (forest.parent <= np.arange(count))
    if early.any() or (forest.parent >= count).any():
        row = int(np.flatnonzero(early | (forest.parent >= count))[0])
        raise DataError(f"{origin}: {forest.video_ids[row]!r} is not merged into a video removed later: curate again.")
    wrong = forest.size != subtree_sizes(forest.parent)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{origin}: {forest.video_ids[row]!r} has size {forest.size[row]}, but another number of videos is "
            "merged into it: curate again."
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
            raise DataError(f"{path}: removed_at is no numbering from 0 to {len(table) - 1}: curate again.")
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
        raise DataError(f"{path}: a video is merged into {name!r}, which is no row of the forest: curate again.")
    # A null in merged_into is looked up as a value; no id is null, so it stays null.
    result: NDArray[np.int64] = rows.fill_null(-1).to_numpy(zero_copy_only=False).astype("int64")
    return result


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A float32 column with NaN for null."""
    values: NDArray[np.float32] = column.fill_null(float("nan")).to_numpy().astype("float32")
    return values
