"""Work on a finished curation: statistics of cores, new videos, deleted videos."""

import dataclasses
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sg.artefacts.forest import FOREST_FILE, Forest, read_forest, write_forest
from sg.artefacts.manifest import Manifest
from sg.artefacts.vectors import read_vectors, vectors_fingerprint
from sg.core.files import file_lock, read_record, write_record
from sg.core.fingerprints import fingerprint
from sg.core.identity import Identity, identity, made_by
from sg.curate.describe.statistics import STATISTICS_FILE, StatisticsSettings, core_statistics
from sg.curate.pipeline import CURATION_FILE, captions_for, curation_identity
from sg.curate.settings import CuratorConfig
from sg.curate.videos import choose_ids, select_vectors

log = logging.getLogger(__name__)

STATISTICS_VERSION = 4
"""To be raised when the same forest and settings give other numbers than before."""


def describe_cores(
    out_folder: Path,
    vectors_folder: Path,
    sizes: Sequence[int],
    settings: StatisticsSettings | None = None,
    *,
    benchmark_folder: Path | None = None,
    sources: Mapping[str, str] | None = None,
    families: Mapping[str, Any] | None = None,
) -> Path:
    """Write `statistics.json` beside the forest in `out_folder`, unless it exists with the same identity.

    Args:
        out_folder: folder of the merge forest.
        vectors_folder: the vectors of its videos.
        sizes: core sizes to describe.
        settings: see `sg.curate.describe.statistics`.
        benchmark_folder: vectors of a benchmark's videos by the same embedder, which are searched for in the cores.
        sources: video id -> source.
        families: video id -> family of near-duplicates, if known.
    """
    from sg.curate.changes import unit_of_forest
    from sg.curate.describe.contamination import contamination

    settings = settings or StatisticsSettings()
    path = out_folder / STATISTICS_FILE
    forest = read_forest(out_folder / FOREST_FILE)
    wanted = sorted({size for size in sizes if 0 < size <= len(forest)})
    inputs = {
        "forest": forest.content_hash,
        "vectors": vectors_fingerprint(vectors_folder),
        "sizes": wanted,
        "benchmark": vectors_fingerprint(benchmark_folder) if benchmark_folder else None,
        "sources": None if sources is None else fingerprint(sources),
        "families": None if families is None else fingerprint(families),
    }
    work = identity("core statistics", settings=settings, inputs=inputs, version=STATISTICS_VERSION)
    if read_record(path).get("fingerprint") == work.name:
        return path
    unit = unit_of_forest(forest, read_vectors(vectors_folder))
    result: dict[str, Any] = {"fingerprint": work.name, "forest": forest.content_hash, "curator": out_folder.name}
    result |= made_by(work)
    result |= core_statistics(forest, unit, wanted, settings, sources=sources, families=families)
    if benchmark_folder:
        result["contamination"] = contamination(forest, unit, read_vectors(benchmark_folder), wanted, settings)
    write_record(path, result)
    return path


def describe_source(
    out_folder: Path,
    vectors_folder: Path,
    manifest: Manifest,
    sizes: Sequence[int],
    settings: StatisticsSettings,
    *,
    benchmark_folder: Path | None = None,
) -> Path:
    """`describe_cores` with the sources and families in the manifest, under the lock of the folder."""
    records = list(manifest.records())
    sources = {record.video_id: record.source for record in records}
    families = {record.video_id: family for record in records if (family := json.loads(record.extra).get("family"))}
    with file_lock(out_folder / ".lock"):
        return describe_cores(
            out_folder,
            vectors_folder,
            sizes,
            settings,
            benchmark_folder=benchmark_folder,
            sources=sources,
            families=families or None,
        )


def extend_curation(
    config: CuratorConfig,
    vectors_folder: Path,
    captions_path: Path | None,
    out_folder: Path,
    size: int,
    *,
    wanted: Sequence[str] | None = None,
    missing: Literal["error", "skip"] = "error",
) -> Path:
    """Add the videos that have a vector but no row to the forest in `out_folder`; see `extend_forest`.

    The new forest gets the identity of a curation of the present vectors, so that later commands reuse it. `extends` in
    its info is the content hash of the forest before.
    """
    from sg.curate.changes import extend_forest

    work = curation_identity(config, vectors_folder, captions_for(config, captions_path), wanted, missing)
    with file_lock(out_folder / ".lock"):
        vectors = read_vectors(vectors_folder)
        video_ids, _ = choose_ids(vectors.video_ids, wanted, missing)
        vectors = select_vectors(vectors, video_ids)
        forest = read_forest(out_folder / FOREST_FILE)
        extended = extend_forest(forest, vectors, size, getattr(config, "device", "auto"))
        note = {"extended": len(extended) - len(forest), "extends": forest.content_hash, "at_size": size}
        return _replace(out_folder, extended, work, note)


def forget_in_curation(
    config: CuratorConfig,
    vectors_folder: Path,
    captions_path: Path | None,
    out_folder: Path,
    video_ids: Collection[str],
    *,
    wanted: Sequence[str] | None = None,
    missing: Literal["error", "skip"] = "error",
) -> Path:
    """Remove videos from the forest in `out_folder`; see `forget_videos`. Remove them from manifest and vectors first.

    The new forest gets the identity of a curation of the present vectors, so that later commands reuse it.
    """
    from sg.curate.changes import forget_videos

    work = curation_identity(config, vectors_folder, captions_for(config, captions_path), wanted, missing)
    with file_lock(out_folder / ".lock"):
        forest = read_forest(out_folder / FOREST_FILE)
        remaining = forget_videos(forest, video_ids, read_vectors(vectors_folder))
        return _replace(out_folder, remaining, work, {"forgotten": len(forest) - len(remaining)})


def _replace(out_folder: Path, forest: Forest, work: Identity, note: dict[str, Any]) -> Path:
    """Write a changed forest; `note` is appended to the changes that `curation.json` lists."""
    path = out_folder / CURATION_FILE
    report = read_record(path)
    report |= {"fingerprint": work.name, **made_by(work)}
    report["changes"] = [*report.get("changes", []), note]
    info = {**forest.info, "fingerprint": work.name}
    info |= {key: value for key, value in note.items() if key == "extends"}
    write_record(path, report)
    log.info("curation: %s", ", ".join(f"{key} {value}" for key, value in note.items()))
    return write_forest(out_folder / FOREST_FILE, dataclasses.replace(forest, info=info))
