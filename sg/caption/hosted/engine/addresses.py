"""Videos that the service reads itself: Cloud Storage objects, public URLs, signed URLs."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from sg.caption.captioners import CAPTIONERS
from sg.caption.hosted.engine.items import CaptionItem
from sg.caption.hosted.engine.media import MIME_TYPES, MediaFile, MediaFiles
from sg.caption.hosted.services.records import Failure, Kind
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.errors import ConfigError
from sg.core.mistakes import listed_lines
from sg.core.places.ranges import is_member
from sg.sources.config import DataConfig

CLOUD_STORAGE = "gs://"
_ADDRESS = re.compile(r"(gs|https?)://[^/\s]+(/\S*)?")


class VideoAddresses:
    """Finds the address of each video: in `urls`, or below `place`. It has the methods of `MediaFiles`.

    Raises:
        ConfigError: `place` is not an address that services read.
    """

    def __init__(self, place: str, urls: Mapping[str, str] | None = None) -> None:
        if urls is None and not _ADDRESS.fullmatch(place):
            raise ConfigError(f"data.videos={place} should be a folder, gs://bucket/folder or https://host/folder.")
        self._place, self._urls = place.rstrip("/"), urls

    async def prepare(self, item: CaptionItem, *, force_proxy: bool = False) -> MediaFile | Failure:
        """The address of a video; a MEDIA failure if it has none, or if a proxy is asked for."""
        if force_proxy:
            return Failure(Kind.MEDIA, "no proxy is made of a video that the service reads at its address")
        mime = MIME_TYPES.get(item.path.rpartition(".")[2].lower())
        if mime is None:
            return Failure(Kind.MEDIA, f"services read no files such as {item.path!r}"[:300])
        if is_member(item.path) and self._urls is None:
            return Failure(Kind.MEDIA, f"services read no part of an archive such as {item.path!r}"[:300])
        path = item.path if self._place.startswith(CLOUD_STORAGE) else quote(item.path)
        uri = f"{self._place}/{path}" if self._urls is None else self._urls.get(item.video_id, "")
        if not uri:
            return Failure(Kind.MEDIA, "the file of captioner.urls has no URL of this video")
        return MediaFile(mime, Path(), item.size, None, "", item.has_audio, uri=uri)

    async def let_go(self, file: MediaFile) -> None:
        """Nothing: no data is held."""


def read_urls(path: Path) -> dict[str, str]:
    """URLs by video id; ConfigError if a line is not an id and a URL, or gives a video a second URL."""
    found: dict[str, str] = {}
    for number, line in enumerate(listed_lines("captioner.urls", path, "one id and URL"), start=1):
        video_id, _, url = line.partition("\t" if "\t" in line else " ")
        if line and not _ADDRESS.fullmatch(url.strip()):
            raise ConfigError(f"Line {number} of captioner.urls={path} should be a video id and its URL.")
        if line and found.setdefault(video_id, url.strip()) != url.strip():
            raise ConfigError(f"Line {number} of captioner.urls={path} has another URL of the video {video_id!r}.")
    return found


def media_of(data: DataConfig, config: HostedCaptionerConfig, transport: str = "") -> MediaFiles | VideoAddresses:
    """The files of the data, or the addresses at which the service reads them.

    Raises:
        ConfigError: the service reads no addresses, or no Cloud Storage objects; or `captioner.urls` is not a list.
    """
    if config.urls is not None or data.is_remote:
        if not config.reads_addresses:
            raise ConfigError(
                f"captioner={CAPTIONERS.name_of(config)} sends video files: data.videos should be a folder."
            )
        if data.videos.startswith(CLOUD_STORAGE) and config.urls is None and not config.has_file_store:
            raise ConfigError(
                f"captioner={CAPTIONERS.name_of(config)} reads no Cloud Storage objects: expected https://host/folder."
            )
        if config.transport in ("proxy", "upload"):
            raise ConfigError(
                f"captioner.transport={config.transport} has no effect on videos that the service reads itself."
            )
        return VideoAddresses(data.videos, None if config.urls is None else read_urls(Path(config.urls)))
    return MediaFiles(
        Path(data.videos),
        transport or config.transport,
        data.captions_path(config.name).parent / "proxies",
        inline_bytes=config.inline_bytes,
        can_upload=config.uploads_videos and not config.in_batches,
        reads_ranges=config.reads_ranges,
        timeout_s=300,
    )
