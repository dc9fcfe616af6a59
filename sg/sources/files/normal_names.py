"""Names of video files in a form in which the spellings of different programs agree."""

import unicodedata
from urllib.parse import unquote

from sg.sources.files.disk import VIDEO_SUFFIXES


def normal_parts(name: str) -> tuple[str, ...]:
    """The parts of a path in a form in which usual spellings agree.

    Ignores case, the form of accents, `%20`, backslashes, the suffix of a video, and parts that name no folder.

    >>> normal_parts("~/Clips%20A\\\\B.MP4") == normal_parts("./clips a/b.webm") == ("clips a", "b")
    True
    """
    text = unquote(name) if "%" in name else name
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    parts = [part for part in text.replace("\\", "/").casefold().split("/") if part not in ("", ".", "..", "~")]
    if parts:
        stem, dot, ending = parts[-1].rpartition(".")
        parts[-1] = stem if stem and dot + ending in VIDEO_SUFFIXES else parts[-1]
    return tuple(parts)


def is_end(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether the shorter path is the end of the longer one."""
    length = min(len(one), len(other))
    return one[-length:] == other[-length:]
