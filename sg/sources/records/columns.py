"""The usual names of columns in caption files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sg.core.errors import DataError

VIDEO_KEYS = (
    *("video", "video_path", "path", "file", "file_name", "filename", "video_file", "clip", "clip_path", "media"),
    *("video_id", "videoid", "videoID", "youtube_id", "clip_id", "uid", "id"),
)
CAPTION_KEYS = (
    *("caption", "text", "description", "sentence", "title", "name", "original_caption"),
    *("captions", "texts", "descriptions", "sentences"),
)
TURN_KEYS = ("conversations", "messages", "conversation")
KEY_OF_MAP = "key of the map"
"""The column of a record of an object {id: {...}} that holds the id."""


def folded(names: Iterable[object]) -> frozenset[str]:
    """Names of columns in the form in which they are compared."""
    return frozenset(str(name).strip().casefold() for name in names)


def check_columns(path: Path, names: Iterable[str]) -> None:
    """Raise DataError where two columns have the same name: only one of them could be read."""
    named = Counter(name.strip() for name in names if name.strip())
    for name, count in named.most_common(1):
        if count > 1:
            raise DataError(f"{path}: two columns are called {name!r}; rename one of them.")
