"""One process of a team that trains tiny stages: `python -m tests.train.member FOLDER STAGES_AS_JSON`.

Each stage is `{"name", "stage": settings, "trainer": settings, "stop_at": step}`; one with `stop_at` fails after that
step and is then trained again. `kill_at` ends the second process without a word instead, and `lose_machine_at` the
second of two machines with `torchrun`.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

import sg.train.callbacks as callbacks
from sg.train.config import LoraConfig
from sg.train.processes import join_team, leave_team
from sg.train.stage import train_stage
from tests.train.builders import RandomClips, inputs, stage_job, tiny_student, trainer_config

_after_batch = callbacks.LossCurve.on_train_batch_end


class Stopped(Exception):
    """The stage was made to fail."""


def lose_machine_at(step: int) -> None:
    """End the second machine, which has two processes, after that optimiser step."""

    def lost(self: object, trainer: Any, *args: object) -> None:
        _after_batch(self, trainer, *args)  # type: ignore[arg-type]
        if trainer.global_step >= step and trainer.global_rank >= 2:
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.LossCurve.on_train_batch_end = lost  # type: ignore[method-assign,assignment]


def fail_after(step: int | None, kill: bool = False) -> None:
    """Make stages fail after that optimiser step; None lets them finish."""

    def stopped(self: object, trainer: Any, *args: object) -> None:
        _after_batch(self, trainer, *args)  # type: ignore[arg-type]
        if step is not None and trainer.global_step >= step:
            if kill and trainer.global_rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            elif not kill:
                raise Stopped

    callbacks.LossCurve.on_train_batch_end = stopped  # type: ignore[method-assign,assignment]


def train_one(folder: Path, settings: dict[str, Any]) -> None:
    config = trainer_config(**settings["trainer"])
    team = join_team(config.accelerator, config.world_size)
    stage = settings["stage"]
    job = stage_job(folder / settings["name"], **stage | {"lora": LoraConfig(**stage.get("lora", {}))})
    from tests.train.test_score_curve import ask  # which imports this module

    train_stage(job, tiny_student, inputs(), RandomClips(), config, lambda values: None, team, ask=ask)


def main(folder: Path, stages: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    for settings in stages:
        if "lose_machine_at" in settings:
            lose_machine_at(settings["lose_machine_at"])
        elif "kill_at" in settings:
            fail_after(settings["kill_at"], kill=True)
        elif "stop_at" in settings:
            fail_after(settings["stop_at"])
            try:
                train_one(folder, settings)
            except Stopped:
                fail_after(None)
        train_one(folder, settings)
    leave_team()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
