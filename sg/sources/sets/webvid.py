"""WebVid: CSV with `videoid, name, page_dir, duration, contentUrl`; files named by number or by the end of the URL."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.sources.config import AnnotatedDataConfig
from sg.sources.registry import SOURCES
from sg.sources.scan.annotated import scan_annotated
from sg.sources.scan.items import AnnotatedVideo, Problem, SetReader, caption_of, first_of, shown, split_of, url_stem
from sg.sources.scan.timestamps import parse_time_ms

_NUMBER = re.compile(r"([0-9]{1,20})(?:\.0)?", re.ASCII)
_IN_URL = re.compile(r"/videos/([0-9]{1,20})/", re.ASCII)
_PAGE = re.compile(r"[0-9]{6}_[0-9]{6}", re.ASCII)
_SLUG = re.compile(r"stock-footage-[A-Za-z0-9._%-]{1,180}", re.ASCII)


@dataclass
class WebVidDataConfig(AnnotatedDataConfig):
    """WebVid-2.5M or WebVid-10M."""


class WebVid(SetReader):
    """WebVid-2.5M and -10M: the authors' files, and copies with other columns."""

    name = "webvid"
    licence = "research terms, non-commercial, withdrawn by the authors on 2024-02-23; videos: of the stock site"
    published = False

    def items(self, record: Mapping[str, Any], origin: str) -> Iterator[AnnotatedVideo | Problem]:
        """The video of a row."""
        value, url = first_of(record, "videoid", "video_id"), first_of(record, "contentUrl", "url")
        found = _NUMBER.fullmatch(str(value).strip()) if isinstance(value, (str, int, float)) else None
        if value is None and isinstance(url, str):  # video2dataset always keeps the URL, other columns only on request
            found = _IN_URL.search(url[:2000])
        if found is None:
            yield Problem("no video number", shown(value))
            return
        page = first_of(record, "page_dir")
        page = page if isinstance(page, str) and _PAGE.fullmatch(page) else None
        seconds = parse_time_ms(first_of(record, "duration"))
        slug = url_stem(url)
        caption, problem = caption_of(first_of(record, "name", "caption", "text"))
        yield AnnotatedVideo(
            video_id=f"webvid-{found[1]}",
            keys=(found[1],),
            weak_keys=(slug,) if _SLUG.fullmatch(slug) else (),
            hints=(page,) if page else (),
            caption=caption,
            caption_problem=problem,
            split=split_of(origin),
            extra={"declared_ms": seconds} if seconds else {},
        )


@SOURCES.register("webvid", WebVidDataConfig)
def scan_webvid(config: WebVidDataConfig) -> Path:
    """Make the manifest of the dataset, or keep it when nothing has changed; see `scan_annotated`."""
    return scan_annotated(config, lambda files: WebVid())
