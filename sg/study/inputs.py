"""The artefacts that a run reads: where they are, which are missing, and how missing ones are made."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.manifest import hash_manifest, read_manifest
from sg.artefacts.tables import read_info
from sg.artefacts.vectors import INFO_FILE
from sg.caption.captioners import CAPTIONERS, captioner_of
from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_record
from sg.core.identity import ABSENT, Identity, differences, recorded, settings_of
from sg.demo.config import DemoWorldConfig
from sg.models.student import STUDENTS
from sg.sources.manifests import make_manifest
from sg.sources.registry import data_words
from sg.study.config import TrainConfig
from sg.train.checks import missing_library
from sg.train.config import StageConfig

_DESCRIBED = (50, 100, 200, 400)
"""Sizes of cores, in thousands of captions, that are described beside the forest for the report."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files of the data, and the identity of the base model."""

    manifest: Path
    captions: Path
    vectors: Path
    forest: Path
    videos: Path
    base_model: Identity

    def recorded(self) -> dict[str, str]:
        """The files by name, as a result records them for the report."""
        names = ("manifest", "captions", "forest", "videos")
        return {name: str(getattr(self, name)) for name in names}


def locate_inputs(config: TrainConfig) -> Inputs:
    """The places of the run's inputs, which may not exist yet."""
    data = config.data
    return Inputs(
        manifest=data.manifest_path,
        captions=captioner_of(config.captioner).place(data),
        vectors=data.vectors_folder(config.embedder.name),
        forest=Path(data.dir) / "curation" / config.curator.name / "forest.parquet",
        videos=data.videos_folder,
        base_model=STUDENTS.of(config.model).identity(config.model),
    )


def missing_inputs(config: TrainConfig) -> list[str]:
    """The missing inputs of a run, including those that the run makes itself, each with the command that makes it."""
    inputs, data = locate_inputs(config), data_words(config.data)
    captioner = CAPTIONERS.name_of(config.captioner)
    if config.captioner.name != captioner:
        captioner += f" captioner.name={config.captioner.name}"
    if others := captioner_of(config.captioner).others(config.data):
        captioner += f"; {others}"
    wanted = {
        inputs.manifest: f"python -m sg.sources {data}",
        inputs.captions: f"python -m sg.caption {data} captioner={captioner}",
        inputs.vectors: f"python -m sg.embed {data} embedder={config.embedder.name}",
        inputs.forest: f"python -m sg.curate {data} curator={config.curator.name}",
    }
    lines = [f"{path} (made by: {command})" for path, command in wanted.items() if not path.exists()]
    if not config.data.is_made_on_the_way and (changes := _changed_curator(config, inputs.forest)):
        lines.append(
            f"{inputs.forest} (the existing one was made with other settings, {changes}: give these to train on it, "
            f"or make another with a name of its own: {wanted[inputs.forest]} curator.name=NAME)"
        )
    for stage in config.stage.others:
        for source in stage.sources:
            if not Path(source.dialogs).is_file():
                lines.append(f"{source.dialogs} (dialogs of stage {stage.name}: stage.{stage.name}.sources)")
    return lines


def _changed_curator(config: TrainConfig, forest: Path) -> str:
    """In which settings the curator of an existing merge forest differs from that of the run; empty without any.

    A setting that only one of the two versions of this program has does not count.
    """
    from sg.curate.pipeline import CURATION_FILE

    work = recorded(read_record(forest.with_name(CURATION_FILE)))
    if work is None or not forest.is_file():
        return ""
    now = dataclasses.replace(work, settings=settings_of(config.curator))
    changes = [change for change in differences(work, now) if ABSENT not in (change.before, change.now)]
    return ", ".join(map(str, changes))


def missing_on_machine(config: TrainConfig, on_cluster: bool) -> list[str]:
    """Return what this machine lacks besides the run's inputs: files of the user, weights, benchmark, GPUs.

    The GPUs of a cluster are in other machines.
    """
    lines = [f"{sentence} ({setting})" for sentence, setting in config.data.missing_files()]
    lines += STUDENTS.of(config.model).missing(config.model)
    lines += filter(None, [missing_library(config.stage)])
    for benchmark in config.benchmarks:
        folder = Path(benchmark.folder)
        if not folder.is_relative_to(config.paths.demo_world) and not folder.is_dir():
            lines.append(f"{benchmark.folder} (questions and videos of benchmark={benchmark.name})")
    if config.trainer.accelerator == "gpu" and not on_cluster:
        import torch

        found = torch.cuda.device_count()
        if found < config.trainer.devices:
            lines.append(f"GPUs: {found} of {config.trainer.devices} (trainer.devices)")
    return lines


def needs_demo_world(config: TrainConfig) -> bool:
    """True if the run reads the demo world: as its data, as dialogs of the tiny model, or as its benchmark."""
    if any(_reads_demo_world(config, stage) for stage in config.stage.others):
        return True
    folders = (config.data.dir, *(benchmark.folder for benchmark in config.benchmarks))
    return any(Path(folder).is_relative_to(config.paths.demo_world) for folder in folders)


def _reads_demo_world(config: TrainConfig, stage: StageConfig) -> bool:
    return any(Path(source.dialogs).is_relative_to(config.paths.demo_world) for source in stage.sources)


def demo_dialogs(config: TrainConfig, stage: StageConfig) -> int | None:
    """Dialogs that the demo world has for `stage`, align or instruct; None where the stage reads other dialogs."""
    if not _reads_demo_world(config, stage):
        return None
    world = demo_world(config)
    return world.align_clips if stage is config.stage.align else world.instruct_clips


def demo_world(config: TrainConfig) -> DemoWorldConfig:
    """The demo world of the run's dialogs and benchmark: that of its data, or `demo_world` where the data is real."""
    world: DemoWorldConfig = config.data.demo_world or config.demo_world
    return world


def make_inputs(config: TrainConfig) -> Inputs:
    """The run's inputs. Missing ones are made first if that needs no money and no published weights.

    Raises:
        MissingInputError: an input of real data is missing; the message names the command that makes it.
        DataError: another command has changed the data meanwhile.
    """
    from sg.caption.run import caption_videos
    from sg.curate.describe.statistics import StatisticsSettings
    from sg.curate.upkeep import describe_source

    inputs = locate_inputs(config)
    if needs_demo_world(config):
        from sg.demo.build import build_demo_world

        build_demo_world(demo_world(config), Path(config.paths.demo_world))
    if not config.data.is_made_on_the_way:
        missing = missing_inputs(config)
        if missing:
            raise MissingInputError(f"Missing: {missing[0]}.")
        return inputs
    manifest = read_manifest(make_manifest(config.data))
    # Captions of other settings may have come there since: these have another place then.
    inputs = dataclasses.replace(inputs, captions=caption_videos(config.data, config.captioner))
    make_vectors_and_forest(config, inputs.captions)
    vectors = read_record(inputs.vectors / INFO_FILE)
    forest = read_info(inputs.forest)
    settings = StatisticsSettings(seed=config.curator.seed, device=getattr(config.curator, "device", "auto"))
    sizes = [scale * config.data.captions_per_k for scale in _DESCRIBED]
    describe_source(inputs.forest.parent, inputs.vectors, manifest, sizes, settings)
    made = {inputs.manifest: manifest.content_hash, inputs.vectors: vectors, inputs.forest: forest}
    now = {
        inputs.manifest: hash_manifest(inputs.manifest),
        inputs.vectors: read_record(inputs.vectors / INFO_FILE),
        inputs.forest: read_info(inputs.forest),
    }
    if changed := [path for path in made if made[path] != now[path]]:
        raise DataError(
            f"{changed[0]} was replaced while this run prepared its data: run the same command again. Runs at once "
            "with other settings need other names (data.name, embedder.name, curator.name)."
        )
    return inputs


def make_vectors_and_forest(config: TrainConfig, captions: Path | None = None) -> None:
    """Make the vectors and the merge forest of data that runs make themselves, with its manifest before them."""
    from sg.curate.pipeline import curate
    from sg.embed.run import embed_videos

    inputs = locate_inputs(config)
    make_manifest(config.data)
    embed_videos(config.data, config.embedder)
    curate(config.curator, inputs.vectors, captions, inputs.forest.parent)
