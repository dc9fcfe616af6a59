"""A Ray cluster of two nodes on this machine, for tests. The nodes share no cache of addresses."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HELPERS = ("metrics_agent_port", "dashboard_agent_listen_port", "runtime_env_agent_port", "metrics_export_port")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


class TwoNodes:
    """Two Ray nodes of one CPU each, connected to this process. Each has a folder for the copies of addresses."""

    def __init__(self, folder: Path) -> None:
        import ray
        from ray.cluster_utils import Cluster

        self._folder, self._number = folder, 0
        self._cluster = Cluster()
        self._add_node()
        self._second = self._add_node()
        self._cluster.wait_for_nodes()
        ray.init(address=self._cluster.address, log_to_driver=False)

    def _add_node(self) -> Any:
        """Another node.

        On a busy machine, a node gives up when its helpers have not chosen their ports within 15 s, so they are given.
        """
        for last in (False, False, True):
            self._number += 1
            settings: dict[str, Any] = {
                "env_vars": {"SG_CACHE": str(self._folder / f"node-{self._number}")},
                "include_dashboard": False,
            }
            settings |= dict(zip(_HELPERS, _free_ports(len(_HELPERS)), strict=True))
            try:
                return self._cluster.add_node(num_cpus=1, object_store_memory=100 << 20, **settings)
            except Exception:  # Ray raises nothing more special
                if last:
                    raise
        raise AssertionError

    @property
    def address(self) -> str:
        """What RAY_ADDRESS should be for another process."""
        return str(self._cluster.address)

    @property
    def caches(self) -> list[Path]:
        """The folders of the nodes."""
        return sorted(self._folder.glob("node-*"))

    def close(self) -> None:
        """End the cluster."""
        import ray

        ray.shutdown()
        self._cluster.shutdown()

    @contextlib.contextmanager
    def losses(self, *, node: bool = False) -> Iterator[list[int]]:
        """Kill one busy worker during the block, and then the second node if `node`; yields the killed worker."""
        killed: list[int] = []
        over = threading.Event()

        def kill() -> None:
            while not killed and not over.is_set():
                for pid in self._busy()[:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                time.sleep(0.02)
            if node and killed:
                self._cluster.remove_node(self._second, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            yield killed
        finally:
            over.set()
            killer.join()
            if node:
                self._second = self._add_node()

    def _busy(self) -> list[int]:
        """Workers in the middle of a call: Ray writes it into their titles."""
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                is_ours = str(self._folder).encode() in (folder / "environ").read_bytes()
                if title.startswith(b"ray::CrewWorker.call") and is_ours:
                    found.append(int(folder.name))
        return found
