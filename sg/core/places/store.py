"""Stores behind addresses such as `s3://bucket/folder`, through fsspec: list, read, write whole or not at all.

Credentials come from where the store's own library looks for them: the environment, its config files, the machine's
role. They never stand in an address.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sg.core.errors import ConfigError, DataError

Result = TypeVar("Result")

log = logging.getLogger(__name__)

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
_PACKAGES = {"s3": "-e '.[s3]'", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
"""What to install for a protocol: an extra of this project where there is one, else the package."""
_ATOMIC = {"s3", "gs", "gcs", "abfs", "az", "hf", "memory"}
"""Protocols under which an object appears with its whole content or not at all."""
_ATTEMPTS = 4
_PAUSE_S = 0.5
_PATIENCE_S = 300
"""An action that failed for so long is not tried again."""
_READ_S = 60
"""A request is given up when nothing arrives for so long."""
_FINAL = (FileNotFoundError, PermissionError, NotImplementedError)
"""Errors that another attempt does not change."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a store: its bytes, a text that changes with it (an ETag if it has one), seconds since 1970."""

    size: int
    tag: str
    modified: float = 0.0


def is_address(text: str) -> bool:
    """Whether `text` is an address of a store, such as `s3://bucket/folder`."""
    return _ADDRESS.match(text) is not None


def checked_address(text: str, key: str) -> str:
    """The address without a slash at its end; of a folder of this machine without `..` and doubled slashes either.

    Raises:
        ConfigError: it holds a password, or what it needs is not installed; `key` names the setting.
    """
    found = _ADDRESS.match(text)
    assert found is not None
    if "@" in found[2].split("/", 1)[0]:
        shown = f"{found[1]}://...@{found[2].split('@', 1)[1]}"
        raise ConfigError(f"{key}={shown} holds a name or a password: leave it out and set it in the environment.")
    if found[1] in ("file", "local"):  # a folder of this machine has one name
        text = f"file://{os.path.abspath(found[2])}"  # noqa: PTH100 - `resolve` would follow links
    Store(text.rstrip("/"))
    return text.rstrip("/")


@functools.lru_cache(maxsize=32)
def _filesystem(protocol: str, process: int) -> Any:
    """The file system of a protocol in this process: what a forked process inherits cannot be used."""
    import fsspec

    logging.getLogger("botocore").setLevel(logging.WARNING)  # it reports where it finds credentials
    try:
        if protocol == "s3":
            # A lost connection and an overloaded service are tried again below the calls of this module.
            config = {"retries": {"max_attempts": 3, "mode": "standard"}, "read_timeout": _READ_S}
            return fsspec.filesystem(protocol, use_listings_cache=False, skip_instance_cache=True, config_kwargs=config)
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        install = f"pip install {package}" if package else str(error)
        raise ConfigError(f"{protocol}:// needs another package: {install}.") from error
    except ValueError as error:
        raise ConfigError(
            f"{protocol}:// is not a known kind of address: use s3://, gs://, hf:// or a folder."
        ) from error


@dataclass(frozen=True, slots=True)
class Store:
    """The files below one address. Names are relative to it, with `/` between parts."""

    address: str

    def __post_init__(self) -> None:
        self._fs  # noqa: B018 - raises where the protocol's package is missing

    @property
    def _protocol(self) -> str:
        return self.address.partition("://")[0]

    @property
    def _fs(self) -> Any:
        return _filesystem(self._protocol, os.getpid())

    def _path(self, name: str) -> str:
        return str(self._fs._strip_protocol(f"{self.address}/{name}".rstrip("/")))

    def list(self, name: str = "") -> dict[str, Entry]:
        """All files below the folder `name`, or the file of this name; {} if there is nothing."""
        root = self._path("").rstrip("/") + "/"

        def find() -> Any:
            self._fs.invalidate_cache()
            return self._fs.find(self._path(name), detail=True)

        try:
            found = self._tried(find, name)
        except FileNotFoundError as error:
            raise self._no_bucket(name, error) from None
        return {path.removeprefix(root): _entry(info) for path, info in found.items() if info["type"] == "file"}

    def entry(self, name: str) -> Entry | None:
        """The file `name`, or None if there is none."""

        def info() -> Any:
            self._fs.invalidate_cache()
            return self._fs.info(self._path(name))

        try:
            found = self._tried(info, name)
        except FileNotFoundError:
            return None
        return _entry(found) if found["type"] == "file" else None

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or those from `start` to before `end`.

        Raises:
            FileNotFoundError: there is no such file.
        """
        exactly = {"cache_type": "none"} if self._protocol == "hf" else {}  # otherwise it reads 5 MB ahead
        return bytes(self._tried(lambda: self._fs.cat_file(self._path(name), start=start, end=end, **exactly), name))

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole."""
        self._put(name, lambda path: self._fs.pipe_file(path, data))

    def get(self, name: str, target: Path) -> None:
        """Copy a file to the new local file `target`.

        Raises:
            FileNotFoundError: there is no such file.
        """
        self._tried(lambda: self._fs.get_file(self._path(name), str(target)), name)

    def put(self, source: Path, name: str) -> None:
        """Write the local file `source` under `name`: the name has its old content until the new one is complete."""
        self._put(name, lambda path: self._fs.put_file(str(source), path))

    def delete(self, names: Sequence[str]) -> None:
        """Remove files; one that does not exist is skipped."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self._tried(lambda name=name: self._fs.rm_file(self._path(name)), name)  # type: ignore[misc]

    def _put(self, name: str, write: Callable[[str], Any]) -> None:
        path = self._path(name)
        if self._protocol in _ATOMIC:
            try:
                self._tried(lambda: write(path), name)
            except FileNotFoundError as error:
                if error.filename is not None:  # the local file
                    raise
                raise self._no_bucket(name, error) from None
            return
        folder, _, last = path.rpartition("/")
        temporary = f"{folder}/.{last}.{secrets.token_hex(4)}.tmp"

        def write_and_name() -> None:
            self._fs.makedirs(folder, exist_ok=True)
            write(temporary)
            self._fs.mv(temporary, path)

        self._tried(write_and_name, name)

    def _tried(self, action: Callable[[], Result], name: str) -> Result:
        """The result of `action`, which is tried again after a passing fault of the store."""
        began = time.monotonic()
        for attempt in range(_ATTEMPTS):
            try:
                return action()
            except Exception as failure:  # noqa: BLE001 - every store's library has errors of its own
                error = self._cause(failure)
                if isinstance(error, FileNotFoundError):
                    raise error from None
                if isinstance(error, _FINAL):
                    raise DataError(self._sentence(name, error, "check the credentials in the environment")) from None
                is_last = attempt + 1 == _ATTEMPTS or time.monotonic() - began > _PATIENCE_S
                if is_last or _is_refusal(error):
                    what = "check the credentials" if _is_refusal(error) else "check the store"
                    raise DataError(self._sentence(name, error, what)) from None
                pause_s = _PAUSE_S * 2**attempt
                log.warning("%s/%s: %s; trying again in %.1f s", self.address, name, _reason(error), pause_s)
                time.sleep(pause_s)
        raise AssertionError("unreachable")

    def _cause(self, error: Exception) -> Exception:
        """The error itself, except that fsspec calls every failure to ask a web server for a file a missing file."""
        cause = error.__cause__
        is_hidden = isinstance(error, FileNotFoundError) and isinstance(cause, Exception) and "http" in self._protocol
        return cause if is_hidden and getattr(cause, "status", 0) not in (404, 410) else error  # type: ignore[return-value]

    def _no_bucket(self, name: str, error: FileNotFoundError) -> DataError:
        return DataError(self._sentence(name, error, "check the address"))

    def _sentence(self, name: str, error: Exception, remedy: str) -> str:
        place = f"{self.address}/{name}".rstrip("/")
        return f"{place} cannot be read or written ({_reason(error)}): {remedy}, then run the same command again."


def _reason(error: Exception) -> str:
    """The first line of an error's text, without the number of the system's error."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0]


def _is_refusal(error: Exception) -> bool:
    """Whether a store refused the caller: without credentials, every attempt ends the same.

    S3 answers a request for the properties of a file without naming a reason; 400 (EINVAL) is an expired token then.
    """
    names = ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError")
    is_refused = getattr(error, "status", 0) in (401, 403)
    return is_refused or type(error).__name__ in names or (isinstance(error, OSError) and error.errno == errno.EINVAL)


def _entry(info: dict[str, Any]) -> Entry:
    when = info.get("LastModified") or info.get("last_modified") or info.get("mtime") or info.get("created") or 0.0
    modified = (
        when.timestamp() if hasattr(when, "timestamp") else float(when) if isinstance(when, (int, float)) else 0.0
    )
    tag = info.get("ETag") or info.get("etag") or info.get("blob_id") or info.get("md5Hash") or f"{modified!r}"
    size = int(info["size"] or 0)
    return Entry(size, f"{size}:{str(tag).strip(chr(34))}", modified)
