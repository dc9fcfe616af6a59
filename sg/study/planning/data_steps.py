"""The data steps of a run for `why=true`: manifest, captions, vectors, merge forest."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sg.artefacts.manifest import read_manifest
from sg.artefacts.tables import read_info
from sg.artefacts.vectors import INFO_FILE as VECTORS_FILE
from sg.core.files import read_json
from sg.core.identity import Identity, recorded
from sg.study.config import TrainConfig
from sg.study.inputs import Inputs
from sg.study.planning.steps import MADE, MISSING, REUSED, UNDECIDED, StepReport, against


def data_steps(config: TrainConfig, inputs: Inputs) -> list[StepReport]:
    """What happens to manifest, captions, vectors and merge forest.

    Data that a run makes itself is compared with the settings. Published data is always reused as it is.
    """
    from sg.curate.pipeline import CURATION_FILE

    vectors_file, curation_file = inputs.vectors / VECTORS_FILE, inputs.forest.parent / CURATION_FILE
    manifest = _report(config, "manifest", inputs.manifest, _in_parquet, config.data.manifest_identity, [])
    captions = _report(
        config, "captions", inputs.captions, _in_parquet, lambda: _captions_identity(config, inputs), [manifest]
    )
    vectors = _report(config, "vectors", vectors_file, _in_json, lambda: _vectors_identity(config, inputs), [manifest])
    forest = _report(
        config, "merge forest", curation_file, _in_json, lambda: _forest_identity(config, inputs), [vectors, captions]
    )
    return [manifest, captions, vectors, forest]


def _report(
    config: TrainConfig,
    step: str,
    file: Path,
    read: Callable[[Path], Identity | None],
    identity_now: Callable[[], Identity | None],
    upstream: Sequence[StepReport],
) -> StepReport:
    """The report of one step.

    Args:
        file: records the identity of the existing artefact; `read` reads it.
        identity_now: what a run would make, or None if it takes the artefact as it is.
        upstream: the steps that this one reads.
    """
    is_made = config.data.is_made_on_the_way
    if not file.is_file():
        return StepReport(step, MADE if is_made else MISSING, file)
    if not is_made:
        return StepReport(step, REUSED, file)
    waits_for = [report.step for report in upstream if report.action != REUSED]
    if waits_for:
        return StepReport(step, UNDECIDED, file, f"after {', '.join(waits_for)}")
    now, before = identity_now(), read(file)
    if now is None or (before is not None and before.name == now.name):
        return StepReport(step, REUSED, file)
    return against(step, file, now, {} if before is None else {file: before})


def _in_parquet(path: Path) -> Identity | None:
    return recorded(read_info(path))


def _in_json(path: Path) -> Identity | None:
    return recorded(read_json(path))


def _captions_identity(config: TrainConfig, inputs: Inputs) -> Identity | None:
    from sg.caption.captioners import captioner_of

    return captioner_of(config.captioner).identity_of(read_manifest(inputs.manifest))


def _vectors_identity(config: TrainConfig, inputs: Inputs) -> Identity:
    from sg.embed.parts import plan_parts
    from sg.embed.registry import embedding_identity
    from sg.embed.run import vectors_identity

    embedder = config.embedder
    embedding = embedding_identity(embedder)
    parts = plan_parts(read_manifest(inputs.manifest), inputs.videos, embedding, embedder.rows_per_part)
    return vectors_identity(embedding, parts)


def _forest_identity(config: TrainConfig, inputs: Inputs) -> Identity:
    from sg.curate.pipeline import captions_for, curation_identity

    captions = captions_for(config.curator, inputs.captions)
    return curation_identity(config.curator, inputs.vectors, captions, None, "error")
