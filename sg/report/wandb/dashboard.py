"""The W&B workspace and report of a study, built as code; their specification can be checked offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.errors import ConfigError
from sg.core.files import write_json
from sg.report.numbers.summary import Summary
from sg.report.pages.conclusion import conclude
from sg.report.pages.exports import markdown
from sg.report.wandb.panels import BAR, LINE, MEDIA, TABLE, PanelPlan, SectionPlan, available_sections, logged_keys

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

NOBODY = "your-entity"
"""Placeholder for the W&B team or user in a specification that is not published."""


def build_sections(study: Path, benchmark: str) -> list[SectionPlan]:
    """Return the sections for which the runs in `study` logged data.

    Raises:
        ConfigError: the runs logged nothing that a section shows.
    """
    sections = available_sections(benchmark, logged_keys(study))
    if not sections:
        raise ConfigError(
            f"The runs in {study} logged nothing that a dashboard shows: set study=FOLDER to a study's folder."
        )
    return sections


def build_workspace(sections: Sequence[SectionPlan], study: str, project: str, entity: str) -> ws.Workspace:
    """Return the workspace of the study: its panels by section, over its runs."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    return ws.Workspace(
        entity=entity,
        project=project,
        name=study,
        sections=[
            ws.Section(name=section.name, panels=[_panel(panel) for panel in section.panels], is_open=True)
            for section in sections
        ],
        runset_settings=ws.RunsetSettings(filters=[expr.Metric("Group") == study]),
        settings=ws.WorkspaceSettings(max_runs=100),
    )


def build_report(sections: Sequence[SectionPlan], summary: Summary, project: str, entity: str) -> wr.Report:
    """Return the report of the study: verdict, tables, one grid of panels per section, and the commands."""
    import wandb_workspaces.reports.v2 as wr

    conclusion = conclude(summary)
    blocks: list[Any] = [wr.TableOfContents(), wr.MarkdownBlock(markdown(summary, conclusion))]
    for section in sections:
        kind = "report" if section.of_report else "train"
        runs = wr.Runset(
            entity=entity, project=project, name=f"{summary.study}: {kind} runs",
            filters=f"Group = '{summary.study}' and JobType = '{kind}'",
        )  # fmt: skip
        blocks += [wr.H2(section.name), wr.PanelGrid(runsets=[runs], panels=_laid_out(section.panels))]
    blocks += [wr.H2("Reproduce it"), wr.CodeBlock("\n".join(summary.commands), language="python")]
    return wr.Report(
        project=project,
        entity=entity,
        title=summary.study,
        description=conclusion.verdict,
        blocks=blocks,
        width="fluid",
    )


def write_specification(folder: Path, workspace: ws.Workspace, report: wr.Report) -> list[Path]:
    """Write `workspace.json` as it is sent to W&B, and `report.json`: the text, and the runs and panels of each
    section.

    W&B finds the runs of a report when it is saved, which needs a key. Offline they are given by their filter.
    """
    import wandb_workspaces.reports.v2 as wr

    paths = [folder / "workspace.json", folder / "report.json"]
    write_json(paths[0], _plain(workspace))
    blocks: list[Any] = []
    for block in report.blocks:
        if isinstance(block, wr.PanelGrid):
            runs = [{"name": runs.name, "project": runs.project, "filters": runs.filters} for runs in block.runsets]
            blocks.append({"type": "panel-grid", "runs": runs, "panels": [_plain(panel) for panel in block.panels]})
        else:
            blocks.append(_plain(block))
    write_json(paths[1], {"title": report.title, "description": report.description, "blocks": blocks})
    return paths


def _plain(item: Any) -> Any:
    """A part of a workspace or report as the JSON that is sent to W&B."""
    return json.loads(item._to_model().model_dump_json(by_alias=True, exclude_none=True))


def _panel(panel: PanelPlan) -> Any:
    import wandb_workspaces.reports.v2 as wr

    if panel.kind == LINE:
        return wr.LinePlot(title=panel.title, x=panel.x or "Step", y=list(panel.y), max_runs_to_show=100)
    if panel.kind == BAR:
        return wr.BarPlot(title=panel.title, metrics=list(panel.y), max_runs_to_show=100)
    if panel.kind == MEDIA:
        return wr.MediaBrowser(title=panel.title, media_keys=list(panel.y), num_columns=min(2, len(panel.y)))
    if panel.kind == TABLE:
        return wr.WeavePanelSummaryTable(table_name=panel.y[0])
    return wr.ScatterPlot(title=panel.title, x=wr.SummaryMetric(panel.x), y=wr.SummaryMetric(panel.y[0]))


def _laid_out(panels: Sequence[PanelPlan]) -> list[Any]:
    """The panels in W&B's grid of 24 columns: two per row; tables and pictures take a whole row."""
    import wandb_workspaces.reports.v2 as wr

    laid, left, top = [], 0, 0
    for plan in panels:
        wide = plan.kind in (TABLE, MEDIA)
        if wide and left:
            left, top = 0, top + 8
        panel = _panel(plan)
        panel.layout = wr.Layout(x=left, y=top, w=24 if wide else 12, h=12 if wide else 8)
        laid.append(panel)
        if wide:
            top += 12
        else:
            left, top = (12, top) if left == 0 else (0, top + 8)
    return laid
