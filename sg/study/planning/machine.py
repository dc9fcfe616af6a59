"""What this machine lacks for a run, found before anything is made."""

import os
import shutil

from sg.core.errors import ConfigError


def check_devices(accelerator: str, devices: int) -> None:
    """Refuse a run on GPUs that this machine lacks, before anything is made.

    Raises:
        ConfigError: names the settings and the number of GPUs.
    """
    if accelerator != "gpu":
        return
    import torch

    # Under torchrun on several machines, `trainer.devices` counts those of all.
    needed, found = int(os.environ.get("LOCAL_WORLD_SIZE", devices)), torch.cuda.device_count()
    if found < needed:
        fewer = f"set trainer.devices={found}, or " if found else ""
        raise ConfigError(
            f"trainer.accelerator=gpu with trainer.devices={needed} needs {needed} GPU{'s' * (needed > 1)}, but "
            f"PyTorch finds {found or 'none'} on this machine: {fewer}use trainer=cpu."
        )


def is_cluster(launcher: str) -> bool:
    """Whether the jobs of the launcher of this class run on other machines, which have devices of their own."""
    return "submitit" in launcher


def check_launcher(launcher: str) -> None:
    """Refuse Slurm where there is none; `launcher` is the name of the launcher's class.

    Raises:
        ConfigError: this machine has no `srun`.
    """
    if launcher.endswith("SlurmLauncher") and shutil.which("srun") is None:
        raise ConfigError(
            "launcher=slurm needs Slurm, but this machine has no srun: run the command on a login node of the cluster, "
            "or use launcher=process."
        )
