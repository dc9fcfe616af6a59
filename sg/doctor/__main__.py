"""`python -m sg.doctor [settings of train.py]`: prints findings; exits with 6 if something is missing."""

import sys

from hydra.core.hydra_config import HydraConfig

from sg.core.commands import command
from sg.core.errors import ExitCode
from sg.core.output import show
from sg.study.config import TrainConfig

SCHEMA = 1
"""Version of the JSON that `format=json` prints."""


def doctor(config: TrainConfig) -> None:
    """Examine the machine and the parts of the study with these settings."""
    from sg.doctor.findings import LACK, lines, plain
    from sg.doctor.machine import examine_machine
    from sg.doctor.study import examine_study, runs_of_study
    from sg.study.planning.machine import is_cluster

    settings = HydraConfig.get()
    swept = dict(settings.sweeper.get("params") or {})
    typed = dict(word.lstrip("+").split("=", 1) for word in settings.overrides.task)
    runs = runs_of_study(config, {key: str(typed.get(key, value)) for key, value in swept.items()})
    findings = [*examine_machine(config, runs, is_cluster(settings.launcher._target_)), *examine_study(config)]
    show("doctor", SCHEMA, plain(findings), lambda: "\n".join(lines(findings)), config.format)
    if any(finding.status == LACK for finding in findings):
        sys.exit(ExitCode.MISSING)


main = command("doctor", TrainConfig, sweeps=False)(doctor)

if __name__ == "__main__":
    main()
