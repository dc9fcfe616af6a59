"""Captions: one text per video, with its provenance and cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.names import check_video_id
from sg.artefacts.tables import (
    ROWS_PER_BATCH,
    characters_of,
    column_hash,
    is_table,
    lengths_of,
    num_rows,
    read_info,
    read_table,
    record_batches,
    record_schema,
    repeated_id,
    rows_of,
    scan_table,
    write_batches,
)
from sg.core.errors import ConfigError, DataError
from sg.core.identity import Identity, differences, recorded

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

KIND = "captions"
_BYTES_AT_ONCE = 2**28
"""Text in memory while `StoredCaptions` computes its hash."""
CAPTIONS_FILE = "captions.parquet"
_REPEATED = "video {!r} has two captions, expected one row per video id"


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """One caption and its provenance. Costs and tokens are 0 for captions that were not bought."""

    video_id: str
    caption: str
    model: str = ""
    """The captioner or model: `demo`, `given`, `gemini-2.5-flash`, ..."""
    model_version: str = ""
    prompt_hash: str = ""
    parameters: str = "{}"
    """Generation settings, as JSON text."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    created_at: str = ""
    """ISO 8601, UTC."""
    quality_flags: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Captions(Mapping[str, str]):
    """Captions in memory: a mapping from video id to text, in the order of the file."""

    table: pa.Table
    info: dict[str, Any] = field(default_factory=dict)
    """Provenance: captioner, config, fingerprint, versions."""

    @cached_property
    def _texts(self) -> dict[str, str]:
        return dict(zip(self.table["video_id"].to_pylist(), self.table["caption"].to_pylist(), strict=True))

    def __getitem__(self, video_id: str) -> str:
        return self._texts[video_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def content_hash(self) -> str:
        """32 hex characters over ids and texts, independent of their order. Provenance and cost do not count."""
        return column_hash(self.table.select(["video_id", "caption"]).sort_by("video_id"), ["video_id", "caption"])

    def records(self) -> Iterator[CaptionRecord]:
        """Yields the rows as objects."""
        for batch in self.table.to_batches(max_chunksize=ROWS_PER_BATCH):
            for row in batch.to_pylist():
                yield CaptionRecord(**(row | {"quality_flags": tuple(row["quality_flags"])}))


def write_captions(path: Path, records: Iterable[CaptionRecord], info: Mapping[str, Any] | None = None) -> Path:
    """Write records in the given order, atomically; `info` is their provenance and is stored in the file.

    Raises:
        DataError: an id is unsafe or repeated, or a caption is empty.
    """
    schema = record_schema(CaptionRecord)
    write_batches(path, record_batches(records, schema, _check_record, _REPEATED), schema, KIND, info or {})
    return path


def read_captions(path: Path) -> Captions:
    """Read captions.

    Raises:
        MissingInputError: there is no such file.
        DataError: the file has another format, or an id is repeated.
    """
    table, info = read_table(path, record_schema(CaptionRecord), KIND)
    _check_unique(table["video_id"], path)
    return Captions(table, info)


def _check_unique(ids: pa.ChunkedArray, path: Path) -> None:
    """Raise DataError if an id of the captions in `path` is repeated."""
    if repeated_id(ids) is not None:
        raise DataError(f"{path}: a video has two captions, expected one row per video id")


class StoredCaptions:
    """The captions in a file that memory cannot hold: ten million captions of 90 words take five gigabytes.

    Ids are in memory. Texts are read for the videos that a step asks for, in one pass over the file.

    Raises:
        MissingInputError: there is no such file.
        DataError: the file has another format, or an id is repeated.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self._path = path
        chunks = [chunk for part in self._scan("video_id") for chunk in part["video_id"].chunks]
        self._ids = pa.chunked_array(chunks, pa.string())
        _check_unique(self._ids, path)

    def __len__(self) -> int:
        return len(self._ids)

    def among(self, videos: Sequence[str]) -> list[str]:
        """Those of `videos` that have a caption, in their order."""
        captioned = set(self._ids.to_pylist())
        return [video_id for video_id in videos if video_id in captioned]

    def texts(self, videos: Iterable[str]) -> dict[str, str]:
        """Captions by id, in the order of `videos`; without the videos that have none."""
        order = dict.fromkeys(videos, "")
        found: dict[str, str] = {}
        for part in self._scan("video_id", "caption"):
            rows = rows_of(part, order)
            found.update(zip(rows["video_id"].to_pylist(), rows["caption"].to_pylist(), strict=True))
        return {video_id: found[video_id] for video_id in order if video_id in found}

    def unique_among(self, videos: Sequence[str]) -> list[str]:
        """Those of `videos` whose caption no other one of them has, in their order."""
        import numpy as np
        import pyarrow as pa

        wanted, ids, digests = set(videos), [], [np.empty(0, np.uint64)]
        for part in self._scan("video_id", "caption"):
            rows = rows_of(part, wanted)
            ids += rows["video_id"].chunks
            hashes = b"".join(_digest(text) for text in rows["caption"].to_pylist())
            digests.append(np.frombuffer(hashes, np.uint64))
        del wanted
        _, kind, times = np.unique(np.concatenate(digests), return_inverse=True, return_counts=True)
        is_unique = pa.array(times[kind] == 1)
        unique = set(pa.chunked_array(ids, pa.string()).filter(is_unique).to_pylist())
        return [video_id for video_id in videos if video_id in unique]

    @cached_property
    def content_hash(self) -> str:
        """`Captions.content_hash` of the file."""
        import numpy as np
        import pyarrow.compute as pc

        # Ten million rows: every array of one number per row that is not kept counts.
        order = pc.sort_indices(self._ids).to_numpy().astype(np.uint32)
        digest = hashlib.blake2b(b"video_id\x00", digest_size=16)
        self._add_ids(digest, order)
        lengths = np.concatenate([np.empty(0, np.int32), *(lengths_of(c).astype(np.int32) for c in self._texts())])
        digest.update(b"caption\x00")
        for start in range(0, len(order), ROWS_PER_BATCH):
            digest.update(lengths[order[start : start + ROWS_PER_BATCH]].astype("<i8").tobytes())
        for part in self._sorted_texts(order, lengths):
            digest.update(characters_of(part))
        return digest.hexdigest()

    def _add_ids(self, digest: hashlib.blake2b, order: NDArray[np.uint32]) -> None:
        """Add the ids in this order; their copy is gone afterwards."""
        import pyarrow as pa

        ids = self._ids.take(pa.array(order))
        for chunk in ids.chunks:
            digest.update(lengths_of(chunk).tobytes())
        for chunk in ids.chunks:
            digest.update(characters_of(chunk))

    def _sorted_texts(self, order: NDArray[np.uint32], lengths: NDArray[np.int32]) -> Iterator[pa.Array]:
        """Yield the texts in the order of their ids, with one pass over the file for each part of them.

        Args:
            order: [n] the rows of the file in that order.
            lengths: [n] the bytes of each row's text.
        """
        import numpy as np
        import pyarrow as pa

        part_of, done = np.empty(len(order), np.int16), 0
        for start in range(0, len(order), ROWS_PER_BATCH):
            rows = order[start : start + ROWS_PER_BATCH]
            ends = done + np.cumsum(lengths[rows], dtype=np.int64)
            part_of[rows], done = ends // _BYTES_AT_ONCE, int(ends[-1])
        for number in range(int(part_of.max(initial=-1)) + 1):
            first, chosen = 0, []
            for chunk in self._texts():
                chosen.append(chunk.filter(pa.array(part_of[first : first + len(chunk)] == number)))
                first += len(chunk)
            texts = pa.concat_arrays(chosen)
            chosen.clear()
            # Of the rows of this part: the position of each one in `texts`, in the order of the ids.
            rows = order[part_of[order] == number]
            position = np.searchsorted(np.sort(rows), rows)
            for start in range(0, len(position), ROWS_PER_BATCH):
                yield texts.take(pa.array(position[start : start + ROWS_PER_BATCH]))

    def _texts(self) -> Iterator[pa.Array]:
        for part in self._scan("caption"):
            yield from part["caption"].chunks

    def _scan(self, *columns: str) -> Iterator[pa.Table]:
        return scan_table(self._path, record_schema(CaptionRecord), KIND, ROWS_PER_BATCH, columns)


def _check_record(record: CaptionRecord) -> None:
    check_video_id(record.video_id)
    if not record.caption.strip():
        raise DataError(f"caption of video {record.video_id!r} is empty: leave the row out instead")
    try:
        json.loads(record.parameters)
    except ValueError:
        raise DataError(f"parameters of the caption of {record.video_id!r} are not JSON") from None


def captions_place(folder: Path, recipe: Identity | None, *, for_writing: bool = False) -> Path:
    """The file of the captions that `recipe` wrote or will write, so that no recipe replaces the result of another.

    It is `captions.parquet` in `folder`, the folder of a captioner. If other settings wrote that file, it is the file
    of this name in a subfolder that the recipe names.

    Args:
        recipe: what decides the captions, whatever the videos; None if that is not known.
        for_writing: a file of unknown origin is not written to, but it is read.

    Raises:
        ConfigError: the recipe is not known, and the folder holds the captions of several.
    """
    first = folder / CAPTIONS_FILE
    if recipe is None:
        if found := sorted(folder.glob(f"*/{CAPTIONS_FILE}")):
            raise ConfigError(
                f"{folder} holds captions of several settings ({CAPTIONS_FILE}, {found[0].relative_to(folder)}): give "
                "the settings of the captioner that wrote the wanted ones, such as captioner.checkpoint."
            )
        return first
    own = folder / _without_version(recipe).name / CAPTIONS_FILE
    if own.is_file() or not is_table(first):
        return own if own.is_file() else first
    wrote = _recipe_of(first)
    is_free = wrote == _without_version(recipe) or (wrote is None and not for_writing)
    return first if is_free else own


def other_captions(folder: Path, recipe: Identity | None) -> str:
    """The captions in `folder` that other settings wrote, with what differs; empty if there are none."""
    found = []
    for path in (folder / CAPTIONS_FILE, *sorted(folder.glob(f"*/{CAPTIONS_FILE}"))):
        wrote = _recipe_of(path) if recipe is not None and is_table(path) else None
        if wrote is not None and recipe is not None and wrote != _without_version(recipe):
            changes = "; ".join(map(str, differences(wrote, _without_version(recipe))))
            found.append(f"{path} has {num_rows(path):,} captions of other settings ({changes})")
    return "; ".join(found)


def _recipe_of(path: Path) -> Identity | None:
    """What wrote the captions at `path`; None if that is not recorded."""
    wrote = recorded({"identity": read_info(path).get("recipe_identity")})
    return None if wrote is None else _without_version(wrote)


def _without_version(recipe: Identity) -> Identity:
    """The recipe whatever the version of the code: a new version writes its captions in the same place."""
    return replace(recipe, version=0)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
