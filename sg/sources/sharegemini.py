"""The caption files of ShareGemini: LLaVA conversations over films of WebVid and Kinetics-400."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sg.artefacts.names import safe_video_id
from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_json
from sg.sources.caption_files import first_answer
from sg.sources.items import Item, Problem, first_of, named_range, shown, split_of, text_of, url_stem
from sg.sources.kinetics400 import kinetics_item

_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)


class ShareGemini:
    """The release's records. The film's WebVid number comes from `name_map`: names of the release are not unique there.

    A video is called as in `data=webvid` and `data=kinetics400`, so that a mix sees what they share.
    """

    name = "sharegemini"
    licence = "captions: CC BY-NC 4.0; films as in WebVid and Kinetics-400"

    def __init__(self, name_map: Path | None) -> None:
        self._numbers = {} if name_map is None else read_name_map(name_map)

    def items(self, record: Mapping[str, Any], origin: str) -> Iterator[Item | Problem]:
        """The video of a record."""
        value = first_of(record, "video", "id")
        stem = url_stem(str(value) if isinstance(value, int) else value)
        turns = record.get("conversations")
        caption = text_of(first_answer(turns)) if isinstance(turns, list) else ""
        if not stem or "\0" in stem:
            yield Problem("no video", shown(value))
        elif not caption.strip():
            yield Problem("no caption", shown(value))
        elif named := named_range(stem):
            yield kinetics_item(*named, caption, split_of(origin), {})
        else:
            yield self._webvid(text_of(stem), caption, record)

    def _webvid(self, stem: str, caption: str, record: Mapping[str, Any]) -> Item:
        number = stem if _NUMBER.fullmatch(stem) else self._numbers.get(stem)
        extra = {"set": text_of(record.get("set"))[:80]} if record.get("set") else {}
        if number is None:
            return Item(safe_video_id(f"sharegemini-{stem}"), (stem,), caption=caption, extra=extra)
        return Item(f"webvid-{number}", (number,), (stem,) if stem != number else (), caption=caption, extra=extra)


def read_name_map(path: Path) -> dict[str, str]:
    """Names of WebVid films, without suffix, and their numbers, whichever of the two are the keys of the file.

    A name with two numbers is left out: nobody can tell which film is meant.

    Raises:
        MissingInputError: there is no such file.
        DataError: it maps no names to numbers.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no name map {path}: name webvid_videoname2id.json with data.name_map=FILE.")
    pairs = read_json(path)
    numbers: dict[str, str] = {}
    shared: set[str] = set()
    for key, value in pairs.items() if isinstance(pairs, dict) else ():
        one, other = str(key), str(value) if isinstance(value, (str, int)) else ""
        if _NUMBER.fullmatch(one) and other and not _NUMBER.fullmatch(other):
            one, other = other, one
        if _NUMBER.fullmatch(other) and (stem := url_stem(one)) and numbers.setdefault(stem, other) != other:
            shared.add(stem)
    if not numbers:
        raise DataError(f"{path} maps no names of films to numbers: expected webvid_videoname2id.json of the release.")
    return {stem: number for stem, number in numbers.items() if stem not in shared}
