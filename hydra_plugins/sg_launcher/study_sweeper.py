"""The sweeper of `train.py -m`: Hydra's basic sweeper, plus the baseline and the controls that a study needs."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from sg.core.errors import ConfigError
from sg.study.planning.machine import is_cluster
from sg.study.sweep import begin_sweep, complete_jobs, forget_folder, settled_job

from .slurm_jobs import launch_array, note_lost_jobs

log = logging.getLogger(__name__)


@dataclass
class StudySweeperConf:
    """The settings of Hydra's basic sweeper."""

    _target_: str = "hydra_plugins.sg_launcher.study_sweeper.StudySweeper"
    max_batch_size: int | None = None
    params: dict[str, str] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConf, provider="sharegemini")


class StudySweeper(BasicSweeper):
    """Expands `data.scale=50k,100k seed=0,1` into jobs, adds baseline and controls, and checks all before the first."""

    def split_arguments(  # type: ignore[override]  # Hydra calls it on the instance
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """All jobs of the sweep as one batch: those of the user, and those that the study adds."""
        assert self.config is not None and self.hydra_context is not None
        config, loader = self.config, self.hydra_context.config_loader
        plain = [_without_plus(override, config) for override in overrides]
        (every,) = BasicSweeper.split_arguments(plain, None)
        # A pattern such as `curator=glob(tome*)` also finds the schemas that Hydra keeps beside the files of a group.
        jobs = [job for job in every if not any(item.endswith("_schema") for item in job)]
        if not jobs:
            raise ConfigError("The sweep has no jobs: a pattern of the command line matches nothing.")
        settled = [settled_job(job, loader.load_sweep_config(config, job)) for job in jobs]
        return list(self.split_overrides_to_chunks(complete_jobs(settled, list(config.controls)), max_batch_size))

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep; with `dry_run=true` or `why=true` print and stop."""
        assert self.config is not None and self.launcher is not None and self.hydra_context is not None
        config, loader = self.config, self.hydra_context.config_loader
        launch = self.launcher.launch
        _compose_once(loader)
        is_started = False

        def checked_launch(job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
            nonlocal is_started
            configs = [loader.load_sweep_config(config, list(job)) for job in job_overrides]
            is_started = begin_sweep(configs, [list(job) for job in job_overrides])
            if not is_started:
                return []
            if not is_cluster(str(config.hydra.launcher._target_)):
                return launch(job_overrides, initial_job_idx)
            returns = launch_array(self.launcher, job_overrides, initial_job_idx)
            note_lost_jobs(returns, configs, job_overrides)
            return returns

        self.launcher.launch = checked_launch  # type: ignore[method-assign]
        try:
            return super().sweep(arguments)
        finally:
            if not is_started:
                forget_folder(Path(str(config.hydra.sweep.dir)), {"multirun.yaml"}, Path(str(config.paths.runs)))


def _without_plus(override: Override, config: DictConfig) -> Override:
    """`++key=value` of an existing key as `key=value`, so that it replaces the values that an experiment lists."""
    exists = OmegaConf.select(config, override.key_or_group, default=_compose_once) is not _compose_once
    return replace(override, type=OverrideType.CHANGE) if exists and override.is_force_add() else override


def _compose_once(loader: ConfigLoader) -> None:
    """Cache the composed configs: Hydra, the plan and the launcher each compose every job, half a second each time.

    Everyone gets a copy. A job makes its config read-only, and submitit pickles the cache again for a job that Slurm
    queues again.
    """
    composed: dict[tuple[str, ...], DictConfig] = {}
    compose = loader.load_sweep_config

    def load_sweep_config(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        key = tuple(sweep_overrides)
        if key not in composed:
            composed[key] = compose(master_config, sweep_overrides)
        return copy.deepcopy(composed[key])

    loader.load_sweep_config = load_sweep_config  # type: ignore[method-assign]
