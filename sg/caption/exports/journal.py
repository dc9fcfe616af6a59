"""The exports of a data folder: `exports.json` records each one, so that a forgotten video leaves it too."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from sg.artefacts.manifest import read_manifest
from sg.caption.exports.write import delete_export, export
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import file_lock, read_record, write_record
from sg.core.fingerprints import fingerprint

JOURNAL_FILE = "exports.json"


@dataclass(frozen=True, slots=True)
class RecordedExport:
    """An export as it was made: the captions, the format, the chosen videos, and the state of what was written."""

    out: str
    captions: str
    kind: str
    ids: list[str] | None
    with_files: bool
    state: str


def check_place(data_folder: Path, out: Path) -> None:
    """Check that an export replaces nothing but an earlier one of this data.

    Raises:
        ConfigError: `out` holds something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    made = read_record(data_folder / JOURNAL_FILE).get(str(out.absolute()), {})
    if made.get("state") != _state(out):
        raise ConfigError(
            f"out={out} exists, and is not an export of this data, or was changed since: choose a new "
            "place, or move it away; it would be replaced."
        )


def record_export(
    data_folder: Path, captions: Path, out: Path, kind: str, ids: list[str] | None, with_files: bool
) -> None:
    """Record an export that was just written."""
    path, place = data_folder / JOURNAL_FILE, str(out.absolute())
    made = RecordedExport(place, str(captions.absolute()), kind, ids, with_files, _state(out))
    with file_lock(path.with_suffix(".lock")):
        write_record(path, read_record(path) | {place: asdict(made)})


def forget_in_exports(data_folder: Path, videos: Path, video_ids: Collection[str]) -> tuple[list[str], list[str]]:
    """Write the recorded exports again without these videos; returns (those written, those that were changed since).

    An export without a remaining video is deleted. One that another program has changed or moved is not touched. Call
    this after the videos left the captions.
    """
    path, done, left = data_folder / JOURNAL_FILE, [], []
    with file_lock(path.with_suffix(".lock")):
        recorded = {place: RecordedExport(**values) for place, values in read_record(path).items()}
    for place, made in recorded.items():
        out = Path(place)
        if not out.exists() or _state(out) != made.state:
            left.append(place)
            continue
        ids = None if made.ids is None else [video_id for video_id in made.ids if video_id not in video_ids]
        manifest = read_manifest(data_folder / "manifest.parquet")
        try:
            export(Path(made.captions), manifest, videos, out, made.kind, ids, made.with_files)
            record_export(data_folder, Path(made.captions), out, made.kind, ids, made.with_files)
        except (DataError, MissingInputError):  # no caption remains
            delete_export(out)
        done.append(place)
    return done, left


def _state(out: Path) -> str:
    """A hash over names, sizes and times of the written files."""
    files = sorted(out.rglob("*")) if out.is_dir() else [out] if out.is_file() else []
    looks = [(file.relative_to(out.parent).as_posix(), file.stat()) for file in files if file.is_file()]
    return fingerprint([[name, look.st_size, look.st_mtime_ns] for name, look in looks])
