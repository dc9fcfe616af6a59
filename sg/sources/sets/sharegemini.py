"""The caption files of ShareGemini: LLaVA conversations about videos of WebVid and Kinetics-400.

A record has `id`, `video` and `conversations`; in the WebVid file also `set`. Neither `id` nor `video` is WebVid's
number of the video: `webvid_videoname2id.json` of the release maps names to numbers.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg.artefacts.names import safe_video_id
from sg.core.errors import DataError, MissingInputError
from sg.core.identity import NOT_IDENTITY
from sg.sources.config import AnnotatedDataConfig
from sg.sources.records.json_values import JsonScanner
from sg.sources.records.texts import first_character
from sg.sources.records.turns import first_answer, turn_of, turns_of
from sg.sources.registry import SOURCES
from sg.sources.scan.annotated import scan_annotated
from sg.sources.scan.items import (
    AnnotatedVideo,
    Problem,
    SetReader,
    caption_problem,
    first_of,
    is_nothing,
    named_range,
    shown,
    split_of,
    text_of,
    url_stem,
    youtube_id,
)
from sg.sources.sets.kinetics400 import kinetics_item

_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_TOKEN = re.compile(r"\s*<(?:video|image)>\s*", re.IGNORECASE)


@dataclass
class ShareGeminiDataConfig(AnnotatedDataConfig):
    """The caption files of ShareGemini, over videos of WebVid and Kinetics-400.

    Attributes:
        name_map: the release's `webvid_videoname2id.json`; null where no file is named by its WebVid number.
    """

    name_map: str | None = field(default=None, metadata=NOT_IDENTITY)

    @property
    def further_files(self) -> tuple[str, ...]:
        """The name map."""
        return (self.name_map,) if self.name_map else ()


@dataclass(frozen=True, slots=True)
class PublishedCaption:
    """One record: the name of its video, the question, the caption, and `set` of the WebVid file."""

    record_id: str
    video: str
    question: str
    caption: str
    folder_key: str = ""

    @property
    def stem(self) -> str:
        """The file name of the video without folders and suffix."""
        return url_stem(self.video)

    @property
    def path(self) -> str:
        """The name with its folders, without suffix; of a URL the last part only."""
        folders, slash, _ = self.video.replace("\\", "/").rstrip("/").rpartition("/")
        return self.stem if "://" in self.video[:10] else f"{folders.strip('/')}{slash}{self.stem}"


def published_caption(record: Mapping[str, Any]) -> PublishedCaption | Problem:
    """The content of a record of the release, or the problem with it."""
    value, record_id = first_of(record, "video", "id"), record.get("id")
    video = str(value) if isinstance(value, int) else text_of(value).strip()
    turns = turns_of(record) or []
    caption = first_answer(turns)
    if not url_stem(video) or "\0" in video:
        return Problem("no video", shown(value))
    if problem := caption_problem(caption):
        return Problem("no caption" if not isinstance(caption, str) or is_nothing(caption) else problem, shown(value))
    asked = (text for who, text in map(turn_of, turns) if who in ("human", "user"))
    return PublishedCaption(
        record_id=str(record_id) if isinstance(record_id, int) else text_of(record_id),
        video=video,
        question=_TOKEN.sub(" ", text_of(next(asked, ""))).strip(),
        caption=caption,
        folder_key=text_of(record.get("set"))[:80],
    )


class ShareGemini(SetReader):
    """The records of the release. The WebVid number comes from `name_map`, because names in WebVid are not unique.

    Ids are those of `data=webvid` and `data=kinetics400`, so that a mix recognises videos of both.
    """

    name = "sharegemini"
    licence = "captions: CC BY-NC 4.0; videos as in WebVid and Kinetics-400"

    def __init__(self, name_map: Path | None) -> None:
        self._numbers = {} if name_map is None else read_name_map(name_map)

    def items(self, record: Mapping[str, Any], origin: str) -> Iterator[AnnotatedVideo | Problem]:
        """The video of a record."""
        published = published_caption(record)
        if isinstance(published, Problem):
            yield published
        elif named := named_range(published.stem):
            yield kinetics_item(*named, published.caption, split_of(origin), {})
        else:
            yield self._webvid(published)

    def file_keys(self, name: str) -> Iterable[str]:
        """The keys of the file's own name, and its ends of two or more parts."""
        yield from super().file_keys(name)
        parts = name.rpartition(".")[0].split("/")
        yield from ("/".join(parts[-length:]) for length in range(2, len(parts) + 1))

    def lacks_time_range(self, name: str) -> bool:
        """Whether the file is named by the YouTube id alone."""
        return youtube_id(url_stem(name)) is not None

    def _webvid(self, published: PublishedCaption) -> AnnotatedVideo:
        stem, caption = published.stem, published.caption
        number = stem if _NUMBER.fullmatch(stem) else self._numbers.get(stem)
        extra = {"set": published.folder_key} if published.folder_key else {}
        if number is None:
            path = published.path
            return AnnotatedVideo(
                safe_video_id(f"sharegemini-{path}"),
                (path,) if "/" in path else (),
                (stem,),
                caption=caption,
                extra=extra,
                is_named_only=True,
            )
        return AnnotatedVideo(
            f"webvid-{number}", (number,), (stem,) if stem != number else (), caption=caption, extra=extra
        )


def read_name_map(path: Path) -> dict[str, str]:
    """{name without suffix: number} of WebVid videos.

    The file is an object or a list of pairs; either the name or the number comes first. A name with two numbers is left
    out, because it is ambiguous.

    Raises:
        MissingInputError: the file does not exist.
        DataError: it maps no names to numbers.
    """
    if not path.is_file():
        raise MissingInputError(
            f"There is no name map {path}: give webvid_videoname2id.json of the release with data.name_map=FILE."
        )
    # Names may be there twice, with two numbers: a dict would take the last one.
    scanner = JsonScanner(path)
    is_object = first_character(path) == "{"
    pairs = ((name, value) for name, value, _ in scanner.members()) if is_object else scanner.elements()
    numbers: dict[str, str] = {}
    shared: set[str] = set()
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            continue
        one, other = (str(value) if isinstance(value, (str, int)) else "" for value in pair)
        if _NUMBER.fullmatch(one) and not _NUMBER.fullmatch(other):
            one, other = other, one
        if _NUMBER.fullmatch(other) and (stem := url_stem(one)) and numbers.setdefault(stem, other) != other:
            shared.add(stem)
    if not numbers:
        raise DataError(f"{path} maps no names of videos to numbers: expected webvid_videoname2id.json of the release.")
    return {stem: number for stem, number in numbers.items() if stem not in shared}


@SOURCES.register("sharegemini", ShareGeminiDataConfig)
def scan_sharegemini(config: ShareGeminiDataConfig) -> Path:
    """Make the manifest of the dataset, or keep it when nothing has changed; see `scan_annotated`."""
    return scan_annotated(config, lambda files: ShareGemini(Path(config.name_map) if config.name_map else None))
