"""The work of the command: find the inputs of a source, curate, describe and export its cores."""

import logging
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from sg.artefacts.forest import FOREST_FILE, Forest, read_forest
from sg.artefacts.manifest import Manifest, read_manifest
from sg.artefacts.vectors import INFO_FILE
from sg.core.errors import ConfigError, MissingInputError
from sg.core.files import read_json
from sg.core.mistakes import nearest
from sg.core.scales import parse_scale
from sg.curate.config import CurateConfig
from sg.curate.describe.export import export_core
from sg.curate.describe.statistics import StatisticsSettings
from sg.curate.pipeline import curate
from sg.curate.upkeep import describe_source, extend_curation, forget_in_curation
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest
from sg.sources.registry import SOURCES, data_words

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The files of a source that its curation reads: manifest, vectors, and captions if there are any."""

    manifest: Manifest
    manifest_path: Path
    vectors: Path
    captions: Path | None

    @property
    def wanted(self) -> list[str]:
        """Ids of the usable videos."""
        return self.manifest.usable().video_ids


def curate_data(config: CurateConfig) -> Path:
    """Curate the source of `config`, or extend or reduce its merge forest; returns the path of the forest.

    Raises:
        MissingInputError: there is no manifest, or there are no vectors; the message names the command that makes them.
        ConfigError: there are several sets of vectors or captions, and the config chooses none.
    """
    data: DataConfig = config.data
    inputs = find_inputs(config)
    folder = Path(data.dir) / "curation" / config.curator.name
    missing = cast(Literal["error", "skip"], config.missing)
    where = (config.curator, inputs.vectors, inputs.captions, folder)
    if config.extend:
        size = _sizes([config.extend], data, len(read_forest(folder / FOREST_FILE)))[0]
        path = extend_curation(*where, size, wanted=inputs.wanted, missing=missing)
    elif config.forget:
        path = forget_in_curation(*where, config.forget, wanted=inputs.wanted, missing=missing)
    else:
        path = curate(*where, wanted=inputs.wanted, missing=missing)
    _describe(config, inputs, folder)
    if config.gallery:
        write_gallery(config, inputs, path)
    return path


def find_inputs(config: CurateConfig) -> SourceFiles:
    """The inputs of the curation; those of the demo world are made if they are missing."""
    data: DataConfig = config.data
    manifest = make_manifest(data)
    embeddings, captions = Path(data.dir) / "embeddings", Path(data.dir) / "captions"
    if data.command_words and not (config.embedder.name or any(embeddings.glob(f"*/{INFO_FILE}"))):
        _make_inputs(data)
    vectors = _only(embeddings, INFO_FILE, config.embedder.name, "embedder")
    if vectors is None:
        raise MissingInputError(f"There are no vectors of {data.name}: run `python -m sg.embed {data_words(data)}`.")
    name = config.captioner.name
    if name and name in SOURCES and not (captions / name).is_dir():
        name = None  # `captioner=mix` is the default captioner of `data=mix`, whose captions are in `given`
    texts = _only(captions, "captions.parquet", name, "captioner")
    return SourceFiles(read_manifest(manifest), manifest, vectors, texts / "captions.parquet" if texts else None)


def _only(folder: Path, file: str, name: str | None, key: str) -> Path | None:
    """The folder called `name` in `folder`, or without a name the only one that holds `file`; None if none does."""
    found = sorted(path.parent for path in folder.glob(f"*/{file}"))
    names = ", ".join(path.name for path in found)
    if name:
        if folder / name not in found:
            hint = nearest(name, [path.name for path in found])
            step = {"embedder": "python -m sg.embed", "captioner": "python -m sg.caption"}[key]
            raise MissingInputError(
                f"There is no {folder / name / file}{hint}: {folder} holds {names or 'nothing'}. Make it with `{step} "
                f"data=... {key}={name}`."
            )
        return folder / name
    if len(found) > 1:
        raise ConfigError(f"{folder} holds several ({names}): choose one with {key}=NAME.")
    return found[0] if found else None


def _make_inputs(data: DataConfig) -> None:
    """Caption and embed the data by running the commands of those steps: a step does not import another."""
    for step in ("sg.caption", "sg.embed"):
        log.info("curation: %s comes first", step)
        done = subprocess.run([sys.executable, "-m", step, *data.command_words], stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise MissingInputError(
                f"`python -m {step} {data.command_words[0]}` failed (see above); curation needs its output."
            )


def _describe(config: CurateConfig, inputs: SourceFiles, folder: Path) -> None:
    """Write statistics and lists of the cores that the config names, and log a summary."""
    forest = read_forest(folder / FOREST_FILE)
    sizes = [size for size in _sizes(config.scales, config.data, len(forest)) if size <= len(forest)]
    most = config.curator.most_in_memory
    if most is not None and len(forest) > most:
        log.info(
            "curation: no numbers about cores, because they need the vectors of all %d videos in memory", len(forest)
        )
        _export(config, forest, folder)
        return
    benchmark = Path(config.benchmark_vectors) if config.benchmark_vectors else None
    settings = StatisticsSettings(seed=config.curator.seed, device=getattr(config.curator, "device", "auto"))
    path = describe_source(folder, inputs.vectors, inputs.manifest, sizes, settings, benchmark_folder=benchmark)
    for core in read_json(path)["cores"]:
        cut = "" if core["cut_similarity"] is None else f"cut at {core['cut_similarity']:.3f}, "
        coverage, random = core["coverage"]["mean"], core["random"]["coverage"]["mean"]
        log.info("core %d: %scoverage %.3f (random draw %.3f)", core["size"], cut, coverage, random)
    _export(config, forest, folder)


def write_gallery(config: CurateConfig, inputs: SourceFiles, forest: Path) -> None:
    """Show the clusters by running the report's command: a step does not import another."""
    count = len(read_forest(forest))
    fitting = [size for size in _sizes(config.scales, config.data, count) if 0 < size < count]
    files = {"forest": forest, "manifest": inputs.manifest_path, "videos": Path(config.data.videos)}
    files |= {} if inputs.captions is None else {"captions": inputs.captions}
    words = [f"{key}={_quoted(path)}" for key, path in files.items()]
    words.append(f"core_size={min(fitting, default=max(1, count // 2))}")
    if subprocess.run([sys.executable, "-m", "sg.report", "gallery", *words], check=False).returncode:
        raise MissingInputError(f"The gallery of {forest} could not be written (see above); the forest is complete.")


def _quoted(path: Path) -> str:
    """The path as a text in Hydra's grammar, in which a backslash matters only before a quote and at the end."""
    text = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + (r"\'" if found[2] else ""), str(path.absolute()))
    return f"'{text}'"


def _export(config: CurateConfig, forest: Forest, folder: Path) -> None:
    for size in _sizes(config.export, config.data, len(forest)):
        text, _ = export_core(forest, size, folder)
        log.info("core %d: %s", size, text)


def _sizes(scales: list[str], data: DataConfig, available: int) -> list[int]:
    """The numbers of videos that scales stand for; `all` is every video."""
    numbers = [parse_scale(scale) for scale in scales]
    return [available if number is None else number * data.captions_per_k // 1000 for number in numbers]
