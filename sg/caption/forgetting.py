"""`python -m sg.caption forget`: remove videos from every artefact of their data, and list what holds them still.

The manifest comes first: its rows become unusable for good, so that no later step makes anything of these videos.
Every step can be repeated, so a command that was stopped is completed by the same command.
"""

import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from sg.artefacts.captions import CAPTIONS_FILE, read_captions
from sg.artefacts.forest import FOREST_FILE
from sg.artefacts.forgetting import drop_lines, drop_rows, forget_in_forest, forget_vectors
from sg.artefacts.manifest import VideoRecord, forget_in_manifest, read_manifest
from sg.artefacts.predictions import read_predictions
from sg.artefacts.result import PREDICTIONS_FILE, RESULT_FILE, RunResult, read_result
from sg.artefacts.visual_tokens.store import INFO_FILE, VisualTokenStore
from sg.caption.exports.journal import forget_in_exports
from sg.caption.hosted.asking import only_one
from sg.caption.ledger.merge import forget
from sg.core.errors import DataError, MissingInputError
from sg.core.files import file_lock, read_record, write_record
from sg.core.fingerprints import file_hash
from sg.core.places.config import PathsConfig
from sg.core.places.ranges import exists
from sg.sources.config import CAPTIONS_FOLDER, DataConfig

_DERIVED = ("audit", "proxies")
"""Folders of a captioner that its commands make again."""
_DERIVED_FROM_FORESTS = ("core-*", "statistics.json", "map*", "unfinished")
_TEXT_FILES = (".html", ".js", ".json", ".csv", ".md", ".txt")


def forget_videos(data: DataConfig, video_ids: Sequence[str], paths: PathsConfig) -> str:
    """Remove these videos from manifest, captions, ledgers, vectors, merge forests, visual tokens and exports.

    Returns a text: what was removed, and what holds the videos still.

    Raises:
        ConfigError: a captioner is running on the data.
        DataError: an artefact is damaged.
    """
    ids, folder, removed = set(video_ids), Path(data.dir), Counter[str]()
    rows = list(read_manifest(data.manifest_path).records()) if data.manifest_path.is_file() else []
    known = [row for row in rows if row.video_id in ids]
    forget_in_manifest(data.manifest_path, ids)
    removed["rows of the manifest made unusable"] = len(known)
    for ledger in sorted((folder / CAPTIONS_FOLDER).glob("*/ledger*.sqlite")):
        with only_one(ledger):
            removed["answers in ledgers"] += forget(ledger, ids)
    _forget_captions(folder / CAPTIONS_FOLDER, ids, removed)
    for vectors in sorted((folder / "embeddings").glob("*/")):
        removed["vectors"] += forget_vectors(vectors, ids)
    for forest in sorted((folder / "curation").glob(f"*/{FOREST_FILE}")):
        if count := forget_in_forest(forest, ids):
            removed["rows of merge forests"] += count
            _delete(forest.parent, _DERIVED_FROM_FORESTS)
    prefix = f"{data.token_source}/" if data.token_source else ""
    keys = [f"{prefix}{row.path}" for row in known if row.path]
    removed["clips with visual tokens"] = _forget_tokens(Path(paths.work), keys)
    exports, changed = forget_in_exports(folder, Path(data.videos), ids)
    removed["exports written again"] = len(exports)
    lines = [f"{len(ids):,} videos, {len(ids) - len(known):,} of them not in the manifest; removed:"]
    lines += [f"  {count:,} {what}" for what, count in removed.items()]
    holders = [f"{place} (an export that was moved or changed since)" for place in changed]
    holders += _holders(data, known, paths)
    return "\n".join(
        [*lines, "still there:" if holders else "nothing else is known to hold them.", *(f"  {h}" for h in holders)]
    )


def _forget_captions(folder: Path, ids: Collection[str], removed: Counter[str]) -> None:
    """Remove rows from the files of all captioners, and the folders that may show their texts."""
    for path in sorted(folder.rglob("*.parquet")):
        count = drop_rows(path, ids)
        removed["captions" if path.name == CAPTIONS_FILE else "records of captions"] += count
        described = read_record(path.with_name("manifest.json"))
        if count and path.name in described.get("files", {}):
            described["files"].pop(path.name)
            if path.is_file():
                described["files"][path.name] = file_hash(path)
            if path.name == CAPTIONS_FILE:
                described["captions"] = len(read_captions(path)) if path.is_file() else 0
            write_record(path.with_name("manifest.json"), described)
    for path in sorted(folder.rglob("*.jsonl")):
        removed["answers of checkpoints"] += drop_lines(path, ids)
    for captioner in sorted(folder.glob("*/")):
        _delete(captioner, _DERIVED)


def _delete(folder: Path, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _forget_tokens(work: Path, keys: Collection[str]) -> int:
    count = sum(
        VisualTokenStore(info.parent).forget(keys) for info in sorted(work.glob(f"visual_tokens/*/{INFO_FILE}"))
    )
    opened = work / "clips.json"
    with file_lock(opened.with_suffix(".lock")):
        files = read_record(opened)
        if files.keys() & set(keys):
            write_record(opened, {key: value for key, value in files.items() if key not in keys})
    return count


def _holders(data: DataConfig, known: Sequence[VideoRecord], paths: PathsConfig) -> Iterator[str]:
    """What this command does not change, one line each; `known` are the rows before they were forgotten."""
    ids = {row.video_id for row in known}
    for row in known:
        if row.path and exists(file := Path(data.videos) / row.path):
            yield f"{file} (the video itself)"
    texts = getattr(data, "captions_file", None) or getattr(data, "annotations", None)
    if texts and any(row.original_caption for row in known):
        yield f"{texts} (the file of its caption)"
    for other in sorted(Path(paths.work).glob("*/manifest.parquet")):
        if other.resolve() != data.manifest_path.resolve() and (found := _mixed(other, ids)):
            yield f"{other} ({found:,} rows of a mix: forget the videos of that data too)"
    studies: dict[Path, None] = {}
    for file in sorted(Path(paths.runs).glob(f"*/*/{RESULT_FILE}")):
        if (result := _run_on(file, data)) is not None:
            studies[file.parent.parent] = None
            yield from _checkpoints(result, Path(paths.work))
        if _is_asked_about(file.with_name(PREDICTIONS_FILE), ids):
            yield f"{file.with_name(PREDICTIONS_FILE)} (answers to questions about it)"
    for study in studies:
        if ids and _is_shown(study / "report", ids):
            yield f"{study / 'report'} (a report: delete it and run python -m sg.report study={study})"


def _mixed(path: Path, ids: Collection[str]) -> int:
    """Usable rows of another manifest with these ids, which a mix may have given a prefix."""
    try:
        usable = read_manifest(path).usable()
    except (DataError, MissingInputError):
        return 0
    return sum(
        row.video_id in ids or row.video_id.partition("-")[2] in ids
        for row in usable.records()
        if "mixed_from" in row.extra
    )


def _run_on(file: Path, data: DataConfig) -> RunResult | None:
    """The result at `file` if its run read this data."""
    try:
        result = read_result(file)
    except (DataError, MissingInputError):
        return None
    read = result.inputs.get("manifest")
    return result if read is not None and Path(read).resolve() == data.manifest_path.resolve() else None


def _checkpoints(result: RunResult, work: Path) -> Iterator[str]:
    for name, stage in result.stages.items():
        folder = work / "stages" / f"{name}-{stage.fingerprint}"
        if result.scale > 0 and name != "align" and folder.is_dir():
            yield f"{folder} (a checkpoint of run {result.study}/{result.run}, which may have been trained on it)"


def _is_asked_about(predictions: Path, ids: Collection[str]) -> bool:
    try:
        return any(row.video_id in ids or row.tokens_of in ids for row in read_predictions(predictions))
    except (DataError, MissingInputError):
        return False


def _is_shown(report: Path, ids: Collection[str]) -> bool:
    """Whether a text of the report holds one of the ids as a whole word."""
    words = "|".join(map(re.escape, sorted(ids)))
    pattern = re.compile(rf"(?<![\w.@%+-])({words})(?![\w@%+-])")
    for path in sorted(report.rglob("*")):
        if path.suffix in _TEXT_FILES and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace").replace("\\n", "\n")
            if pattern.search(text):
                return True
    return False
