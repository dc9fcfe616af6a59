"""A run on several devices: one process per device, started here unless torchrun has started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.result import FAILED, read_result
from sg.core.errors import ConfigError, DataError, ExitCode, MissingInputError, SgError, Terminated
from sg.core.layout import program

if TYPE_CHECKING:
    from sg.study.run import StudyRun
    from sg.train.config import TrainerConfig

STARTED_BY_US = "SG_TEAM"
_FIRST_PORT, _PORTS = 20_000, 10_000


def job_command(hydra: Any, overrides: Sequence[str], folder: Path) -> list[str]:
    """The command of one run in its `folder`, with the config folders and the config name of the `hydra` settings."""
    from hydra.core.override_parser.types import Quote, QuotedString

    sources = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    options = [f"--config-dir={path}" for path in sources] + [f"--config-name={hydra.job.config_name}"]
    run_folder = QuotedString(str(folder), Quote.single).with_quotes()
    return [*program("train"), *options, *overrides, "hydra.mode=RUN", f"hydra.run.dir={run_folder}"]


def run_on_devices(run: StudyRun) -> None:
    """Make the run with one process per device of this machine.

    Raises:
        ConfigError: the run needs several machines, which this one cannot start.
        SgError: the run failed; its result records the reason.
        KeyboardInterrupt, Terminated: a signal ended a process.
    """
    from hydra.core.hydra_config import HydraConfig

    from sg.study.run import note_reason
    from sg.train.processes import run_together

    hydra, trainer = HydraConfig.get(), run.config.trainer
    command = job_command(hydra, list(hydra.overrides.task), run.folder)
    environment = os.environ | {"OMP_NUM_THREADS": str(trainer.num_threads), STARTED_BY_US: "1"}
    if trainer.nodes > 1:
        start = slurm_start(trainer)
        code = subprocess.run([*start, *command], env=environment, check=False).returncode
    else:
        code = run_together(command, trainer.devices, environment)
    if code == 0:
        return
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    note_reason(run, f"a training process ended with {how}{_slurm_log(trainer)}")
    if is_termination(code):
        raise Terminated
    raise SgError(_reason(run.folder))


def slurm_start(trainer: TrainerConfig) -> list[str]:
    """The beginning of the command that starts one process per device on this node of a Slurm job.

    Slurm runs this task once on every node. The processes of all nodes meet on the first one, at a port that follows
    from the number of the job.

    Raises:
        ConfigError: this process is not in a Slurm job with one task on each of `trainer.nodes` nodes.
    """
    number = os.environ.get("SLURM_JOB_ID", "")
    sizes = [os.environ.get(f"SLURM_{name}") for name in ("JOB_NUM_NODES", "NTASKS")]
    if not number or sizes != [str(trainer.nodes)] * 2:
        raise ConfigError(
            f"trainer.nodes={trainer.nodes} needs one start per node: launcher=slurm, or torchrun "
            f"--nnodes={trainer.nodes} --nproc-per-node={trainer.devices} --rdzv-backend=c10d "
            "--rdzv-endpoint=HOST:29500 train.py ... on each."
        )
    from submitit.slurm.slurm import SlurmJobEnvironment

    first = SlurmJobEnvironment().hostnames[0]
    port = _FIRST_PORT + int(number) % _PORTS
    return [
        sys.executable, "-m", "torch.distributed.run", f"--nnodes={trainer.nodes}",
        f"--nproc-per-node={trainer.devices}", "--rdzv-backend=c10d", f"--rdzv-endpoint={first}:{port}",
        f"--rdzv-id={number}", "--no-python",
    ]  # fmt: skip


def _slurm_log(trainer: TrainerConfig) -> str:
    """Where torchrun's own words are, if it has started the processes."""
    if trainer.nodes == 1:
        return ""
    from submitit.slurm.slurm import SlurmJobEnvironment

    return f": the log of Slurm job {SlurmJobEnvironment().job_id} says why"


def is_termination(code: int) -> bool:
    """True for the exit code of a process that SIGTERM has ended."""
    return code in (ExitCode.TERMINATED, -signal.SIGTERM)


def _reason(folder: Path) -> str:
    try:
        result = read_result(folder)
    except (MissingInputError, DataError):
        return f"the run left no result in {folder}"
    return result.reason if result.status == FAILED else "the run failed after an earlier one had finished"
