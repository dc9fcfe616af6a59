"""Identities: how work is named, found again and compared.

Three things name a piece of work (a training stage, a curation, a part of the vectors, ...):

* its **settings**: all fields of its typed settings, except those marked `metadata=NOT_IDENTITY` at the field;
* its **inputs**: the identity or the content hash of everything that it reads;
* its **version**: a constant beside the code that decides the result; it is raised when the same settings and inputs
  give another result.

A new field counts unless it is marked, so work is repeated rather than reused by mistake. Paths of a machine do not
count: mark the fields that hold them, and pass the content of the files as an input.
"""

import dataclasses
import functools
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sg
from sg.core.fingerprints import fingerprint

NOT_IDENTITY = {"identity": False}
"""`field(default=..., metadata=NOT_IDENTITY)` marks a setting that cannot change a result.

`metadata={"identity": function}` counts `function(value)` instead of the value, for values with the same result.
"""

COMMIT_FILE = "COMMIT"
"""In `sg/` of a wheel: the commit that it was built from."""

ABSENT = "(absent)"
"""The value in a `Change` if one side does not have the key."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything that decides the result of a piece of work.

    Attributes:
        step: the kind of work: "stage", "curation", "captions", ...
        version: the version constant of the code that does it.
        settings: plain data (mappings, lists, texts, numbers) from typed settings.
        inputs: by name, the identity or content hash of each input, or plain data about it; None where it is unused.
    """

    step: str
    version: int
    settings: Any
    inputs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """16 hex digits, equal if and only if step, version, settings and inputs are equal."""
        return fingerprint(self.plain())

    def plain(self) -> dict[str, Any]:
        """The identity as plain data; `from_plain` is the inverse."""
        return {"step": self.step, "version": self.version, "settings": self.settings, "inputs": dict(self.inputs)}


def identity(step: str, *, settings: Any, inputs: Mapping[str, Any] | None = None, version: int) -> Identity:
    """The identity of a piece of work.

    Args:
        step: the kind of work.
        settings: a settings dataclass, or a mapping of several; see `settings_of`.
        inputs: what it reads, by name; an `Identity` among them counts by its name.
        version: the version constant beside the code.

    Raises:
        TypeError: `settings` or `inputs` hold an object without a plain form, such as a path.
    """
    return Identity(step, version, settings_of(settings), settings_of(dict(inputs or {})))


def from_plain(plain: Mapping[str, Any]) -> Identity:
    """The identity that `Identity.plain` wrote; KeyError if `plain` is not an identity."""
    return Identity(plain["step"], plain["version"], plain["settings"], plain["inputs"])


def settings_of(value: Any) -> Any:
    """`value` as plain data; a dataclass becomes its class name and the fields that count.

    Raises:
        TypeError: it holds objects other than dataclasses, mappings, sequences and plain values.
    """
    if isinstance(value, Identity):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        counted = {field.name: _counted(field, getattr(value, field.name)) for field in identity_fields(type(value))}
        return {"class": type(value).__name__, **counted}
    if isinstance(value, Mapping):
        return {str(key): settings_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [settings_of(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"A {type(value).__name__} cannot be part of an identity: {value!r}.")


def identity_fields(settings: type) -> Iterator[dataclasses.Field[Any]]:
    """The fields of a settings class that count."""
    for field in dataclasses.fields(settings):
        if field.metadata.get("identity", True) is not False:
            yield field


def _counted(field: dataclasses.Field[Any], value: Any) -> Any:
    count = field.metadata.get("identity", True)
    return settings_of(count(value) if callable(count) else value)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two identities; `key` is its path, such as `settings.learning_rate` or `version`."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.before} -> {self.now}"


def differences(before: Identity, now: Identity) -> list[Change]:
    """All differences between two identities, ordered by key; empty if their names are equal."""
    return list(_differences("", before.plain(), now.plain()))


def _differences(path: str, before: Any, now: Any) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted(set(before) | set(now)):
            yield from _differences(f"{path}.{key}" if path else key, before.get(key, ABSENT), now.get(key, ABSENT))
    elif isinstance(before, (list, tuple)) and isinstance(now, (list, tuple)) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(f"{path}.{index}", one, other)
    elif before != now:
        yield Change(path, before, now)


def made_by(work: Identity) -> dict[str, Any]:
    """The record of origin in an artefact: name and identity of the work, and the version of the code."""
    return {"made_by": work.name, "identity": work.plain(), "code": code_version()}


def recorded(record: Mapping[str, Any]) -> Identity | None:
    """The identity in a record that `made_by` wrote; None if there is none that this version can read."""
    try:
        return from_plain(record["identity"])
    except (KeyError, TypeError):
        return None


@functools.cache
def code_version() -> dict[str, str]:
    """The version of `sg` and the commit: `{"sg": "0.1.0", "commit": "1a2b3c4d5e6f+dirty"}`.

    `+dirty` means that tracked files differ from that commit. An installed package has the commit that its wheel was
    built from. The commit is "" where it is unknown, as in an archive of the sources.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        built = root / "sg" / COMMIT_FILE
        return {"sg": sg.__version__, "commit": built.read_text(encoding="utf-8") if built.is_file() else ""}
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        dirty = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        # There is no git, or it refuses to read the folder: only the version is known.
        return {"sg": sg.__version__, "commit": ""}
    return {"sg": sg.__version__, "commit": commit + ("+dirty" if dirty else "")}


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
