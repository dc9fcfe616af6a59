"""`python -m sg.report dashboard study=runs/demo_scaling-<hash>`: build the W&B workspace and report of a study."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg.core.commands import command, register
from sg.core.errors import ConfigError, MissingInputError, SgError, first_line
from sg.core.tracking import LoggerConfig, resolved_mode

log = logging.getLogger(__name__)


@dataclass
class DashboardConfig:
    """Settings of the dashboard of one study.

    Attributes:
        study: the folder that holds the study's runs.
        publish: send the dashboard to W&B; if false, only its specification is written.
        logger: project and entity that the runs were logged to.
    """

    study: str = "???"
    publish: bool = False
    logger: LoggerConfig = field(default_factory=LoggerConfig)


register(None, "dashboard_schema", DashboardConfig)


def dashboard(config: DashboardConfig) -> None:
    """Build the workspace and the report, write their specification, and publish them if `publish` is true.

    Raises:
        MissingInputError: the extra `dashboard` is not installed, or the study does not exist.
        ConfigError: `publish` is true without a W&B key or an entity.
        SgError: W&B cannot be reached, or refuses the key.
    """
    from sg.report.numbers.measure import measure
    from sg.report.numbers.study import read_study

    study = Path(config.study).expanduser().resolve()
    _check(config)
    from sg.report.wandb.dashboard import NOBODY, build_report, build_sections, build_workspace, write_specification

    summary = measure(read_study(study))
    sections = build_sections(study, summary.benchmark)
    where = config.logger.project, config.logger.entity or NOBODY
    workspace = build_workspace(sections, study.name, *where)
    report = build_report(sections, summary, *where)
    for path in write_specification(study / "report" / "dashboard", workspace, report):
        log.info("wrote %s", path)
    if config.publish:
        _publish(workspace, report)
        log.info("published: %s and %s", workspace.url, report.url)
    else:
        log.info(
            "not published: sync the runs (wandb sync %s/*/wandb/offline-run-*), then add "
            "publish=true logger.entity=TEAM to this command", study,
        )  # fmt: skip


def _publish(workspace: Any, report: Any) -> None:
    import wandb

    try:
        workspace.save()
        report.save()
    except (wandb.errors.Error, OSError) as error:
        raise SgError(
            f"W&B did not take the dashboard ({first_line(error)}): repeat the "
            "command when the service can be reached; its specification is written already."
        ) from error


def _check(config: DashboardConfig) -> None:
    import importlib.util

    if importlib.util.find_spec("wandb_workspaces") is None:
        raise MissingInputError("The dashboard needs wandb-workspaces: pip install -e '.[dashboard]'.")
    if config.publish and not config.logger.entity:
        raise ConfigError("publish=true needs a W&B team or user: add logger.entity=TEAM.")
    if config.publish and resolved_mode(config.logger) != "online":
        raise ConfigError("publish=true needs a W&B key: run `wandb login`, or remove publish=true.")


main = command("dashboard", DashboardConfig, sweeps=False)(dashboard)
