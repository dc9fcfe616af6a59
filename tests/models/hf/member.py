"""One process of a team that trains tiny stages: `python -m tests.models.hf.member FOLDER STAGES_AS_JSON`.

Each stage is `{"name", "family", "stage": settings, "trainer": settings, "are_features"}`.
"""

import json
import sys
from pathlib import Path

from sg.train.processes import join_team
from tests.models.hf.builders import stage_job, train


def main(folder: Path, stages: list[dict[str, object]]) -> None:
    for settings in stages:
        trainer = dict(settings["trainer"])  # type: ignore[call-overload]
        team = join_team("cpu", trainer.get("devices", 1))
        job = stage_job(folder / str(settings["name"]), **settings["stage"])  # type: ignore[arg-type]
        train(str(settings["family"]), job, bool(settings["are_features"]), team, **trainer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
