"""What goes up of an artefact: its files, where its rows come from, its fingerprints and its card."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import read_manifest
from sg.core.content import file_content
from sg.core.errors import ConfigError, MissingInputError
from sg.core.files import read_json
from sg.core.identity import code_version
from sg.sources.registry import SOURCES
from sg.sources.scan.items import SetReader

RECORD_FILE, CARD_FILE = "sg_artefact.json", "README.md"
SCHEMA = 1
"""Version of the layout of `sg_artefact.json`."""
DATASET, MODEL = "dataset", "model"
_KINDS = {
    "stage.json": "stage checkpoint",
    "embeddings.json": "vectors",
    "forest.parquet": "merge forest",
    "study.json": "study",
    "captions.parquet": "captions",
    "data": "core",
}
"""What a folder holds, by the file or folder in it that only this kind has."""
_DEMO = "demo"
"""The source of the demo world's videos."""
_LEFT_OUT = ("wandb", ".hydra", ".leases", "resume", "proxies", "runs")
_LEFT_OUT_NAMES = (".lock", ".tmp", ".sqlite", ".log", ".jsonl.bad")


@dataclass(frozen=True, slots=True)
class Package:
    """An artefact as a repository.

    Attributes:
        kind: what it is, such as `captions`.
        repo_type: `dataset` or `model`.
        files: the local files by their names in the repository.
        licences: a sentence per source of its rows, by the name of the source.
        unpublished: sources whose terms forbid to publish what is derived from them.
        unknown: sources without known terms, such as a folder of one's own videos.
    """

    kind: str
    repo_type: str
    files: Mapping[str, Path]
    licences: Mapping[str, str]
    unpublished: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.files.values())

    def record(self) -> dict[str, Any]:
        """The content of `sg_artefact.json`: size and hash of every file."""
        files = {
            name: {"bytes": path.stat().st_size, "content": file_content(path)} for name, path in self.files.items()
        }
        origin = {"licences": dict(self.licences), "code": code_version()}
        return {"schema": SCHEMA, "kind": self.kind, **origin, "files": files}

    def card(self, licence: str) -> str:
        """The card of the repository; that of an exported core is kept as it is."""
        if CARD_FILE in self.files:
            return self.files[CARD_FILE].read_text(encoding="utf-8")
        lines = "\n".join(f"- {source}: {terms}" for source, terms in self.licences.items())
        terms = f"## Sources and their terms\n\n{lines}\n\n" if lines else ""
        return (
            f"---\nlicense: {licence}\ntags:\n  - sharegemini\n---\n\n# {self.kind.capitalize()}\n\n"
            f"{len(self.files)} files that `sg push` uploaded. `sg pull repo=OWNER/NAME out=DIR` downloads them and "
            f"checks them against `{RECORD_FILE}`.\n\n{terms}"
        )


def package_of(path: Path, manifest: Path | None) -> Package:
    """The package of the artefact at `path`, a file of captions or a folder.

    Args:
        manifest: the manifest of its videos; None finds it in the folders above.

    Raises:
        MissingInputError: there is no such artefact, or no manifest of its videos.
        ConfigError: the folder is of no kind that can be pushed.
    """
    if path.is_file():
        files = {path.name: path}
        kind = _KINDS.get(path.name)
    elif path.is_dir():
        files = {name: file for name, file in _files_of(path).items() if name != RECORD_FILE}
        kind = next((kind for mark, kind in _KINDS.items() if (path / mark).exists()), None)
    else:
        raise MissingInputError(f"There is no artefact {path}: give an existing file or folder with path=.")
    if kind is None:
        raise ConfigError(f"{path} holds nothing that can be pushed: expected one of {', '.join(_KINDS)} in it.")
    if kind == "stage checkpoint":
        return Package(kind, MODEL, files, {}, (), ())
    readers = {reader.name: reader for reader in _readers()}
    sources = _sources(path, kind, manifest)
    licences = {source: readers[source].licence for source in sources if source in readers}
    unpublished = tuple(source for source in licences if not readers[source].published)
    unknown = tuple(source for source in sources if source not in readers and source != _DEMO)
    licences |= {_DEMO: "rendered by this project"} if _DEMO in sources else {}
    return Package(kind, DATASET, files, licences, unpublished, unknown)


def _files_of(folder: Path) -> dict[str, Path]:
    names = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {
        name: file
        for name, file in names.items()
        if not set(name.split("/")[:-1]) & set(_LEFT_OUT) and not file.name.endswith(_LEFT_OUT_NAMES)
    }


def _readers() -> list[type[SetReader]]:
    SOURCES.load()
    return SetReader.__subclasses__()


def _sources(path: Path, kind: str, manifest: Path | None) -> list[str]:
    """The sources of the videos behind an artefact."""
    if kind == "core" and manifest is None:
        return sorted(folder.name for folder in (path / "data").iterdir() if folder.is_dir())
    found = manifest or _manifest_above(path, kind)
    if found is None or not found.is_file():
        raise MissingInputError(
            f"There is no manifest of the videos behind {path}, so their licences are not known: give it with "
            "manifest=FILE."
        )
    return sorted({record.source for record in read_manifest(found).usable().records()})


def _manifest_above(path: Path, kind: str) -> Path | None:
    if kind == "study":
        results = sorted(path.glob("*/result.json"))
        recorded = {str(read_json(result).get("inputs", {}).get("manifest", "")) for result in results} - {""}
        return Path(recorded.pop()) if len(recorded) == 1 else None
    return next((file for folder in path.absolute().parents if (file := folder / "manifest.parquet").is_file()), None)


def as_bytes(record: Mapping[str, Any]) -> bytes:
    """A record as the bytes of a JSON file."""
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
