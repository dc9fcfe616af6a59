"""Maps on a Ray cluster: the results of one process, although workers and nodes die and share addresses only."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sg.artefacts.manifest import read_manifest
from sg.core.crew.travel import packed, unpacked
from sg.core.crew.workers import Crew, check_engine, open_map
from sg.core.errors import ConfigError, DataError
from sg.core.places.mirror import mirrored, push
from sg.embed.embedders.internvideo2 import InternVideo2Config
from sg.embed.run import embed_videos
from sg.sources.config import DataConfig
from sg.sources.sets.folder import FolderDataConfig, scan_folder
from tests.cluster import TwoNodes
from tests.embed.builders import contents, embedder, make_world
from tests.embed.conftest import tower  # noqa: F401  # a fixture


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    pytest.importorskip("ray")
    cluster = TwoNodes(tmp_path_factory.mktemp("nodes"))
    yield cluster
    cluster.close()


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address that this process and the nodes share."""
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "driver"))
    monkeypatch.setenv("SG_PLACES", "")
    (tmp_path / "bucket").mkdir()
    yield f"file://{tmp_path}/bucket"


def refuse(item: int) -> int:
    if item == 3:
        raise DataError("three is refused")
    return item * item


class Dies:
    """A worker whose process ends at some item."""

    def __call__(self, item: int) -> int:
        os._exit(1)


@pytest.mark.slow
def test_results_come_in_order_and_errors_of_workers_are_sentences(nodes: TwoNodes) -> None:
    with open_map("engine", "ray") as mapped:
        assert list(mapped(refuse, [5, 1, 4, 2])) == [25, 1, 16, 4]
        with pytest.raises(DataError, match="three is refused"):
            list(mapped(refuse, range(9)))
    with Crew(Dies) as crew, pytest.raises(DataError, match="4 workers of the Ray cluster were lost"):
        crew.submit(1).result()


@pytest.mark.slow
def test_vectors_are_the_same_bytes_although_a_worker_and_a_node_die(
    tmp_path: Path,
    tower: Path,  # noqa: F811
    nodes: TwoNodes,
    address: str,
) -> None:
    data = make_world(tmp_path / "bucket", "abcdefghijkl")
    (tmp_path / "bucket" / "videos" / "e.mp4").write_bytes(b"")
    work = mirrored(f"{address}/work", "paths.work")
    tower.rename(work / "tower")
    push(work)
    far = DataConfig(name="mine", dir=data.dir, videos=str(mirrored(f"{address}/videos", "data.videos", copied=False)))
    settings = embedder(work / "tower", batch_size=1)
    whole = contents(embed_videos(far, settings, out_path=tmp_path / "whole"))
    with nodes.losses(node=True) as killed:
        out = embed_videos(far, settings, out_path=tmp_path / "ray", engine="ray")
    assert len(killed) == 1
    assert contents(out) == whole
    assert any(cache.glob("work-*/tower/config.json") for cache in nodes.caches)


@pytest.mark.slow
def test_a_scan_finds_the_same_rows_although_a_worker_and_a_node_die(
    tmp_path: Path, nodes: TwoNodes, address: str
) -> None:
    make_world(tmp_path / "bucket", "abcdefghijkl")
    (tmp_path / "bucket" / "videos" / "e.mp4").write_bytes(b"")
    videos = str(mirrored(f"{address}/videos", "data.videos", copied=False))
    whole = scan_folder(FolderDataConfig(name="here", dir=str(tmp_path / "here"), videos=videos))
    with nodes.losses(node=True) as killed:
        config = FolderDataConfig(name="here", dir=str(tmp_path / "ray"), videos=videos, engine="ray")
        found = scan_folder(config)
    assert len(killed) == 1
    assert found.read_bytes() == whole.read_bytes()
    assert read_manifest(found).content_hash == read_manifest(whole).content_hash


def test_addresses_travel_and_other_paths_stay(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = mirrored(f"{address}/work", "paths.work")
    (work / "a.txt").write_text("content")
    push(work)
    videos = mirrored(f"{address}/videos", "data.videos", copied=False)
    sent = packed({"file": work / "a.txt", "text": str(work / "a.txt"), "videos": videos, "other": tmp_path, "/": "/x"})
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "other-machine"))
    monkeypatch.setenv("SG_PLACES", "")
    found = unpacked(sent)
    assert found["file"].is_relative_to(tmp_path / "other-machine") and found["file"].read_text() == "content"
    assert found["text"] == str(found["file"])
    assert found["videos"].name.endswith(".ranges") and found["videos"].is_relative_to(tmp_path / "other-machine")
    assert (found["other"], found["/"]) == (tmp_path, "/x")


def test_a_data_type_that_depends_on_the_node_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    data = make_world(tmp_path, "a")
    with pytest.raises(ConfigError, match=r"embedder\.dtype=auto would depend on the node"):
        embed_videos(data, InternVideo2Config(name="x", weights="w"), engine="ray")


def test_a_missing_ray_and_a_wrong_engine_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"data\.engine=ray needs Ray .*'\.\[ray\]'.*data\.engine=local"):
        check_engine("data.engine", "ray")
    with pytest.raises(ConfigError, match="local, ray"):
        check_engine("data.engine", "rai")
