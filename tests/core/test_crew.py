"""Maps on a Ray cluster: the results of one process, although workers and nodes die and share addresses only."""

import asyncio
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sg.artefacts.captions import read_captions
from sg.artefacts.manifest import VideoRecord, read_manifest
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.caption.hosted.captioners.hf import HfCaptionerConfig
from sg.caption.hosted.engine.addresses import media_of
from sg.caption.hosted.engine.items import item_of
from sg.caption.hosted.engine.media import MediaFile
from sg.caption.hosted.services.records import Answer, Failure, Request, RequestMedia
from sg.core.crew import workers
from sg.core.crew.travel import packed, unpacked
from sg.core.crew.workers import Crew, check_engine, open_map
from sg.core.errors import ConfigError, DataError
from sg.core.places import store
from sg.core.places.mirror import mirrored, push
from sg.core.places.store import Store
from sg.embed.embedders.internvideo2 import InternVideo2Config
from sg.embed.run import embed_videos
from sg.models.student import STUDENTS, Student, load_student
from sg.models.students.hf import HfConfig
from sg.sources.config import DataConfig
from sg.sources.sets.folder import FolderDataConfig, scan_folder
from sg.train.data.samples import Clip
from sg.train.data.visual_tokens import fill_cache
from tests.caption.hosted.test_own_machines import answered, killed_after, make_videos, taught  # noqa: F401  # a fixture
from tests.cluster import TwoNodes
from tests.embed.builders import contents, embedder, make_world
from tests.embed.conftest import tower  # noqa: F401  # a fixture
from tests.s3 import emulator
from tests.study.commands import run

LEDGER = "folder/captions/hf_tiny_qwen3_vl/ledger.sqlite"


@pytest.fixture(scope="module")
def bucket() -> Iterator[None]:
    """An S3 emulator, which the environment of this process and of the nodes names."""
    with emulator():
        store._filesystem.cache_clear()
        yield
    store._filesystem.cache_clear()


@pytest.fixture(scope="module")
def nodes(bucket: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    pytest.importorskip("ray")
    cluster = TwoNodes(tmp_path_factory.mktemp("nodes"))
    yield cluster
    cluster.close()


@pytest.fixture
def address(bucket: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address: all that this process and the nodes share."""
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "driver"))
    monkeypatch.setenv("SG_PLACES", "")
    return f"s3://bucket/{tmp_path.name}"


def uploaded(videos: Path, address: str) -> Path:
    """The path that stands for the folder `address/videos`, to which the files of `videos` were copied."""
    place = Store(f"{address}/videos")
    for path in videos.iterdir():
        place.put(path, path.name)
    return mirrored(place.address, "data.videos", copied=False)


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
    data = make_world(tmp_path / "made", "abcdefghijkl")
    (tmp_path / "made" / "videos" / "e.mp4").write_bytes(b"")
    work = mirrored(f"{address}/work", "paths.work")
    tower.rename(work / "tower")
    push(work)
    far = DataConfig(name="mine", dir=data.dir, videos=str(uploaded(tmp_path / "made" / "videos", address)))
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
    make_world(tmp_path / "made", "abcdefghijkl")
    (tmp_path / "made" / "videos" / "e.mp4").write_bytes(b"")
    videos = str(uploaded(tmp_path / "made" / "videos", address))
    whole = scan_folder(FolderDataConfig(name="here", dir=str(tmp_path / "here"), videos=videos))
    with nodes.losses(node=True) as killed:
        config = FolderDataConfig(name="here", dir=str(tmp_path / "ray"), videos=videos, engine="ray")
        found = scan_folder(config)
    assert len(killed) == 1
    assert found.read_bytes() == whole.read_bytes()
    assert read_manifest(found).content_hash == read_manifest(whole).content_hash


def student_in(work: Path) -> HfConfig:
    """The demo's Qwen3-VL in a folder that stands for an address."""
    shutil.copytree("sg/demo/assets/tiny_qwen3_vl", work / "model")
    push(work)
    return HfConfig(checkpoint=str(work / "model"), dtype="float32", feature_dtype="float32")


@pytest.mark.slow
def test_visual_tokens_are_the_same_bytes_although_a_worker_and_a_node_die(
    tmp_path: Path, nodes: TwoNodes, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sg.train.data.visual_tokens.CLIPS_PER_BATCH", 2)
    make_world(tmp_path / "made", "abcdefghijkl")
    (tmp_path / "made" / "videos" / "e.mp4").write_bytes(b"")
    videos = uploaded(tmp_path / "made" / "videos", address)
    clips = [Clip(name, videos / f"{name}.mp4") for name in "abcdefghijkl"]
    config = student_in(mirrored(f"{address}/work", "paths.work"))
    cache, student = STUDENTS.of(config).cache(config, ()), load_student(config)
    assert cache is not None
    widths, processor = student.feature_widths(cache.level), STUDENTS.of(config).processor(config)

    def filled(folder: Path, load: Callable[[], Student], engine: str) -> dict[str, bytes]:
        store = VisualTokenStore.create(folder, cache.identity, widths, cache.dtype)
        problems = fill_cache(store, clips, load, processor, cache.level, 1, engine=engine)
        assert problems.keys() == {"e"}
        return contents(folder)

    whole = filled(tmp_path / "whole", lambda: student, "local")
    with nodes.losses(node=True) as killed:
        found = filled(tmp_path / "ray", partial(load_student, config), "ray")
    assert len(killed) == 1
    assert found == whole


@pytest.mark.slow
def test_a_local_model_answers_the_same_although_a_worker_and_a_node_die(
    tmp_path: Path, nodes: TwoNodes, address: str
) -> None:
    data = make_world(tmp_path / "made", "abcdefghijkl")
    (tmp_path / "made" / "videos" / "e.mp4").write_bytes(b"not a video")
    videos = uploaded(tmp_path / "made" / "videos", address)
    student = student_in(mirrored(f"{address}/work", "paths.work"))
    far = DataConfig(name="mine", dir=data.dir, videos=str(videos))

    async def answers(engine: str) -> list[Answer | Failure]:
        config = HfCaptionerConfig(name="hf", student=student, batch_size=1, decode_workers=1, engine=engine)
        media, service = media_of(far, config), config.service()

        async def answer(record: VideoRecord) -> Answer | Failure:
            file = await media.prepare(item_of(record))
            assert isinstance(file, MediaFile)
            asked = RequestMedia(file.mime_type, uri=file.uri)
            return await service.generate(Request("", "", "Describe it.", asked, {"max_output_tokens": 8}))

        try:
            found = await asyncio.gather(*map(answer, read_manifest(data.manifest_path).records()))
        finally:
            await service.close()
        return [
            replace(one, usage=replace(one.usage, gpu_seconds=0)) if isinstance(one, Answer) else one for one in found
        ]

    whole = asyncio.run(answers("local"))
    with nodes.losses(node=True) as killed:
        found = asyncio.run(answers("ray"))
    assert len(killed) == 1
    assert found == whole
    assert [type(one) for one in found].count(Failure) == 1
    assert len({one.text for one in found if isinstance(one, Answer)}) > 1


@pytest.mark.slow
def test_the_command_that_captions_on_a_cluster_is_killed_and_resumes_to_the_captions_of_one_machine(
    tmp_path: Path,
    taught: tuple[Path, Path],  # noqa: F811
    nodes: TwoNodes,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, prompt = taught
    make_videos(tmp_path / "made", 12)
    uploaded(tmp_path / "made", address)
    monkeypatch.setenv("SG_PLACES", "")
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)

    def command(engine: str) -> list[str]:
        return [
            "-m", "sg.caption", "data=folder", f"data.videos={address}/videos", f"paths.work={tmp_path / engine}",
            "captioner=hf", "model@captioner.student=tiny_qwen3_vl", f"captioner.engine={engine}",
            f"captioner.student.checkpoint={model}", f"captioner.prompt={prompt}",
            "captioner.batch_size=1", "captioner.max_concurrency=4", "captioner.max_duplicates=100",
            "captioner.language=null", "logger=csv",
        ]  # fmt: skip

    ledgers = {engine: tmp_path / engine / LEDGER for engine in ("local", "ray")}
    whole = run(command("local"))
    before = killed_after(command("ray"), ledgers["ray"], answers=2)
    with nodes.losses() as killed:
        done = run(command("ray"))
    assert (whole.returncode, done.returncode) == (0, 0), whole.stderr + done.stderr
    assert len(killed) == 1
    after = answered(ledgers["ray"])
    assert 1 < len(before) < 12 and {key: after[key] for key in before} == before
    captions = [read_captions(ledger.with_name("captions.parquet")) for ledger in ledgers.values()]
    assert captions[0].content_hash == captions[1].content_hash and len(captions[1]) == 12


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


def test_a_crew_that_waits_for_room_on_the_cluster_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "_PATIENCE_S", 0.05)
    crew: Crew[int, int] = Crew(partial(partial, refuse))
    crew._resources = {"num_cpus": 1}
    threading.Timer(0.5, crew._free.put, ["a worker"]).start()
    assert crew._next_free() == "a worker"
    assert [record.getMessage() for record in caplog.records] == [
        "the Ray cluster has had no room for a worker ({'num_cpus': 1}) for 0 s: waiting until other work ends; "
        "`ray status` shows it"
    ]
