"""`python -m sg.doctor [settings of train.py]`: prints what was found; exits with 1 when something is lacking."""

import sys

from sg.core.commands import command
from sg.study.config import TrainConfig


def doctor(config: TrainConfig) -> None:
    """Examine the machine and the parts of the study with these settings."""
    from sg.doctor.findings import LACK, lines
    from sg.doctor.machine import examine_machine
    from sg.doctor.study import examine_study

    findings = [*examine_machine(config), *examine_study(config)]
    print("\n".join(lines(findings)))
    if any(finding.status == LACK for finding in findings):
        sys.exit(1)


main = command("doctor", TrainConfig)(doctor)

if __name__ == "__main__":
    main()
