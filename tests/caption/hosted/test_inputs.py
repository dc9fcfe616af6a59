"""How a video reaches the service: by its address, with its sound, within memory."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tarfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from google.oauth2.credentials import Credentials

from sg.caption.hosted.captioners.gemini_legacy import GeminiLegacyCaptionerConfig
from sg.caption.hosted.captioners.openai_compatible import OpenAICompatibleCaptionerConfig
from sg.caption.hosted.engine import media
from sg.caption.hosted.engine.addresses import VideoAddresses, media_of, read_urls
from sg.caption.hosted.engine.items import CaptionItem
from sg.caption.hosted.engine.media import MediaFile, MediaFiles
from sg.caption.hosted.engine.proxies import make_proxy
from sg.caption.hosted.run import ledger_path, recipe_of
from sg.caption.hosted.services.records import Failure
from sg.caption.hosted.services.secrets import REDACTION
from sg.caption.hosted.settings import BatchConfig
from sg.caption.ledger import reading
from sg.core.errors import ConfigError, MissingInputError, SgError
from sg.core.places.mirror import mirrored
from sg.sources.config import DataConfig
from sg.sources.files.disk import list_files
from sg.sources.manifests import make_manifest
from sg.sources.sets.folder import FolderDataConfig
from sg.video.reader import probe
from sg.video.writer import write_video
from tests.caption.hosted.builder import batch_settings, caption, data_folder, settings
from tests.caption.hosted.fake_gemini.state import State

SILENT = CaptionItem("k", "v", "test", "", "v.mp4", 18.0, None, 0, None, None, "")


def at(data: DataConfig, place: str) -> DataConfig:
    """The data after its files were moved to an address."""
    shutil.rmtree(data.videos)
    return replace(data, videos=place)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google credentials of the machine."""
    monkeypatch.setattr("google.auth.default", lambda scopes: (Credentials("cloud-token"), None))


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("tier", ["standard", "batch"])
def test_objects_of_cloud_storage_are_registered_and_never_copied(
    tmp_path: Path, state: State, url: str, tier: str
) -> None:
    data = at(data_folder(tmp_path, ["a", "b"]), "gs://bucket/clips/")
    config = settings(url) if tier == "standard" else batch_settings(url)
    caption(data, config)
    assert dict(state.paid) == {"a": 1, "b": 1}
    assert dict(state.addresses) == {"gs://bucket/clips/a.mp4": 1, "gs://bucket/clips/b.mp4": 1}
    assert not any(route.startswith("POST /upload") for route in state.routes) or tier == "batch"
    with reading.open_for_reading(ledger_path(data, config)) as db:
        (row, _) = reading.results(db, recipe_of(config).name)
    assert row.record["transport"] == ("url" if tier == "standard" else "batch") and row.record["media_sha256"] == ""
    # Registered objects of a gigabyte each take no space in the store: a second run may upload.
    files = data_folder(tmp_path / "files", ["c"])
    state.settings.store_cap = 10**6
    caption(files, settings(url, transport="upload"))
    assert state.paid["c"] == 1


def test_cloud_storage_needs_google_credentials(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.auth.exceptions import DefaultCredentialsError

    def nothing(scopes: object) -> None:
        raise DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr("google.auth.default", nothing)
    with pytest.raises(SgError, match="default credentials were not found"):
        caption(at(data_folder(tmp_path, ["a"]), "gs://bucket"), settings(url))


@pytest.mark.parametrize("tier", ["standard", "batch"])
def test_public_urls_are_sent_as_they_are(tmp_path: Path, state: State, url: str, tier: str) -> None:
    names = {"a": "a b.mp4", "c": "c.mp4"}
    data = at(data_folder(tmp_path, ["a", "c"], names=names), "https://host/clips")
    caption(data, settings(url) if tier == "standard" else batch_settings(url))
    assert set(state.addresses) == {"https://host/clips/a%20b.mp4", "https://host/clips/c.mp4"}
    if tier == "standard":
        part = state.bodies[0]["contents"][0]["parts"][0]
        assert part["fileData"]["mimeType"] == "video/mp4"


def test_signed_urls_come_from_a_file_and_reach_no_ledger_and_no_log(
    tmp_path: Path, state: State, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = data_folder(tmp_path, ["a", "b", "c"])
    urls = tmp_path / "urls.txt"
    signed = "https://bucket.host/{}.mp4?X-Goog-Expires=900&X-Goog-Signature=5ec7e7"
    urls.write_text(f"a {signed.format('a')}\nb\t{signed.format('b')}\n", encoding="utf-8")
    config = settings(url, urls=str(urls))
    with caplog.at_level(logging.DEBUG):
        caption(data, config)
    assert set(state.addresses) == {signed.format("a"), signed.format("b")}
    with reading.open_for_reading(ledger_path(data, config)) as db:
        assert reading.states(db, recipe_of(config).name) == {"failed_permanent": 1, "succeeded": 2}
        assert "has no URL of this video" in reading.last_error(db, recipe_of(config).name, "failed_permanent")
        assert "5ec7e7" not in "".join(db.iterdump())
    assert "5ec7e7" not in caplog.text
    assert REDACTION.clean(signed) == "https://bucket.host/{}.mp4?X-Goog-Expires=900&[key hidden]"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a not-a-url\n", "Line 1 of"),
        (b"a https://host/a.mp4\n\na https://host/b.mp4\n", "Line 3 of .* has another URL of the video 'a'"),
        (b"\n", "urls.txt is empty"),
        ("a https://host/a.mp4".encode("utf-16"), "is not a text in UTF-8"),
    ],
)
def test_a_wrong_list_of_urls_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        read_urls(urls)


def test_a_list_of_urls_may_come_from_windows(tmp_path: Path) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_bytes(b"\xef\xbb\xbfa\thttps://host/a.mp4\r\nb https://host/b.mp4\r\na https://host/a.mp4\r\n")
    assert read_urls(urls) == {"a": "https://host/a.mp4", "b": "https://host/b.mp4"}


@pytest.mark.parametrize("transport", ["proxy", "upload"])
def test_what_the_service_reads_itself_is_neither_a_proxy_nor_uploaded(transport: str, tmp_path: Path) -> None:
    data = at(data_folder(tmp_path, ["a"]), "https://host/clips")
    with pytest.raises(ConfigError, match=f"captioner.transport={transport} has no effect"):
        media_of(data, settings("http://localhost:1", transport=transport))


def test_own_servers_read_urls_and_other_services_say_that_they_do_not(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = at(data_folder(tmp_path, ["a"]), "https://host/clips")
    caption(data, settings(f"{url}/v1", OpenAICompatibleCaptionerConfig, name="own"))
    assert dict(state.addresses) == {"https://host/clips/a.mp4": 1} and state.paid["a"] == 1
    with pytest.raises(ConfigError, match="reads no Cloud Storage objects"):
        caption(replace(data, videos="gs://b"), settings(f"{url}/v1", OpenAICompatibleCaptionerConfig, name="other"))
    with pytest.raises(ConfigError, match=r"sends video files: data\.videos should be a folder"):
        caption(data, settings(url, GeminiLegacyCaptionerConfig, name="legacy"))
    with pytest.raises(ConfigError, match="should be a folder, gs://"):
        caption(replace(data, videos="s3://bucket"), settings(url))


def test_a_folder_at_an_address_needs_an_earlier_scan(tmp_path: Path) -> None:
    config = FolderDataConfig(name="mine", dir=str(tmp_path / "mine"), videos="gs://bucket")
    with pytest.raises(MissingInputError, match="scan a copy of them first"):
        make_manifest(config)
    data_folder(tmp_path / "mine", ["a"])
    assert make_manifest(config) == tmp_path / "mine" / "manifest.parquet"


def with_tone(path: Path, seconds: int = 8, sound: str = "aac") -> Path:
    """A video with a tone of the same length."""
    write_video(path.with_name("picture.mp4"), np.zeros((seconds, 48, 64, 3), np.uint8), 1)
    with av.open(str(path.with_name("picture.mp4"))) as picture, av.open(str(path), "w") as target:
        video = target.add_stream_from_template(picture.streams.video[0])
        track = target.add_stream(sound, rate=48_000, layout="stereo")
        tone = (8000 * np.sin(np.arange(48_000) / 20)).astype(np.int16)
        for second in range(seconds):
            frame = av.AudioFrame.from_ndarray(np.stack([tone, tone], 1).reshape(1, -1), format="s16", layout="stereo")
            frame.rate, frame.pts, frame.time_base = 48_000, 48_000 * second, Fraction(1, 48_000)
            target.mux(track.encode(frame))
        target.mux(track.encode())
        for packet in picture.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                target.mux(packet)
    return path


@pytest.mark.parametrize(("name", "sound"), [("a.mp4", "aac"), ("a.mkv", "flac"), ("a.mkv", "libmp3lame")])
def test_a_proxy_keeps_the_sound(tmp_path: Path, name: str, sound: str) -> None:
    proxy = make_proxy(with_tone(tmp_path / name, sound=sound), tmp_path / "proxies", 60)
    assert isinstance(proxy, Path)
    with av.open(str(proxy)) as video:
        (track,) = video.streams.audio
        assert (track.codec_context.name, track.rate, track.channels) == ("aac", 24_000, 1)
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in video.decode(track)])
    assert len(samples) / 24_000 == pytest.approx(8, abs=0.1) and np.abs(samples).mean() > 0.05
    assert (probe(proxy).num_frames, probe(proxy).fps) == (8, 1)


def test_the_prompt_speaks_of_the_sound_that_is_sent(tmp_path: Path) -> None:
    """Whatever the manifest says: a proxy without a sound track is a silent clip to the service."""
    recipe = recipe_of(settings("http://x"))
    file = MediaFile("video/mp4", tmp_path, 9, b"", "", has_audio=False, proxy=True)
    for known in (True, None):
        assert "The clip is silent" in recipe.request(replace(SILENT, has_audio=known), file, "", {}).user
    heard = recipe.request(replace(SILENT, has_audio=False), replace(file, has_audio=True), "", {})
    assert "Mention speech or sound" in heard.user
    assert (
        "The clip is silent"
        in recipe.request(replace(SILENT, has_audio=False), replace(file, proxy=False), "", {}).user
    )


@pytest.mark.parametrize("has_sound", [True, False])
def test_captions_of_proxies_and_of_files_have_the_same_rule_about_sound(
    tmp_path: Path, state: State, url: str, has_sound: bool
) -> None:
    data = data_folder(tmp_path, ["a"], extra={"has_audio": has_sound})
    if has_sound:
        with_tone(Path(data.videos) / "a.mp4")
    else:
        write_video(Path(data.videos) / "a.mp4", np.zeros((4, 48, 64, 3), np.uint8), 1)
    for transport in ("inline", "proxy"):
        caption(data, settings(url, transport=transport))
    rules = {"Mention speech or sound" in body["contents"][0]["parts"][1]["text"] for body in state.bodies}
    assert len(state.bodies) == 2 and rules == {has_sound}


def test_the_largest_request_is_a_setting() -> None:
    assert settings("http://x").inline_bytes == 90_000_000
    assert settings("http://x", inline_mb=20).inline_bytes == 18_000_000
    assert batch_settings("http://x").inline_bytes == 18_000_000
    assert batch_settings("http://x", inline_mb=100).inline_bytes == 90_000_000
    with pytest.raises(ConfigError, match="inline_mb"):
        settings("http://x", batch=BatchConfig(inline_mb=0))


def test_files_of_an_address_or_tar_file_are_sent_inside_the_request_or_as_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SG_PLACES", "")
    plain = write_video(tmp_path / "videos" / "a.mp4", np.zeros((20, 48, 64, 3), np.uint8), 10)
    with tarfile.open(plain.with_name("0.tar"), "w") as tar:
        tar.add(plain, "b.mp4")
    far = mirrored(f"file://{tmp_path}/videos", "data.videos", copied=False)
    inside = next(file.path for file in list_files(far).files if file.name == "0.tar/b.mp4")

    def sent(videos: Path, path: str, transport: str) -> MediaFile | Failure:
        files = MediaFiles(videos, transport, tmp_path / "proxies", inline_bytes=10**6, can_upload=True, timeout_s=60)
        return asyncio.run(files.prepare(replace(SILENT, path=path)))

    for videos, path in ((far, "a.mp4"), (far, inside), (tmp_path / "videos", inside)):
        small, large = sent(videos, path, "auto"), sent(videos, path, "upload")
        assert isinstance(small, MediaFile) and small.data == plain.read_bytes() and not small.proxy
        assert isinstance(large, MediaFile) and large.data and large.proxy
        assert isinstance(sent(videos, path, "path"), Failure)
    here = sent(tmp_path / "videos", "a.mp4", "upload")
    assert isinstance(here, MediaFile) and here.data is None
    named = asyncio.run(VideoAddresses("gs://bucket/shards").prepare(replace(SILENT, path=inside)))
    assert isinstance(named, Failure) and "no part of an archive" in named.message


def test_files_wait_until_memory_has_room_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_HELD", 2500)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.mp4").write_bytes(b"x" * 1000)
    (tmp_path / "large.mp4").write_bytes(b"x" * 9000)
    files = MediaFiles(tmp_path, "auto", tmp_path / "proxies", inline_bytes=10**6, can_upload=True, timeout_s=60)

    async def work() -> None:
        first, second = [await files.prepare(replace(SILENT, path=f"{name}.mp4")) for name in "ab"]
        third = asyncio.create_task(files.prepare(replace(SILENT, path="c.mp4")))
        await asyncio.sleep(0.05)
        assert not third.done()
        assert isinstance(first, MediaFile) and isinstance(second, MediaFile)
        await files.let_go(first)
        held = await third
        assert isinstance(held, MediaFile) and held.data == b"x" * 1000
        for file in (second, held):
            await files.let_go(file)
        large = await files.prepare(replace(SILENT, path="large.mp4"))
        assert isinstance(large, MediaFile) and large.size == 9000

    asyncio.run(work())
