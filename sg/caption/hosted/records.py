"""The output files of a ledger: `captions.parquet` for training, `records.parquet` with the whole provenance."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.captions import CaptionRecord, captions_place, write_captions
from sg.artefacts.tables import num_rows, parquet_writer
from sg.caption.captioners import CAPTIONERS, captions_info, of_manifest
from sg.caption.cleaning import clean_caption
from sg.caption.hosted.engine.outcomes import SCHEMA_VERSION
from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.hosted.prices import Price
from sg.caption.hosted.services.records import Service
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import SUCCEEDED
from sg.caption.quality.duplicates import Repeated
from sg.core.files import write_record
from sg.core.fingerprints import file_hash
from sg.core.identity import Identity, identity

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

RECORDS_FILE = "records.parquet"
CAPTIONS_VERSION = 1
"""Raised when the same answers would give another `captions.parquet`."""
_ROWS_PER_BATCH, _ROWS_PER_GROUP = 200, 5000
_TEXTS = ("source", "split", "media_sha256", "finish_reason", "block_reason", "model", "model_version", "backend",
          "api_version", "params_hash", "transport", "batch_job", "request_id", "run_id", "started_at", "finished_at",
          "source_licence")  # fmt: skip
_NUMBERS = ("clip_start_s", "clip_end_s", "duration_s", "cost_usd")
_COUNTS = ("schema_version", "media_bytes", "attempts")
_FLAGS = ("has_audio", "drifted", "cost_estimated")
_JSON = ("proxy", "structured", "gates", "sdk", "prompt", "params", "tokens", "price_row")


def write_results(db: sqlite3.Connection, recipe: Recipe, folder: Path, manifest_hash: str) -> Path:
    """Write both files from the ledger, captions only if there are any; returns the path of the captions.

    They are written into `folder`, or into a subfolder if `folder` holds the captions of another recipe.
    """
    work = captions_recipe(recipe)
    path = captions_place(folder, work, for_writing=True)
    records = path.with_name(RECORDS_FILE)
    write_records(records, reading.results_by_item(db, recipe.name))
    info = captions_info(of_manifest(work, manifest_hash), work, recipe.config.name, manifest_hash)
    captions = 0
    rows = caption_rows(db, recipe)
    if (first := next(rows, None)) is not None:
        write_captions(path, chain([first], rows), info)
        captions = num_rows(path)
    counts = reading.states(db, recipe.name)
    if left_out := counts.get(SUCCEEDED, 0) - captions:
        log.warning(
            "%s captions are left out: more than captioner.max_duplicates=%d videos share their text",
            f"{left_out:,}",
            recipe.config.max_duplicates,
        )
    prompt = {"id": recipe.prompt.prompt_id, "version": recipe.prompt.version, "texts": dict(recipe.prompt.sections)}
    described = {"states": counts, "captions": captions, "prompt": prompt, "recipe": recipe.name}
    described["files"] = {file.name: file_hash(file) for file in (path, records) if file.is_file()}
    write_record(path.with_name("manifest.json"), described)
    return path


def captions_recipe(recipe: Recipe) -> Identity:
    """What decides `captions.parquet`, whatever the videos: the answers, and which of them are left out."""
    settings = {"max_duplicates": recipe.config.max_duplicates, "language": recipe.config.language}
    inputs = {"answers": recipe.identity.plain()}
    return identity("captions", settings=settings, inputs=inputs, version=CAPTIONS_VERSION)


def caption_rows(db: sqlite3.Connection, recipe: Recipe) -> Iterator[CaptionRecord]:
    """The captions to train on: those of tasks that succeeded, without texts that too many videos share."""
    too_often = Repeated(recipe.config.max_duplicates)
    for text in reading.texts(db, recipe.name, SUCCEEDED):
        too_often.note(text)
    parameters = json.dumps(recipe.parameters, sort_keys=True)
    for row in reading.results(db, recipe.name, SUCCEEDED):
        if row.text in too_often:
            continue
        text, flags = clean_caption(row.text)
        record, tokens = row.record, row.record["tokens"]
        warned = [gate for gate, _, verdict, _ in record["gates"] if verdict != "pass"]
        if record.get("drifted"):
            warned.append("model_drift")
        yield CaptionRecord(
            video_id=row.video_id,
            caption=text,
            model=record["model"],
            model_version=record["model_version"],
            prompt_hash=record["prompt"]["hash"],
            parameters=parameters,
            input_tokens=tokens["input"],
            output_tokens=tokens["output"] + tokens["thinking"],
            cost_usd=record["cost_usd"],
            created_at=datetime.fromtimestamp(row.created, UTC).isoformat(timespec="seconds"),
            quality_flags=(*flags, *warned),
        )


def write_records(path: Path, rows: Iterable[reading.Recorded]) -> None:
    """Write one row per result of any state, with its provenance; nested values are JSON."""
    import pyarrow as pa

    schema = _schema(pa)
    with parquet_writer(path, schema) as writer:
        remaining = iter(rows)
        while batches := list(_batches(islice(remaining, _ROWS_PER_GROUP), schema)):
            writer.write_table(pa.Table.from_batches(batches))


def _batches(rows: Iterator[reading.Recorded], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows as Arrow, a few at a time: Python objects take ten times as much memory."""
    import pyarrow as pa

    while flat := [_flat(row) for row in islice(rows, _ROWS_PER_BATCH)]:
        yield pa.RecordBatch.from_pylist(flat, schema=schema)


def _schema(arrow: Any) -> pa.Schema:
    fields = [(name, arrow.string()) for name in ("task_key", "item_key", "video_id", "status", "caption")]
    fields += [(name, arrow.string()) for name in (*_TEXTS, *_JSON)]
    fields += [(name, arrow.float64()) for name in _NUMBERS] + [(name, arrow.int64()) for name in _COUNTS]
    return arrow.schema(fields + [(name, arrow.bool_()) for name in _FLAGS])


def _flat(row: reading.Recorded) -> Mapping[str, Any]:
    values: dict[str, Any] = {"task_key": row.task_key, "item_key": row.item_key, "video_id": row.video_id}
    values |= {"status": row.status, "caption": row.text}
    values |= {name: row.record.get(name) for name in (*_TEXTS, *_NUMBERS, *_COUNTS, *_FLAGS)}
    return values | {name: json.dumps(row.record.get(name), ensure_ascii=False) for name in _JSON}


def origin(recipe: Recipe, service: Service, run_id: str, price: Price) -> dict[str, Any]:
    """The values of a run that every record repeats."""
    config, prompt = recipe.config, recipe.prompt
    return {
        "schema_version": SCHEMA_VERSION,
        "model": config.model.name,
        "backend": CAPTIONERS.name_of(config),
        "sdk": {"name": service.sdk[0], "version": service.sdk[1]},
        "api_version": config.api_version,
        "prompt": {"id": prompt.prompt_id, "version": prompt.version, "hash": prompt.content_hash},
        "params_hash": recipe.params_hash,
        "price_row": price.row,
        "run_id": run_id,
    }
