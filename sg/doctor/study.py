"""Examines the parts of a study: what exists, what the study makes itself, and what is missing."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

from sg.core.errors import SgError
from sg.core.layout import located
from sg.doctor.findings import LACK, NOTE, OK, Finding
from sg.study.config import TrainConfig
from sg.study.inputs import missing_inputs, needs_demo_world
from sg.study.sweep import SCALE, SEED, complete_jobs


def runs_of_study(config: TrainConfig, params: Mapping[str, str]) -> list[TrainConfig]:
    """The runs of a sweep over `params` (`{"data.scale": "50k,100k", "seed": "0,1"}`), with baseline and controls.

    One run with `config` itself without `params`, or if the sweep changes other settings than scale and seed.
    """
    if not params or not set(params) <= {SCALE, SEED}:
        return [config]
    values = [[f"{key}={value.strip()}" for value in text.split(",")] for key, text in params.items()]
    fixed = [] if SCALE in params else [f"{SCALE}={config.data.scale}"]
    runs = []
    for job in complete_jobs([[*fixed, *job] for job in product(*values)], list(config.controls)):
        settings = dict(item.split("=", 1) for item in job)
        seed = int(settings.pop(SEED, config.seed))
        data = replace(config.data, **{key.removeprefix("data."): value for key, value in settings.items()})
        runs.append(replace(config, seed=seed, data=data))
    return runs


def examine_study(config: TrainConfig) -> list[Finding]:
    """Findings about the inputs of a run with this config."""
    return [*_settings(config), *_data(config), *_model(config), *_benchmarks(config)]


def _settings(config: TrainConfig) -> Iterator[Finding]:
    from sg.study.planning.plan import check_run

    try:
        check_run(config)
    except SgError as error:
        yield Finding("Settings", LACK, str(error))
    else:
        names = ",".join(benchmark.name for benchmark in config.benchmarks)
        text = f"data={config.data.name} model={config.model.name} benchmark={names}"
        yield Finding("Settings", OK, text)


def _data(config: TrainConfig) -> Iterator[Finding]:
    data = config.data
    makes_inputs = data.is_made_on_the_way
    if Path(data.videos).is_dir():
        yield Finding("Data", OK, f"videos: {data.videos}")
    elif data.demo_world is not None:
        yield Finding("Data", NOTE, f"videos: {data.videos} is rendered by the study")
    for sentence, setting in data.missing_files():
        yield Finding("Data", LACK, sentence, f"set {setting}")
    missing = missing_inputs(config)
    for line in missing:
        path, _, rest = line.partition(" (")
        command = rest.removesuffix(")").removeprefix("made by: ")
        on_the_way = needs_demo_world(config) if "dialogs of stage" in rest else makes_inputs
        status = NOTE if on_the_way else LACK
        yield Finding("Data", status, f"{path} is {'made by the study' if on_the_way else 'missing'}", command)
    if not missing:
        yield Finding("Data", OK, "manifest, captions, vectors, merge forest and dialogs exist")


def _model(config: TrainConfig) -> Iterator[Finding]:
    parts = {
        key: getattr(config.model, key, None)
        for key in ("checkpoint", "language_model", "vision_tower", "projector", "tokenizer")
    }
    for key, place in parts.items():
        if place is not None:
            yield _weights(key, str(place))


def _weights(key: str, place: str) -> Finding:
    """Finding about weights: a path on this machine, or a downloaded id of the hub."""
    if Path(place).exists() or located(place).exists():
        return Finding("Model", OK, f"{key}: {place}")
    if place.startswith(("/", ".", "~")) or place.count("/") != 1:
        return Finding("Model", LACK, f"{key}: there is no {place}", f"set model.{key}")
    if _is_downloaded(place):
        return Finding("Model", OK, f"{key}: {place}, downloaded")
    return Finding("Model", NOTE, f"{key}: {place} is not on this machine", f"hf download {place}")


def _is_downloaded(name: str) -> bool:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return name in {repository.repo_id for repository in scan_cache_dir().repos}
    except CacheNotFound:
        return False


def _benchmarks(config: TrainConfig) -> Iterator[Finding]:
    from sg.evaluate.benchmark import read_benchmark

    for own in config.benchmarks:
        folder = Path(own.folder)
        if not folder.is_dir() and needs_demo_world(config) and folder.is_relative_to(config.paths.demo_world):
            yield Finding("Benchmark", NOTE, f"{own.name}: rendered by the study")
            continue
        try:
            benchmark = read_benchmark(own)
        except SgError as error:
            yield Finding("Benchmark", LACK, str(error))
            continue
        files = sum(video.path is not None and video.path.is_file() for video in benchmark.videos)
        text = f"{benchmark.name}: {benchmark.num_questions:,} questions, {files} of {len(benchmark.videos)} videos"
        yield Finding("Benchmark", OK if files == len(benchmark.videos) else LACK, text)
