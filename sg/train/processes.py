"""A team of processes that train together: how they start, and how they agree.

Every process runs the same code with the same settings. The process of rank 0 leads: it alone makes inputs, takes
locks, writes files, evaluates and logs. The others wait for it, encode their share of the clips, and train.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from sg.core.errors import ConfigError, SgError

Value = TypeVar("Value")

# The leader may caption, curate or encode for days while the others wait.
_WAIT_LIMIT = timedelta(days=30)
# Seconds in which the other processes may end by themselves after one has failed.
_GRACE_S = 20.0


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a run: the `rank` of this one, and their number."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """True for the process that does the work that is done once."""
        return self.rank == 0

    def agreed(self, decide: Callable[[], Value]) -> Value:
        """Call `decide` in the leading process, and return its result, or raise its error, in all processes."""
        if self.size == 1:
            return decide()
        import torch.distributed as dist

        outcome: list[Any] = [None, None]
        if self.leads:
            try:
                outcome[0] = decide()
            except SgError as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome, src=0, group=_control_group())
        if outcome[1] is not None:
            raise outcome[1]
        value: Value = outcome[0]
        return value

    def gathered(self, value: Value) -> list[Value]:
        """The `value` of every process, by rank."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=_control_group())
        return values


ALONE = Team()


def is_team_member() -> bool:
    """True if this process was started as one of several, by us or by `torchrun`."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@cache
def join_team(accelerator: str, devices: int) -> Team:
    """The team of this process; the first call connects it with the others.

    Raises:
        ConfigError: the number of started processes is not that of the devices.
    """
    if not is_team_member():
        return ALONE
    if int(os.environ["WORLD_SIZE"]) != devices:
        raise ConfigError(
            f"{os.environ['WORLD_SIZE']} processes were started for {devices} devices (trainer.nodes x devices): "
            "start one per device; with one node, train.py starts them by itself."
        )
    import torch
    import torch.distributed as dist

    if accelerator == "gpu":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    _control_group()
    return Team(dist.get_rank(), dist.get_world_size())


def leave_team() -> None:
    """Disconnect this process from its team once all its work is done.

    The threads of a connection that is open while Python ends can abort the process, which is then reported as failed.
    A process that fails keeps its connection: to close it could wait for the others.
    """
    if is_team_member():
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


@cache
def _control_group() -> Any:
    import torch.distributed as dist

    return dist.new_group(backend="gloo", timeout=_WAIT_LIMIT)


def die_with_parent() -> None:
    """Called in a child before it runs: the kernel sends it SIGTERM when the parent dies, for whatever reason."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def run_together(command: Sequence[str], size: int, environment: Mapping[str, str] | None = None) -> int:
    """Run `command` as `size` processes of one team on this machine; return the first exit code that is not 0, or 0.

    When one fails, the others have some seconds to log why before they are ended. They find one another through a port
    that this process keeps open, so two teams on one machine cannot mix.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # exported, but not by name

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    # The variables of torchrun, which PyTorch and Lightning read.
    shared = {
        **(os.environ if environment is None else environment),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "sg",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    children: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(size):
            ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            children.append(subprocess.Popen(command, env={**shared, **ranks}, preexec_fn=die_with_parent))
        return _first_failure(children)
    finally:
        _end(children)


def _first_failure(children: Sequence[subprocess.Popen[bytes]]) -> int:
    failed_at: float | None = None
    first = 0
    while True:
        codes = [child.poll() for child in children]
        if failed_at is None and any(codes):
            failed_at, first = time.monotonic(), next(code for code in codes if code)
        if None not in codes or (failed_at is not None and time.monotonic() - failed_at > _GRACE_S):
            return first
        time.sleep(0.1)


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
