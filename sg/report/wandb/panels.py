"""The dashboard as plain data: sections of panels, and the W&B keys that each panel reads."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sg.artefacts.predictions import BUCKETS, DURATIONS, LEAK_PROBES, OVERALL, SETTINGS
from sg.report.wandb.log import CAPTIONS_AXIS

LINE, SCATTER, BAR, TABLE, MEDIA = "line", "scatter", "bar", "table", "media"
STAGES = ("align", "caption", "instruct")
METRICS_FILE = "metrics.csv"


@dataclass(frozen=True, slots=True)
class PanelPlan:
    """One panel: `x` and `y` are keys that runs log; a media panel and a table have their keys in `y`."""

    kind: str
    title: str
    y: tuple[str, ...]
    x: str = ""

    @property
    def keys(self) -> set[str]:
        """Every key that the panel reads."""
        return {*self.y, *([self.x] if self.x else [])}


@dataclass(frozen=True, slots=True)
class SectionPlan:
    """A named group of panels. `of_report` sections read the study's summary run, the others its training runs."""

    name: str
    of_report: bool
    panels: tuple[PanelPlan, ...]


def plan_sections(benchmark: str) -> list[SectionPlan]:
    """Return every section of a study on `benchmark`, whatever its runs logged."""
    return [
        SectionPlan("Scaling", True, tuple(_scaling(benchmark))),
        SectionPlan(
            "Task types",
            True,
            (_media("Difference from no captions by task type, points", "tasks"), _table("Scores by topic", "topics")),
        ),
        SectionPlan("Costs", True, (_media("Difference from no captions against cost of a run", "costs"),)),
        SectionPlan("Captions and clusters", True, tuple(_corpus())),
        SectionPlan("Runs", False, tuple(_runs(benchmark))),
        SectionPlan("Training", False, tuple(_training())),
        SectionPlan("Answers", False, (PanelPlan(TABLE, "Answers with frames", ("predictions",)),)),
    ]


def available_sections(benchmark: str, logged: Collection[str]) -> list[SectionPlan]:
    """Return the sections without what was not logged: lines, then panels without a line, then empty sections."""
    sections = []
    for section in plan_sections(benchmark):
        kept = []
        for panel in section.panels:
            y = tuple(key for key in panel.y if key in logged)
            if y and (not panel.x or panel.x in logged):
                kept.append(replace(panel, y=y))
        if kept:
            sections.append(replace(section, panels=tuple(kept)))
    return sections


def logged_keys(study: Path) -> set[str]:
    """Return the keys that the runs and the report logged: from `metrics.csv`, and for pictures from their files."""
    import csv

    keys: set[str] = set()
    for file in study.glob(f"*/{METRICS_FILE}"):
        with file.open(newline="", encoding="utf-8") as stream:
            keys |= {row["key"] for row in csv.DictReader(stream)}
    keys |= {f"figures/{path.stem}" for path in study.glob("report/figures/*.png")}
    return keys | {f"gallery/{path.stem}" for path in study.glob("report/gallery/core-*.png")}


def _scaling(benchmark: str) -> list[PanelPlan]:
    keys = {bucket: tuple(f"{benchmark}/{setting}/{bucket}" for setting in SETTINGS) for bucket in BUCKETS}
    gains = [f"{key}/{end}" for key in keys[OVERALL] for end in ("delta_low", "delta", "delta_high")]
    return [
        PanelPlan(LINE, "Accuracy (%) against number of captions", keys[OVERALL], CAPTIONS_AXIS),
        PanelPlan(LINE, "Difference from no captions (points) with 95 % interval", tuple(gains), CAPTIONS_AXIS),
        *(
            PanelPlan(LINE, f"{bucket.title()} videos: accuracy (%)", keys[bucket], CAPTIONS_AXIS)
            for bucket in DURATIONS
        ),
        _media("Scaling, differences, durations, controls", "scaling", "differences", "durations", "controls"),
        _table("Scores", "scores"),
    ]


def _corpus() -> list[PanelPlan]:
    return [
        _media("Captions, clusters, similarities, embedding map", "captions", "clusters", "similarities", "map"),
        _table("Clusters by size", "clusters"),
        _table("Captions by core and source", "captions"),
    ]


def _runs(benchmark: str) -> list[PanelPlan]:
    without, with_subtitles = (f"{benchmark}/{setting}/{OVERALL}" for setting in SETTINGS)
    probes = tuple(f"{benchmark}/{probe}/{OVERALL}" for probe in LEAK_PROBES)
    return [
        PanelPlan(BAR, "Accuracy (%)", (without, with_subtitles)),
        PanelPlan(SCATTER, "Accuracy (%) against device hours of a run", (without,), "cost/device_hours"),
        PanelPlan(SCATTER, "Accuracy (%) against price of the captions (US dollars)", (without,), "cost/caption_usd"),
        PanelPlan(BAR, "Device hours of a run", ("cost/device_hours",)),
        PanelPlan(BAR, "Leak probes: accuracy (%) without the right video", probes),
    ]


def _training() -> list[PanelPlan]:
    panels = []
    for stage in STAGES:
        for axis in ("samples", "tokens"):
            title = f"{stage}: training loss against {axis}"
            panels.append(PanelPlan(LINE, title, (f"train/{stage}/loss",), f"train/{stage}/{axis}"))
    rates = tuple(f"train/{stage}/learning_rate" for stage in STAGES)
    panels.append(PanelPlan(LINE, "Learning rate", rates))
    panels += [
        PanelPlan(LINE, title, (f"speed/{key}",))
        for title, key in (
            ("Samples per second", "samples_per_s"),
            ("Tokens per second", "tokens_per_s"),
            ("Model FLOPs utilisation (MFU)", "mfu"),
        )
    ]
    return panels


def _media(title: str, *figures: str) -> PanelPlan:
    return PanelPlan(MEDIA, title, tuple(f"figures/{name}" for name in figures))


def _table(title: str, name: str) -> PanelPlan:
    return PanelPlan(TABLE, title, (f"tables/{name}",))


def keys_of(sections: Sequence[SectionPlan]) -> set[str]:
    """Return every key that the sections read."""
    return {key for section in sections for panel in section.panels for key in panel.keys}
