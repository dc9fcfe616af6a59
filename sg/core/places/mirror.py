"""A local folder that mirrors an address, so that the code above works on paths whatever the place is.

Files are copied to the mirror when a command starts and when it takes a lock (`fetch`), and to the address when they
are complete (`push`). An index beside the mirror records which state of the address each local file corresponds to.
The folders of visual tokens and stages are fetched when they are used; video files are never copied, but read by ranges
(`sg.core.places.ranges`).

The mirrors of a process and of its children are in the environment variable `SG_PLACES`, without any credentials.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import secrets
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sg.core.fingerprints import fingerprint
from sg.core.places.store import Entry, Store, checked_address

_VARIABLE = "SG_PLACES"
LEASES = ".leases"
"""Folder of an address that holds the leases of its locks."""
LARGE = frozenset({"stages", "visual_tokens", "videos", "media", "wandb", "unpacked"})
"""Folders of which only JSON files are fetched when a command starts."""
_LOCAL_ONLY = re.compile(r"\.tmp(\.|$)|\.lock$|\.(sqlite|db)3?(-\w+)?$")
"""Unfinished files, locks, and ledgers: they mean something on one machine only."""
_AT_ONCE = 16
_READ_ONLY = ".ranges"
"""End of the name of a folder that stands for an address without mirroring it."""
_ALONE = ".file"
"""End of the name of a folder that mirrors one file: those beside it may be a whole bucket."""
_ALONE_KEYS = frozenset({"captions", "annotations", "dialogs"})
"""Last words of the settings that name such files; `predictions` and `judged` are read with the files beside them."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """The local `folder` that mirrors the files of `store`."""

    folder: Path
    store: Store

    @property
    def is_read_only(self) -> bool:
        """Whether its files are only read, by ranges."""
        return self.folder.name.endswith(_READ_ONLY)

    @contextlib.contextmanager
    def index(self) -> Iterator[sqlite3.Connection]:
        """The table `files` (name, tag, size, mtime_ns): local files as they were when both sides were equal."""
        connection = sqlite3.connect(self.folder.with_name(f"{self.folder.name}.index"), timeout=120)
        try:
            with connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, tag TEXT, size INTEGER, mtime_ns INTEGER)"
                )
                yield connection
        finally:
            connection.close()

    def known(self, name: str) -> dict[str, tuple[str, int, int]]:
        """The index of the file `name`, or of all files below the folder `name`."""
        with self.index() as table:
            rows = table.execute(
                "SELECT name, tag, size, mtime_ns FROM files WHERE ? = '' OR name = ? OR substr(name, 1, ?) = ?",
                (name, name, len(name) + 1, f"{name}/"),
            ).fetchall()
        return {row[0]: row[1:] for row in rows}

    def note(self, equal: Mapping[str, str | None]) -> None:
        """Record that these local files equal those of the store, {name: tag}; None forgets a file."""
        with self.index() as table:
            for name, tag in equal.items():
                state = None if tag is None else local_state(self.folder / name)
                if state is None:
                    table.execute("DELETE FROM files WHERE name = ?", (name,))
                else:
                    table.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", (name, tag, *state))


def local_state(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change of a file, or None if there is none."""
    try:
        look = path.stat()
    except OSError:
        return None
    return look.st_size, look.st_mtime_ns


def cache_folder() -> Path:
    """The folder of all mirrors of this machine: `SG_CACHE`, or `sg/places` in the user's cache folder."""
    own = os.environ.get("SG_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sg" / "places"


def mirrored(address: str, key: str, copied: bool = True) -> Path:
    """The local path that stands for `address`, in this process and its children; nothing is copied yet.

    Args:
        copied: whether `fetch` and `push` keep both in step; files of other places are only read, by ranges.

    Raises:
        ConfigError: the address cannot be used; `key` names the setting.
    """
    address = checked_address(address, key)
    for known, root in _registered().items():
        if known.endswith(_ALONE):
            if address == root:
                return _stands_for(known, root)
            continue
        if (address == root or address.startswith(f"{root}/")) and copied != known.endswith(_READ_ONLY):
            return Path(known) / address.removeprefix(root).lstrip("/")
    store, name = Store(address), ""
    if "." in address.rpartition("/")[2] and store.entry("") is not None:
        if key.rpartition(".")[2] in _ALONE_KEYS:
            return _mirror_of_one(address)
        parent, _, name = address.rpartition("/")
        store = Store(parent)
    last = re.sub(r"[^A-Za-z0-9._-]", "_", store.address.rpartition("/")[2])[:40]
    folder = cache_folder() / f"{last}-{fingerprint(store.address)[:8]}{'' if copied else _READ_ONLY}"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    os.environ[_VARIABLE] = json.dumps({**_registered(), str(folder): store.address})
    return folder / name


def _mirror_of_one(address: str) -> Path:
    """The local path that stands for the address of a file."""
    folder = cache_folder() / f"{fingerprint(address)[:16]}{_ALONE}"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[_VARIABLE] = json.dumps({**_registered(), str(folder): address})
    return _stands_for(str(folder), address)


def _stands_for(folder: str, address: str) -> Path:
    """The local path of the registered `address`: its folder, or its file in it."""
    return Path(folder) / address.rpartition("/")[2] if folder.endswith(_ALONE) else Path(folder)


def _registered() -> dict[str, str]:
    return dict(_parsed(os.environ.get(_VARIABLE, "")))


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> dict[str, str]:
    return dict(json.loads(text)) if text else {}


def mirror_of(path: Path) -> tuple[Mirror, str] | None:
    """The mirror that holds `path` and the name of `path` in it; None for a path that is just local."""
    text = os.environ.get(_VARIABLE)
    if not text:
        return None
    place = os.path.abspath(path)  # noqa: PTH100 - `resolve` would follow links
    for folder, address in _parsed(text).items():
        if place == folder or place.startswith(f"{folder}/"):
            root = address.rpartition("/")[0] if folder.endswith(_ALONE) else address
            return Mirror(Path(folder), Store(root)), place[len(folder) + 1 :]
    return None


def places() -> list[Path]:
    """The local folders, and single files, of all mirrors of this process."""
    return [_stands_for(folder, address) for folder, address in _registered().items()]


def with_addresses(text: str) -> str:
    """A message in which places have their addresses, as the user knows them, instead of the paths of their mirrors."""
    for folder, address in _registered().items():
        text = text.replace(str(_stands_for(folder, address)), address)
    return text


def address_of(path: Path) -> str | None:
    """The address that `path` stands for, which is the same on all machines; None for a path of this machine."""
    place = mirror_of(path)
    return None if place is None else f"{place[0].store.address}/{place[1]}".rstrip("/")


def fetch(path: Path, leave_out: Collection[str] = (), stem: str = "") -> None:
    """Make the mirrored file or folder at `path` equal to its address; does nothing for a local path.

    A local file that changed since it was last equal is kept, unless the address changed too.

    Args:
        leave_out: names of folders of which only JSON files are fetched.
        stem: with one, only `path/stem.*` and the files below `path/stem`.

    Raises:
        DataError: the address cannot be read.
    """
    place = mirror_of(path)
    if place is None or place[0].is_read_only:
        return
    mirror, name = place
    listed = mirror.store.list(name).items()
    remote = {item: entry for item, entry in listed if _is_shared(item, leave_out) and _has_stem(item, name, stem)}
    known = {item: state for item, state in mirror.known(name).items() if _has_stem(item, name, stem)}
    wanted = [item for item, entry in remote.items() if _is_newer(mirror.folder / item, entry, known.get(item))]
    gone = [item for item in known if item not in remote and _is_shared(item, leave_out)]
    for item in gone:
        if local_state(mirror.folder / item) == known[item][1:]:
            (mirror.folder / item).unlink(missing_ok=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        fetched = pool.map(lambda item: _download(mirror, item), wanted)
        equal = {item: remote[item].tag for item, there in zip(wanted, fetched, strict=True) if there}
    if equal or gone:
        mirror.note({**dict.fromkeys(gone), **equal})


def _is_shared(name: str, leave_out: Collection[str] = ()) -> bool:
    """Whether the file `name` is one that machines share, and not of a folder to leave out."""
    *folders, last = name.split("/")
    if _LOCAL_ONLY.search(last) or folders[:1] == [LEASES]:
        return False
    return last.endswith(".json") or not any(folder in leave_out for folder in folders)


def _has_stem(name: str, folder: str, stem: str) -> bool:
    rest = name[len(folder) + 1 if folder else 0 :]
    return not stem or rest.startswith((f"{stem}.", f"{stem}/"))


def _is_newer(path: Path, entry: Entry, known: tuple[str, int, int] | None) -> bool:
    """Whether the address has a newer file than `path`."""
    local = local_state(path)
    return local is None or known is None or known[0] != entry.tag


def _download(mirror: Mirror, name: str) -> bool:
    """Copy a file of the store to the mirror, whole; False if it was removed meanwhile."""
    path = mirror.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        mirror.store.get(name, temporary)
        temporary.replace(path)
    except FileNotFoundError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def push(path: Path, stem: str = "", remove: bool = False) -> None:
    """Copy what changed in the mirrored file or folder at `path` to its address; does nothing for a local path.

    Args:
        stem: with one, only `path/stem.*` and the files below `path/stem`.
        remove: also remove files of the address that were equal to local files which do not exist any more. Only who
            holds the lock of these files may do that.

    Raises:
        DataError: the address cannot be written.
    """
    place = mirror_of(path)
    if place is None or place[0].is_read_only:
        return
    mirror, name = place
    known = {item: state for item, state in mirror.known(name).items() if _has_stem(item, name, stem)}
    local = [item for item in _local_names(mirror, path) if _has_stem(item, name, stem)]
    changed = [item for item in local if item not in known or known[item][1:] != local_state(mirror.folder / item)]
    gone = sorted(set(known) - set(local)) if remove else []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        equal = dict(zip(changed, pool.map(lambda item: _upload(mirror, item), changed), strict=True))
    mirror.store.delete(gone)
    if equal or gone:
        mirror.note({**equal, **dict.fromkeys(gone)})


def _local_names(mirror: Mirror, path: Path) -> list[str]:
    """The shared files at or below the mirrored `path`, by their names in the mirror."""
    files = [path] if path.is_file() else (Path(place, name) for place, _, names in os.walk(path) for name in names)
    names = (os.path.relpath(file, mirror.folder) for file in files if file.is_file())
    return sorted(name for name in names if _is_shared(name))


def _upload(mirror: Mirror, name: str) -> str | None:
    """Copy a file to the store and return its tag there; None if it was removed meanwhile."""
    try:
        mirror.store.put(mirror.folder / name, name)
    except FileNotFoundError:
        return None
    entry = mirror.store.entry(name)
    return None if entry is None else entry.tag
