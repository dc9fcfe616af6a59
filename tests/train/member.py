"""One process of a team that trains the tiny stage: `python -m tests.train.member FOLDER SETTINGS_AS_JSON`."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

import sg.train.callbacks as callbacks
from sg.train.processes import join_team
from sg.train.stage import train_stage
from tests.train.builders import RandomClips, encoder, stage_job, tiny_model, trainer_config


def kill_at(step: int) -> None:
    """End the second process without a word after that optimiser step."""
    original = callbacks.LossCurve.on_train_batch_end

    def killed(self: object, trainer: Any, *args: object) -> None:
        original(self, trainer, *args)  # type: ignore[arg-type]
        if trainer.global_step >= step and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.LossCurve.on_train_batch_end = killed  # type: ignore[method-assign,assignment]


def main(folder: Path, settings: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    if settings.get("kill_at") is not None:
        kill_at(settings["kill_at"])
    config = trainer_config(**settings["trainer"])
    team = join_team(config.accelerator)
    job = stage_job(folder, **settings["stage"])
    train_stage(job, tiny_model, encoder(), RandomClips(), config, lambda values: None, team)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
