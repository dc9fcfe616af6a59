"""Tar files of video2dataset and WebDataset ("shards"): their videos are read in place, by ranges.

A shard is indexed once. The index is in the user's cache folder (`sg.core.content.kept`), so that later commands, and a
scan after an interrupted one, read no header again.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

from sg.core.content import kept
from sg.core.progress import Progress
from sg.sources.files.tar_index import COMPRESSED, TarMember, tar_members

SHARD_SUFFIX = ".tar"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_AT_ONCE = 16
_VERSION = 1
"""Raise it when the same shard would give another index."""


def is_compressed(name: str) -> bool:
    """Whether a name is that of a compressed tar file, which cannot be read in place."""
    return name.lower().endswith(_COMPRESSED)


def index_shards(videos: Path, names: Sequence[str]) -> tuple[list[list[TarMember]], Counter[str]]:
    """The regular files in each of the tar files below `videos`, and what was left out, by reason.

    Raises:
        DataError: an address cannot be read.
    """
    problems: Counter[str] = Counter()
    found = []
    with ThreadPoolExecutor(_AT_ONCE) as pool, Progress("shards", len(names), "shards") as bar:
        for members, left_out in pool.map(partial(_index, videos), names):
            found.append([TarMember(*member) for member in members])
            problems.update(left_out)
            bar.advance()
    return found, problems


def _index(videos: Path, name: str) -> tuple[list[Any], dict[str, int]]:
    if is_compressed(name):
        return [], {COMPRESSED: 1}
    path = videos / name
    try:
        members, left_out = kept(f"tar index {_VERSION}", path, partial(_read, path))
    except OSError:
        return [], {"a shard that cannot be read": 1}
    return members, left_out


def _read(path: Path) -> list[Any]:
    problems: Counter[str] = Counter()
    return [[astuple(member) for member in tar_members(path, problems)], dict(problems)]
