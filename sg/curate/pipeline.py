"""From vectors to the merge forest: one function for the command, the study and the notebooks."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sg.artefacts.captions import Captions, read_captions
from sg.artefacts.forest import COLLAPSE_ROUND, FOREST_FILE, Forest, write_forest
from sg.artefacts.tables import read_info
from sg.artefacts.vectors import read_vector_ids, read_vectors, read_vectors_info, vectors_fingerprint
from sg.core.errors import ConfigError, DataError
from sg.core.files import file_lock, write_json
from sg.core.fingerprints import fingerprint
from sg.curate.baselines.config import (
    D4Config,
    DbpConfig,
    HierarchicalKMeansConfig,
    KMeansConfig,
    LongestCaptionConfig,
    PrototypesConfig,
    RandomConfig,
    SemDedupConfig,
)
from sg.curate.config import CuratorConfig, ShardedTomeConfig, TomeConfig
from sg.curate.removals import Removals, assemble_forest, forest_of
from sg.curate.videos import Videos, load_videos, select_videos

if TYPE_CHECKING:
    from sg.curate.tome.resume import RunStore

log = logging.getLogger(__name__)

CURATION_FILE = "curation.json"
UNFINISHED_FOLDER = "unfinished"
_OPERATIONAL = ("name", "device", "block_rows", "block_columns", "projected_dims", "checkpoint_every_s")
"""Settings that leave no trace in the result."""
_OF_CANDIDATES = ("rows_per_cell", "probed_cells", "exact_below", "verify_sample")
"""Settings of the matchers that compare with likely candidates only."""

_BASELINES = {
    RandomConfig: ("selection", "random_removals"),
    LongestCaptionConfig: ("selection", "longest_caption_removals"),
    KMeansConfig: ("kmeans", "kmeans_removals"),
    SemDedupConfig: ("semdedup", "semdedup_removals"),
    PrototypesConfig: ("prototypes", "prototype_removals"),
    D4Config: ("prototypes", "d4_removals"),
    DbpConfig: ("dbp", "dbp_removals"),
    HierarchicalKMeansConfig: ("hierarchical", "hierarchical_removals"),
}
"""Module and function of each other curator; imported when used, since torch takes seconds to import."""


@dataclass(frozen=True, slots=True)
class CuratedOrder:
    """What a curator decides: the removals, and what it has to tell about them (plain data)."""

    removals: Removals
    details: dict[str, Any]


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

    Finished work of the same vectors, captions and settings is kept as it is; unfinished work is taken up.

    Args:
        config: one of the curator configs (`TomeConfig`, ...).
        vectors_folder: the vectors, see `sg.artefacts.vectors`.
        captions_path: captions, whose lengths break ties between equally good representatives; None where there are
            none yet.
        out_folder: usually `curation/<curator.name>`.
        wanted: ids of the videos to curate (the usable ones of a manifest); None takes all that have a vector.
        missing: what to do when a wanted video has no vector: stop, or leave it out and record it.

    Raises:
        MissingInputError: there are no vectors or captions.
        DataError: they break their format, or a wanted video has no vector.
        ConfigError: settings contradict each other or the unfinished work in `out_folder`.
    """
    captions = captions_for(config, captions_path)
    identity = curation_identity(config, vectors_folder, captions, wanted, missing)
    path = out_folder / FOREST_FILE
    with file_lock(out_folder / ".lock"):
        if is_curated(path, identity):
            log.info("curation: %s is there already", path)
            return path
        _curate(config, vectors_folder, captions, out_folder, identity, wanted, missing)
    return path


def uses_captions(config: CuratorConfig) -> bool:
    """True when the lengths of captions can change what the curator does."""
    return isinstance(config, LongestCaptionConfig) or getattr(config, "survivor", "dst") != "dst"


def is_curated(path: Path, identity: Mapping[str, Any]) -> bool:
    """True when the merge forest at `path` was made from that input with those settings."""
    return (path.parent / CURATION_FILE).is_file() and read_info(path).get("fingerprint") == fingerprint(identity)


def curation_identity(
    config: CuratorConfig,
    vectors_folder: Path,
    captions: Captions | None,
    wanted: Sequence[str] | None,
    missing: str,
) -> dict[str, Any]:
    """All that decides the result, as plain data; `wanted` counts only where it is not all that has a vector."""
    is_all = wanted is None or set(wanted) == set(read_vector_ids(vectors_folder))
    return {
        "curator": type(config).__name__,
        "settings": _settings_that_matter(config),
        "vectors": vectors_fingerprint(vectors_folder),
        "captions": captions.content_hash if captions is not None else None,
        "videos": None if is_all else {"ids": fingerprint(sorted(wanted or [])), "missing": missing},
    }


def _settings_that_matter(config: CuratorConfig) -> dict[str, Any]:
    """The settings that decide the result; `projected` gives the bits of `exact`, so it counts as that."""
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in _OPERATIONAL}
    if settings.get("matcher") in ("exact", "projected"):
        settings = {key: value for key, value in settings.items() if key not in _OF_CANDIDATES} | {"matcher": "exact"}
    return settings


def captions_for(config: CuratorConfig, path: Path | None) -> Captions | None:
    """The captions at `path`, when there are any and the curator looks at them."""
    return read_captions(path) if path is not None and uses_captions(config) else None


def _curate(
    config: CuratorConfig,
    vectors_folder: Path,
    captions: Captions | None,
    out_folder: Path,
    identity: dict[str, Any],
    wanted: Sequence[str] | None,
    missing: Literal["error", "skip"],
) -> None:
    from sg.curate.tome.resume import RunStore

    started = time.monotonic()
    store = RunStore(out_folder / UNFINISHED_FOLDER, identity, getattr(config, "checkpoint_every_s", 30.0))
    make = _made_of_shards if isinstance(config, ShardedTomeConfig) else _made_in_memory
    forest, details = make(config, vectors_folder, captions, store, wanted, missing)
    forest.info["fingerprint"] = fingerprint(identity)
    write_json(
        out_folder / CURATION_FILE,
        {
            "fingerprint": fingerprint(identity),
            "identity": identity,
            "config": dataclasses.asdict(config),
            "versions": _versions(),
            "seconds": round(time.monotonic() - started, 3),
            **details,
        },
    )
    write_forest(out_folder / FOREST_FILE, forest)
    store.delete()


def _made_in_memory(
    config: CuratorConfig,
    folder: Path,
    captions: Captions | None,
    store: RunStore,
    wanted: Sequence[str] | None,
    missing: Literal["error", "skip"],
) -> tuple[Forest, dict[str, Any]]:
    """The forest of a curator that holds all vectors in memory, and what `curation.json` tells of it."""
    vectors, excluded = read_vectors(folder), dict[str, str]()
    if wanted is not None:
        vectors, excluded = select_videos(vectors, wanted, missing)
    _check_some(vectors.video_ids, folder)
    summary = {"dim": vectors.dim, "rows": len(vectors.video_ids), "info": vectors.info}
    options = {key: getattr(config, key) for key in ("order", "dtype", "center") if hasattr(config, key)}
    videos = load_videos(vectors, captions, seed=config.seed, **options)
    del vectors
    order = curated_order(config, videos, store, has_captions=captions is not None)
    duplicates = int((videos.family != np.arange(len(videos))).sum())
    details = {"vectors": summary, "exact_duplicates": duplicates, "excluded": excluded, **order.details}
    return forest_of(videos.ids, videos.unit, order.removals, {}), details


def _made_of_shards(
    config: ShardedTomeConfig,
    folder: Path,
    captions: Captions | None,
    store: RunStore,
    wanted: Sequence[str] | None,
    missing: Literal["error", "skip"],
) -> tuple[Forest, dict[str, Any]]:
    """The forest of a sharded run, and what `curation.json` tells of it."""
    from sg.curate.sharded.corpus import read_corpus
    from sg.curate.sharded.run import merge_shards

    info = read_vectors_info(folder)
    corpus, excluded = read_corpus(folder, int(info["dim"]), captions, config.seed, wanted, missing)
    _check_some(corpus.ids, folder)
    result = merge_shards(corpus, config, store.open_folder("shards"), store)
    details = {
        "vectors": {"dim": corpus.dim, "rows": len(corpus), "info": info},
        "exact_duplicates": int((result.removals.round == COLLAPSE_ROUND).sum()),
        "excluded": excluded,
        "rounds": [dataclasses.asdict(record) for record in result.rounds],
    }
    return assemble_forest(corpus.ids, result.removals, result.rep_similarity, {}), details


def _check_some(video_ids: Sequence[str], folder: Path) -> None:
    if not video_ids:
        raise DataError(f"There is no video to curate: {folder} holds no vector of a usable video.")


def curated_order(
    config: CuratorConfig, videos: Videos, store: Any = None, *, has_captions: bool = True
) -> CuratedOrder:
    """What the curator of `config` decides about `videos`; `store` keeps an unfinished ToMe run."""
    if isinstance(config, TomeConfig):
        from sg.curate.tome.merge import merge_videos

        removals, rounds = merge_videos(videos, config, store)
        return CuratedOrder(removals, {"rounds": [dataclasses.asdict(record) for record in rounds]})
    if isinstance(config, LongestCaptionConfig) and not has_captions:
        raise ConfigError("curator=longest_caption needs captions: make them with `python -m sg.caption` first.")
    module, function = _BASELINES[type(config)]
    removals = getattr(importlib.import_module(f"sg.curate.baselines.{module}"), function)(videos, config)
    return CuratedOrder(removals, {})


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"python": platform.python_version()} | {name: version(name) for name in ("numpy", "torch", "pyarrow")}
