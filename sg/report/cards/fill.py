"""Filling the cards with facts from results, captions, manifest and summary."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sg.artefacts.captions import read_captions
from sg.artefacts.manifest import read_manifest
from sg.artefacts.predictions import OVERALL
from sg.artefacts.result import RunResult
from sg.core.errors import ConfigError
from sg.core.files import write_text
from sg.report.numbers.clusters import StudyInputs, recorded_inputs
from sg.report.numbers.corpus import CORE, describe_corpus
from sg.report.numbers.measure import measure
from sg.report.numbers.study import Study
from sg.report.numbers.summary import Summary
from sg.report.pages.conclusion import conclude
from sg.report.pages.exports import cell_text
from sg.report.wording import SETTING_TITLES, accuracy_text, difference_text, hours_text

TEMPLATES = Path(__file__).parent
DATA_CARD, MODEL_CARD = "data_card.md", "model_card.md"
SHOWN = 5


def write_cards(study: Study, folder: Path, run: str | None = None) -> list[Path]:
    """Write both cards to `folder` and return their paths. The model card describes `run`; None: the first seed of the
    largest scale.

    Raises:
        ConfigError: the study has no finished run of this name, or no finished run with captions.
    """
    result = _chosen_run(study, run)
    summary = measure(study)
    facts = {DATA_CARD: data_facts(study), MODEL_CARD: model_facts(result, summary)}
    paths = []
    for name, values in facts.items():
        write_text(folder / name, _filled(f"{name}.j2", values))
        paths.append(folder / name)
    return paths


def _filled(template: str, values: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # The output is Markdown, so HTML escaping is off. `cell_text` escapes every text from data instead, so that no
    # caption or name is read as markup.
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, autoescape=False,
        finalize=lambda value: cell_text(value) if isinstance(value, str) else value,
    )  # fmt: skip
    return environment.get_template(template).render(values)


def _chosen_run(study: Study, name: str | None) -> RunResult:
    runs = [run for arm in (*study.finished, *study.controls) for run in arm.runs]
    if name is None:
        trained = [arm for arm in study.finished if arm.scale > 0]
        if not trained:
            raise ConfigError(
                f"{study.folder} has no finished run with captions, which a model card needs: run the study first."
            )
        return trained[-1].runs[0]
    found = next((run for run in runs if run.run == name), None)
    if found is None:
        raise ConfigError(f"run={name} is not a finished run of {study.folder}: choose one of {_names(runs)}.")
    return found


def _names(runs: list[RunResult]) -> str:
    return ", ".join(run.run for run in runs)


def data_facts(study: Study) -> dict[str, Any]:
    """Return the values of the data card; a fact that the files do not contain is called unknown."""
    inputs = recorded_inputs(study)
    config = study.finished[-1].runs[0].config if study.finished else {}
    unknown = "An unknown number of"
    facts: dict[str, Any] = {
        "name": str((config.get("data") or {}).get("name", study.name)), "study": study.name, "videos": unknown,
        "captions": unknown.lower(), "curator": "unknown", "sources": "", "cores": [], "status_lines": [],
        "caption_lines": [], "commands": sorted({run.command for run in study.runs if run.command}),
    }  # fmt: skip
    if inputs is None:
        return facts
    cores = {arm.num_captions: arm.scale_label for arm in study.finished if arm.num_captions > 0}
    corpus = describe_corpus(inputs, cores)
    cuts = {core.name: core.cut for core in corpus.cores}
    facts["curator"] = corpus.curator
    facts["cores"] = [
        {
            "name": group.name, "videos": f"{group.captions:,}", "vocabulary": f"{group.vocabulary:,}",
            "words": "–".join(f"{group.words[place]:.0f}" for place in (0, 2, 4)),
            "cut": "–" if cuts.get(group.name) is None else f"{cuts[group.name]:.3f}",
        }
        for group in corpus.captions if group.kind == CORE
    ]  # fmt: skip
    return facts | _video_facts(inputs) | _caption_facts(inputs)


def _video_facts(inputs: StudyInputs) -> dict[str, Any]:
    table = read_manifest(inputs.manifest).table
    sources, statuses = (Counter(table[name].to_pylist()) for name in ("source", "status"))
    hours = sum(table["duration_s"].to_pylist()) / 3600
    lines = [f"{count:,} with status {name}" for name, count in statuses.most_common()]
    return {
        "videos": f"{len(table):,}",
        "sources": ", ".join(f"{name} ({count:,})" for name, count in sources.most_common(SHOWN)),
        "status_lines": [f"{hours:,.1f} hours of video.", *lines],
    }


def _caption_facts(inputs: StudyInputs) -> dict[str, Any]:
    if inputs.captions is None or not inputs.captions.is_file():
        return {}
    table = read_captions(inputs.captions).table
    lines = []
    for title, column in (("Written by", "model"), ("Version", "model_version"), ("Prompt", "prompt_hash")):
        counts = Counter(name for name in table[column].to_pylist() if name)
        if counts:
            lines.append(f"{title}: {', '.join(f'{name} ({count:,})' for name, count in counts.most_common(SHOWN))}")
    flags = Counter(flag for flags in table["quality_flags"].to_pylist() for flag in flags)
    if flags:
        lines.append(f"Quality flags: {', '.join(f'{name} ({count:,})' for name, count in flags.most_common(SHOWN))}")
    lines.append(f"Paid to the captioning service: US${sum(table['cost_usd'].to_pylist()):,.2f}")
    return {"captions": f"{len(table):,}", "caption_lines": lines}


def model_facts(result: RunResult, summary: Summary) -> dict[str, Any]:
    """Return the values of the model card of one run."""
    config = result.config
    model, recipe = config.get("model") or {}, config.get("stage") or {}
    (arm,) = {row.arm for row in summary.costs if _is_of(result, row.scale, row.control)} or {""}
    costs = [row for row in summary.costs if row.arm == arm]
    parts = [str(model[key]) for key in ("checkpoint", "language_model", "vision_tower") if model.get(key)]
    stages = [
        {"name": name, "fingerprint": stage.fingerprint, "steps": f"{result.steps.get(name, 0):,}"}
        | {key: str((recipe.get(name) or {}).get(key, "?")) for key in ("batch_size", "learning_rate")}
        | {"trains": ", ".join((recipe.get(name) or {}).get("trains", []))}
        for name, stage in result.stages.items()
    ]
    scores = [
        {
            "setting": SETTING_TITLES[table.setting],
            "accuracy": "–" if cell.accuracy is None else accuracy_text(cell.accuracy),
            "difference": "–" if cell.delta is None else difference_text(cell.delta),
        }
        for table in summary.tables for row in table.rows
        if _is_of(result, row.scale, row.control) and (cell := row.cells[OVERALL])
    ]  # fmt: skip
    return {
        "model": str(model.get("name", "model")), "scale": result.scale_label, "run": result.run, "study": result.study,
        "base": ", ".join(parts) or "unknown", "stages": stages, "seed": result.seed,
        "captions": f"{result.num_captions:,}", "data": str((config.get("data") or {}).get("name", "unknown")),
        "curator": str((config.get("curator") or {}).get("name", "unknown")), "benchmark": result.benchmark,
        "scores": scores, "verdict": conclude(summary).verdict, "max_frames": model.get("max_frames", "?"),
        "target_fps": model.get("target_fps", "?"), "hours": hours_text(costs[0].hours) if costs else "An unknown time",
        "device": costs[0].device.upper() if costs else "device", "command": result.command,
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items())),
    }  # fmt: skip


def _is_of(result: RunResult, scale: int, control: str | None) -> bool:
    return (result.scale, result.control) == (scale, control)
