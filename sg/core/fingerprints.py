"""Fingerprints: short hashes of plain data and files, and seeds from texts."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"cannot fingerprint a {type(value).__name__}: {value!r}")


def is_unicode(text: str) -> bool:
    """False for a text with half of a surrogate pair, which JSON can contain and no encoding can store."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def fingerprint(value: Any) -> str:
    """16 hex digits over `value` (dataclasses, mappings, lists, paths, plain values), independent of key order.

    Raises:
        TypeError: `value` holds an object without a canonical JSON form.
    """
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.blake2b(_bytes(text), digest_size=8).hexdigest()


def file_hash(path: Path) -> str:
    """16 hex digits over the bytes of the file at `path`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def text_seed(*parts: str | int) -> int:
    """A seed in [0, 2**63) from `parts`, equal on all machines and Python versions."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(_bytes(text), digest_size=8).digest(), "little") >> 1
