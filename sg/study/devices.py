"""A run on several devices: one process per device, started here unless torchrun has started them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.result import FAILED, read_result
from sg.core.errors import ConfigError, DataError, ExitCode, MissingInputError, SgError, Terminated
from sg.core.layout import program

if TYPE_CHECKING:
    from sg.study.run import StudyRun

STARTED_BY_US = "SG_TEAM"


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
    if trainer.nodes > 1:
        raise ConfigError(
            f"trainer.nodes={trainer.nodes} needs one start per node: torchrun --nnodes={trainer.nodes} "
            f"--nproc-per-node={trainer.devices} --rdzv-backend=c10d --rdzv-endpoint=HOST:29500 train.py ... on each."
        )
    command = job_command(hydra, list(hydra.overrides.task), run.folder)
    threads = {"OMP_NUM_THREADS": str(trainer.num_threads), STARTED_BY_US: "1"}
    code = run_together(command, trainer.devices, os.environ | threads)
    if code == 0:
        return
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    note_reason(run, f"a training process ended with {how}")
    if is_termination(code):
        raise Terminated
    raise SgError(_reason(run.folder))


def is_termination(code: int) -> bool:
    """True for the exit code of a process that SIGTERM has ended."""
    return code in (ExitCode.TERMINATED, -signal.SIGTERM)


def _reason(folder: Path) -> str:
    try:
        result = read_result(folder)
    except (MissingInputError, DataError):
        return f"the run left no result in {folder}"
    return result.reason if result.status == FAILED else "the run failed after an earlier one had finished"
