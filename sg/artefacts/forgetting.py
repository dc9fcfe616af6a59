"""Removing videos from finished artefacts: from tables, vectors and merge forests, in place."""

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np

from sg.artefacts.forest import Forest, read_forest, subtree_sizes, write_forest
from sg.artefacts.tables import parquet_writer
from sg.artefacts.vectors import INFO_FILE, read_vectors_info, vector_parts, write_vectors_info
from sg.core.checksums import CHECKSUM_KEY, check_file
from sg.core.files import file_lock, read_json, write_record, write_text
from sg.core.fingerprints import file_hash


def drop_rows(path: Path, video_ids: Collection[str]) -> int:
    """Remove the rows of these videos from the Parquet file at `path`; returns their number.

    The file is deleted when no row remains. Its provenance stays.

    Raises:
        DataError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    check_file(path)
    table = pq.read_table(path)
    is_gone = pc.is_in(table["video_id"], value_set=pa.array(sorted(video_ids), pa.string()))
    kept = table.filter(pc.invert(is_gone))
    if len(kept) == len(table):
        return 0
    if len(kept):
        metadata = {key: value for key, value in (table.schema.metadata or {}).items() if key != CHECKSUM_KEY.encode()}
        with parquet_writer(path, table.schema.with_metadata(metadata)) as writer:
            writer.write_table(kept.replace_schema_metadata(metadata))
    else:
        path.unlink()
    return len(table) - len(kept)


def drop_lines(path: Path, video_ids: Collection[str]) -> int:
    """Remove the lines of these videos from a JSON Lines file whose objects have a `video_id`; returns their number."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    quoted = [json.dumps(video_id) for video_id in video_ids]
    kept = [line for line in lines if not any(video_id in line for video_id in quoted)]
    if len(kept) < len(lines):
        write_text(path, "".join(kept))
    return len(lines) - len(kept)


def forget_vectors(folder: Path, video_ids: Collection[str]) -> int:
    """Remove the vectors of these videos; returns their number. The next embedding makes the changed parts again."""
    removed = 0
    with file_lock(folder / "embed.lock", folder):
        for part in vector_parts(folder):
            status = part.with_suffix(".json")
            record = read_json(status) if status.is_file() else {}
            if count := drop_rows(part, video_ids):
                removed += count
                # Without it the part counts as unfinished. The checksum is that of the remaining vectors.
                checksum = {"checksum": file_hash(part)} if part.is_file() else {}
                files = {key: stamp for key, stamp in record.get("files", {}).items() if key not in video_ids}
                write_record(status, record | {"files": files} | checksum)
        if removed and (folder / INFO_FILE).is_file():
            info = read_vectors_info(folder)
            write_vectors_info(folder, info | {"videos": int(info.get("videos", removed)) - removed})
    return removed


def forget_in_forest(path: Path, video_ids: Collection[str]) -> int:
    """Remove these videos from the merge forest at `path`, as `without_videos` does; returns their number.

    A similarity between two videos that the removal brought together is not known afterwards.
    """
    with file_lock(path.parent / ".lock"):
        forest = read_forest(path)
        gone = [video_id for video_id in forest.video_ids if video_id in video_ids]
        if gone:
            write_forest(path, without_videos(forest, gone))
    return len(gone)


def without_videos(forest: Forest, video_ids: Collection[str]) -> Forest:
    """`forest` without these of its videos; the similarity of a video to a new parent is NaN.

    The child of a deleted video that was removed last takes its place in the order, and its merge; the other children
    are merged into that child.
    """
    row_of = {video_id: row for row, video_id in enumerate(forest.video_ids)}
    editable = _EditableForest(forest)
    for video_id in dict.fromkeys(video_ids):
        editable.delete(row_of[video_id])
    return editable.forest()


class _EditableForest:
    """A forest whose rows can be deleted; a place in the order of removals holds a row, or -1 if it was deleted."""

    def __init__(self, forest: Forest) -> None:
        self._forest = forest
        self._row_at = np.arange(len(forest))
        self._place_of = np.arange(len(forest))
        self._parent = forest.parent.copy()
        self._similarity, self._round = forest.similarity.copy(), forest.round.copy()
        self._rep_similarity = forest.rep_similarity.copy()
        self._children: dict[int, list[int]] = {}
        for row, parent in enumerate(forest.parent.tolist()):
            if parent >= 0:
                self._children.setdefault(parent, []).append(row)

    def delete(self, row: int) -> None:
        """Delete `row`; its last child takes its place."""
        place, parent = self._place_of[row], int(self._parent[row])
        self._row_at[place] = -1
        siblings = self._children.pop(row, [])
        if parent >= 0:
            self._children[parent].remove(row)
        if not siblings:
            return
        successor = max(siblings, key=lambda child: int(self._place_of[child]))
        self._row_at[self._place_of[successor]] = -1
        self._row_at[place], self._place_of[successor] = successor, place
        self._similarity[successor], self._round[successor] = self._similarity[row], self._round[row]
        self._link(successor, parent)
        for child in siblings:
            if child != successor:
                self._link(child, successor)

    def _link(self, row: int, parent: int) -> None:
        self._parent[row] = parent
        self._rep_similarity[row] = np.nan
        if parent >= 0:
            self._children.setdefault(parent, []).append(row)

    def forest(self) -> Forest:
        """The forest of the remaining rows."""
        rows = self._row_at[self._row_at >= 0]
        place = np.full(len(self._forest), -1)
        place[rows] = np.arange(len(rows))
        parent = np.where(self._parent[rows] >= 0, place[self._parent[rows]], -1)
        return Forest(
            video_ids=[self._forest.video_ids[row] for row in rows.tolist()],
            parent=parent,
            similarity=self._similarity[rows],
            round=self._round[rows],
            size=subtree_sizes(parent),
            rep_similarity=self._rep_similarity[rows],
            info=dict(self._forest.info),
        )
