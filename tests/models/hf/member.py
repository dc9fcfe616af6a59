"""One process of a team that trains tiny stages: `python -m tests.models.hf.member FOLDER STAGES_AS_JSON`.

Each stage is `{"name", "family", "stage": settings, "trainer": settings, "are_features"}`; `kill_at` ends the process
with SIGKILL after that step.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import sg.train.callbacks as callbacks
from sg.train.processes import join_team
from tests.models.hf.builders import stage_job, train


def kill_after(step: int) -> None:
    after_batch = callbacks.LossCurve.on_train_batch_end

    def killed(self: Any, trainer: Any, *args: Any) -> None:
        after_batch(self, trainer, *args)
        if trainer.global_step >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.LossCurve.on_train_batch_end = killed  # type: ignore[method-assign]


def main(folder: Path, stages: list[dict[str, object]]) -> None:
    for settings in stages:
        if "kill_at" in settings:
            kill_after(settings["kill_at"])  # type: ignore[arg-type]
        trainer = dict(settings["trainer"])  # type: ignore[call-overload]
        team = join_team("cpu", trainer.get("devices", 1))
        job = stage_job(folder / str(settings["name"]), **settings["stage"])  # type: ignore[arg-type]
        train(str(settings["family"]), job, bool(settings["are_features"]), team, **trainer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
