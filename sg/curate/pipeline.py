"""From vectors to the merge forest: one function for the command, the study and the notebooks."""

import dataclasses
import logging
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sg.artefacts.captions import Captions, read_captions
from sg.artefacts.forest import FOREST_FILE, write_forest
from sg.artefacts.tables import read_info
from sg.artefacts.vectors import read_vector_ids, read_vectors_info, vectors_fingerprint
from sg.core.errors import DataError
from sg.core.files import file_lock, read_record, write_record
from sg.core.fingerprints import fingerprint
from sg.core.identity import Identity, identity, made_by
from sg.curate.inputs import CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.settings import CuratorConfig
from sg.curate.videos import choose_ids

log = logging.getLogger(__name__)

CURATION_VERSION = 1
"""To be raised when the same vectors, captions and settings give another merge forest than before."""

CURATION_FILE = "curation.json"
UNFINISHED_FOLDER = "unfinished"


def curate(
    config: CuratorConfig,
    vectors_folder: Path,
    captions_path: Path | None,
    out_folder: Path,
    *,
    wanted: Sequence[str] | None = None,
    missing: Literal["error", "skip"] = "error",
) -> Path:
    """Write `forest.parquet` and `curation.json` into `out_folder` and return the path of the forest.

    A finished forest of the same identity is kept as it is; an unfinished run of the same identity is resumed.

    Args:
        config: settings of a registered curator (`TomeConfig`, ...).
        vectors_folder: the vectors, see `sg.artefacts.vectors`.
        captions_path: captions, whose lengths break ties between equally good representatives; None where there are
            none yet.
        out_folder: usually `curation/<curator.name>`.
        wanted: ids of the videos to curate (the usable ones of a manifest); None takes all that have a vector.
        missing: what to do when a wanted video has no vector: stop, or leave it out and record it.

    Raises:
        MissingInputError: there are no vectors or captions.
        DataError: they break their format, or a wanted video has no vector.
        ConfigError: settings contradict each other or the unfinished run in `out_folder`.
    """
    captions = captions_for(config, captions_path)
    work = curation_identity(config, vectors_folder, captions, wanted, missing)
    path = out_folder / FOREST_FILE
    with file_lock(out_folder / ".lock"):
        if is_curated(path, work):
            log.info("curation: reused %s", path)
            return path
        _curate(config, vectors_folder, captions, out_folder, work, wanted, missing)
    return path


def is_curated(path: Path, work: Identity) -> bool:
    """True when the merge forest at `path` has this identity."""
    record = read_record(path.parent / CURATION_FILE)
    return record.get("fingerprint") == work.name == read_info(path).get("fingerprint")


def curation_identity(
    config: CuratorConfig, vectors_folder: Path, captions: Captions | None, wanted: Sequence[str] | None, missing: str
) -> Identity:
    """All that decides the result; `wanted` counts only if it differs from the ids of all vectors."""
    is_all = wanted is None or set(wanted) == set(read_vector_ids(vectors_folder))
    inputs = {
        "vectors": vectors_fingerprint(vectors_folder),
        "captions": captions.content_hash if captions is not None else None,
        "videos": None if is_all else {"ids": fingerprint(sorted(wanted or [])), "missing": missing},
    }
    return identity("curation", settings=config, inputs=inputs, version=CURATION_VERSION)


def captions_for(config: CuratorConfig, path: Path | None) -> Captions | None:
    """The captions at `path`, if there are any and the curator uses them."""
    return read_captions(path) if path is not None and config.uses_captions else None


def _curate(
    config: CuratorConfig,
    vectors_folder: Path,
    captions: Captions | None,
    out_folder: Path,
    work: Identity,
    wanted: Sequence[str] | None,
    missing: Literal["error", "skip"],
) -> None:
    from sg.curate.tome.resume import RunStore

    started = time.monotonic()
    store = RunStore(out_folder / UNFINISHED_FOLDER, work, getattr(config, "checkpoint_every_s", 30.0))
    video_ids, excluded = choose_ids(read_vector_ids(vectors_folder), wanted, missing)
    if not video_ids:
        raise DataError(f"There is no video to curate: {vectors_folder} holds no vector of a usable video.")
    curated = CURATORS.of(config)(CuratorInputs(vectors_folder, captions, video_ids, store), config)
    forest, info = curated.forest, read_vectors_info(vectors_folder)
    forest.info["fingerprint"] = work.name
    write_record(
        out_folder / CURATION_FILE,
        {
            "fingerprint": work.name,
            **made_by(work),
            "config": dataclasses.asdict(config),
            "versions": _versions(),
            "seconds": round(time.monotonic() - started, 3),
            "vectors": {"dim": info.get("dim"), "rows": len(forest), "info": info},
            "excluded": excluded,
            **curated.details,
        },
    )
    # The forest is written last: it marks the curation as finished.
    write_forest(out_folder / FOREST_FILE, forest)
    store.delete()


def _versions() -> dict[str, Any]:
    from importlib.metadata import version

    return {"python": platform.python_version()} | {name: version(name) for name in ("numpy", "torch", "pyarrow")}
