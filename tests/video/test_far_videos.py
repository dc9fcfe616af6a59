"""Videos at an address: the frames of a local file, for the bytes of the wanted groups of pictures."""

import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from sg.core.errors import ConfigError, DataError
from sg.core.places import ranges, store
from sg.core.places.mirror import mirrored
from sg.sources.files.disk import list_files
from sg.sources.sets.folder import FolderDataConfig
from sg.video.frames import UnreadableVideoError
from sg.video.reader import probe, read_frames
from sg.video.sampling import MiddleOfSegments
from sg.video.writer import write_video


@pytest.fixture
def far_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SG_PLACES", "")
    monkeypatch.setattr(ranges, "_last", ranges._Blocks())
    (tmp_path / "bucket").mkdir()
    yield mirrored(f"file://{tmp_path}/bucket", "data.videos", copied=False)


def long_video(path: Path, seconds: int, fps: int = 10, group_s: int = 2) -> Path:
    """A video of moving noise with a key frame every `group_s` seconds."""
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, (180, 320, 3), dtype=np.uint8)
    frames = np.stack([np.roll(noise, 3 * number, axis=1) for number in range(seconds * fps)])
    options = {"preset": "ultrafast", "crf": "30", "g": str(group_s * fps), "sc_threshold": "0"}
    return write_video(path, frames, fps, options=options)


def sizes_of_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets the bytes of every read of a store from now on."""
    sizes: list[int] = []
    read = store.Store.read

    def counted(self: store.Store, name: str, start: int | None = None, end: int | None = None) -> bytes:
        data = read(self, name, start, end)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(store.Store, "read", counted)
    return sizes


def bytes_of_groups(path: Path, indices: tuple[int, ...]) -> int:
    """Bytes of the groups of pictures that hold these frames."""
    with av.open(str(path)) as video:
        entries = [(entry.is_keyframe, entry.size) for entry in video.streams.video[0].index_entries]
    keys = [place for place, (is_key, _) in enumerate(entries) if is_key]
    wanted = {max(key for key in keys if key <= index) for index in indices}
    ends = dict(zip(keys, [*keys[1:], len(entries)], strict=True))
    return sum(size for key in wanted for _, size in entries[key : ends[key]])


def test_eight_frames_of_a_minute_transfer_little_more_than_their_groups_of_pictures(
    far_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = long_video(tmp_path / "bucket" / "video.mp4", 60)
    here = read_frames(local, MiddleOfSegments(8))
    sizes = sizes_of_reads(monkeypatch)
    there = read_frames(far_folder / "video.mp4", MiddleOfSegments(8))
    assert there.indices == here.indices
    assert np.array_equal(there.frames, here.frames)
    assert sum(sizes) <= 1.2 * bytes_of_groups(local, here.indices)
    assert sum(sizes) < 0.5 * local.stat().st_size


class Ranges(SimpleHTTPRequestHandler):
    """Serves the files of a folder and parts of them, after as many errors as `failures` says; `sent` counts bytes."""

    protocol_version = "HTTP/1.1"
    failures = 0
    status = 503
    sent = 0

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        path, given = Path(self.translate_path(self.path)), self.headers.get("Range")
        status, data = (200, path.read_bytes()) if path.is_file() else (404, b"")
        if Ranges.failures:
            Ranges.failures -= 1
            status, data = Ranges.status, b""
        elif data and given:
            first, _, last = given.removeprefix("bytes=").partition("-")
            status, data = 206, data[int(first) : int(last) + 1]
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "GET":
            Ranges.sent += len(data)
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path, far_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a web server for the folder `bucket`."""
    monkeypatch.setattr(store, "_PAUSE_S", 0.0)
    Ranges.failures, Ranges.sent = 0, 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(tmp_path / "bucket")))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_videos_of_a_web_server_are_read_by_ranges(web: str, tmp_path: Path) -> None:
    local = long_video(tmp_path / "bucket" / "a clip.mp4", 60)
    with tarfile.open(tmp_path / "bucket" / "0.tar", "w") as tar:
        tar.add(local, "b.mp4")
    here = read_frames(local, MiddleOfSegments(8))
    folder = FolderDataConfig(name="mine", dir=str(tmp_path / "mine"), videos=web).videos_folder
    for file in list_files(tmp_path / "bucket").files:  # as a scan of the same folder on a disk finds them
        Ranges.failures, Ranges.sent = 2, 0
        there = read_frames(folder / file.path, MiddleOfSegments(8))
        assert there.indices == here.indices
        assert np.array_equal(there.frames, here.frames)
        assert 0 < Ranges.sent <= 1.2 * bytes_of_groups(local, here.indices)
    with pytest.raises(UnreadableVideoError) as problem:
        read_frames(folder / "none.mp4", [0])
    assert problem.value.status == "missing"


@pytest.mark.parametrize(("status", "remedy"), [(503, "check the store"), (403, "check the credentials")])
def test_a_web_server_that_fails_is_one_sentence_and_not_a_missing_video(
    web: str, tmp_path: Path, status: int, remedy: str
) -> None:
    (tmp_path / "bucket" / "a.mp4").write_bytes(b"video")
    folder = FolderDataConfig(name="mine", dir=str(tmp_path / "mine"), videos=web).videos_folder
    Ranges.failures, Ranges.status = 99, status
    with pytest.raises(DataError, match=rf"^{web}/a.mp4 cannot be read or written \(.*\): {remedy}, then run"):
        ranges.far_entry(folder / "a.mp4")
    Ranges.status = 503


def test_a_place_whose_package_is_missing_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # Python then finds no such module
    store._filesystem.cache_clear()
    config = FolderDataConfig(name="mine", dir=str(tmp_path / "mine"), videos="gs://bucket/videos")
    with pytest.raises(ConfigError, match=r"^gs:// needs another package: pip install gcsfs\.$"):
        config.videos_folder  # noqa: B018


def test_a_folder_at_an_address_is_listed_and_its_files_are_probed(far_folder: Path, tmp_path: Path) -> None:
    local = long_video(tmp_path / "bucket" / "a" / "video.mp4", 2)
    (tmp_path / "bucket" / "empty.mp4").touch()
    (tmp_path / "bucket" / "text.mp4").write_text("hello")
    listing = list_files(far_folder)
    assert [file.path for file in listing.files] == ["a/video.mp4", "empty.mp4", "text.mp4"]
    assert probe(far_folder / "a/video.mp4") == probe(local)
    for name, status in {"empty.mp4": "empty", "text.mp4": "unreadable", "none.mp4": "missing"}.items():
        with pytest.raises(UnreadableVideoError) as problem:
            read_frames(far_folder / name, [0])
        assert problem.value.status == status
