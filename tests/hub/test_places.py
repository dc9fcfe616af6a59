"""Videos in a dataset repository of the hub (`data.videos=hf://datasets/OWNER/NAME/...`), on a hub on loopback."""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from sg.artefacts.manifest import read_manifest
from sg.core.content import file_content
from sg.core.errors import DataError
from sg.core.places import ranges, store
from sg.core.places.mirror import mirrored
from sg.core.places.settings import local_place
from sg.sources.sets.folder import FolderDataConfig, scan_folder
from sg.video.reader import read_frames
from sg.video.sampling import MiddleOfSegments
from tests.hub.server import Hub, running
from tests.video.test_far_videos import bytes_of_groups, long_video


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SG_PLACES", "")
    monkeypatch.setattr(ranges, "_last", ranges._Blocks())
    monkeypatch.setattr(store, "_PAUSE_S", 0.0)
    with running() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("HF_ENDPOINT", server.url)  # of processes that read videos
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        store._filesystem.cache_clear()
        yield server
    store._filesystem.cache_clear()


def test_a_dataset_of_the_hub_is_scanned_and_its_videos_are_read_by_ranges(hub: Hub, tmp_path: Path) -> None:
    here = tmp_path / "here"
    video = long_video(here / "clips" / "a clip.mp4", 60)
    with tarfile.open(here / "clips" / "0.tar", "w") as tar:
        tar.add(video, "b.mp4")
    (here / "clips" / "broken.mp4").write_bytes(video.read_bytes()[:3000])
    files = {path.relative_to(here).as_posix(): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    hub.repos["datasets/lab/videos"] = {**files, "README.md": b"card"}

    def rows(place: str, name: str) -> list[tuple[str, str, int]]:
        config = FolderDataConfig(name="mine", dir=str(tmp_path / name), videos=place, workers=1)
        found = read_manifest(scan_folder(config)).records()
        return [(row.path, row.status, row.num_frames) for row in found]

    far = local_place("data.videos", "hf://datasets/lab/videos/clips")
    assert rows(far, "there") == rows(str(here / "clips"), "local")
    assert {status for _, status, _ in rows(far, "there")} == {"ok", "truncated"}
    for path in (row[0] for row in rows(far, "there") if row[1] == "ok"):
        assert file_content(Path(far) / path) == file_content(video)
        ranges._last = ranges._Blocks()
        before = hub.sent
        there, plain = read_frames(Path(far) / path, MiddleOfSegments(8)), read_frames(video, MiddleOfSegments(8))
        assert there.indices == plain.indices and np.array_equal(there.frames, plain.frames)
        assert 0 < hub.sent - before <= 1.2 * bytes_of_groups(video, plain.indices)


def test_a_repository_that_does_not_exist_is_one_sentence(hub: Hub) -> None:
    folder = mirrored("hf://datasets/lab/none", "data.videos", copied=False)
    with pytest.raises(DataError, match=re.escape("hf://datasets/lab/none")):
        ranges.listed(folder)
