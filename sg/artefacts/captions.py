"""Captions: one text per video, with its provenance and cost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.names import check_video_id
from sg.artefacts.tables import (
    ROWS_PER_BATCH,
    column_hash,
    is_table,
    num_rows,
    read_info,
    read_table,
    record_batches,
    record_schema,
    repeated_id,
    write_batches,
)
from sg.core.errors import ConfigError, DataError
from sg.core.identity import Identity, differences, recorded

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "captions"
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
    check_unique(table["video_id"], path)
    return Captions(table, info)


def check_unique(ids: pa.ChunkedArray, path: Path) -> None:
    """Raise DataError if an id of the captions in `path` is repeated."""
    if repeated_id(ids) is not None:
        raise DataError(f"{path}: a video has two captions, expected one row per video id")


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
