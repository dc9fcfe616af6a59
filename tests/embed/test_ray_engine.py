"""The Ray engine writes the same bytes as the local engine, even if a worker dies."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sg.core.errors import ConfigError
from sg.embed.embedders.internvideo2 import InternVideo2Config
from sg.embed.engines.ray_cluster import check_ray
from sg.embed.run import embed_videos
from tests.embed.builders import contents, embedder, make_world


@pytest.fixture
def cluster() -> Iterator[None]:
    """Ray on this machine, for the length of a test."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    yield
    ray.shutdown()


def busy_decoders() -> list[int]:
    """Processes of this test's cluster that are decoding: Ray writes their tasks into their titles."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").strip().decode(errors="replace")
            if (
                title.startswith("ray::")
                and "Decode" in title
                and not title.endswith(")")
                and _is_ours(int(folder.name))
            ):
                found.append(int(folder.name))
    return found


def _is_ours(pid: int) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return False


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_still_writes_the_same_bytes(
    tmp_path: Path, tower: Path, cluster: None, decoded: list[str]
) -> None:
    data = make_world(tmp_path, "abcdefghijkl")
    (tmp_path / "videos" / "e.mp4").write_bytes(b"")
    whole = contents(embed_videos(data, embedder(tower), out_path=tmp_path / "whole"))
    killed: list[int] = []
    over = threading.Event()

    def kill_one() -> None:
        while not killed and not over.is_set():
            for pid in busy_decoders()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.02)

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        out = embed_videos(data, embedder(tower), out_path=tmp_path / "ray", engine="ray")
    finally:
        over.set()
        killer.join()

    assert len(killed) == 1
    assert contents(out) == whole


def test_a_data_type_that_depends_on_the_node_is_refused() -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=r"embedder\.dtype=auto would depend on the node"):
        check_ray(InternVideo2Config(name="x", weights="w"))
    check_ray(InternVideo2Config(name="x", weights="w", dtype="float32"))


def test_a_missing_ray_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    monkeypatch.setitem(__import__("sys").modules, "ray.data", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[ray\]'"):
        check_ray(InternVideo2Config(name="x", weights="w"))
