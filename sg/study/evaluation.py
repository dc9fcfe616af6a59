"""The command `evaluate.py`: ask a trained model the questions of a benchmark, merge shards, or score answers."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sg
from sg.artefacts.result import PREDICTIONS_FILE
from sg.core.commands import command, given, register
from sg.core.errors import ConfigError, DataError, MissingInputError, Terminated
from sg.core.identity import Identity, code_version, made_by
from sg.core.layout import program
from sg.core.places.config import PathsConfig
from sg.evaluate.benchmark import BENCHMARKS
from sg.evaluate.config import check_benchmarks
from sg.models.student import STUDENTS
from sg.study.devices import is_termination
from sg.study.planning.machine import check_devices
from sg.study.served.settings import ServerConfig
from sg.train.config import TrainerConfig

if TYPE_CHECKING:
    from sg.artefacts.predictions import Prediction
    from sg.evaluate.benchmark import Benchmark
    from sg.evaluate.config import BenchmarkConfig
    from sg.evaluate.scoring import Scores
    from sg.study.models import AskedModels

BENCHMARKS.load()  # registers the schemas of all benchmarks
STUDENTS.load()

log = logging.getLogger(__name__)

SCORES_FILE = "scores.json"


@dataclass
class EvaluateConfig:
    """Settings of `evaluate.py`: which model answers which benchmark, or which file of answers is scored.

    Attributes:
        checkpoint, served, merge, predictions: exactly one is set. `checkpoint` asks a model, `served` the server with
            OpenAI's chat format at this address, `merge` merges the answers of the shards in a folder, `predictions`
            scores a file of answers.
        server: how the server is asked.
        explain: changes of settings as KEY:VALUE, asked one after the other to say what each is worth.
        shards: number of processes that share the questions.
        shard: runs only this one of them; null runs all on this machine.
    """

    checkpoint: str | None = None
    served: str | None = None
    merge: str | None = None
    predictions: str | None = None
    output: str | None = None
    explain: list[str] = field(default_factory=list)
    shards: int = 1
    shard: int | None = None
    model: Any = None
    server: ServerConfig = field(default_factory=ServerConfig)
    benchmark: Any = None
    more_benchmarks: dict[str, Any] = field(default_factory=dict)  # further ones: benchmark=[video_mme,mvbench]
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.checkpoint, self.served, self.merge, self.predictions)) != 1:
            raise ConfigError(
                "evaluate.py takes one of checkpoint=FOLDER (a trained model), served=URL (a server), merge=FOLDER "
                "(answers of shards) and predictions=FILE (answers to score)."
            )
        if self.explain and (self.checkpoint is None or self.shards > 1):
            raise ConfigError("explain=[...] asks a checkpoint in one process: give checkpoint=FOLDER, without shards.")
        if self.served is not None:
            dataclasses.replace(self.server, base_url=self.served or "nothing")  # refuses anything but an address
        if self.served is not None and self.shards > 1:
            raise ConfigError("served=URL asks many questions at once (server.max_concurrency): leave out shards.")
        if self.checkpoint is None and (self.shards > 1 or self.shard is not None):
            raise ConfigError("shards and shard divide the questions to a checkpoint: they need checkpoint=FOLDER.")
        if self.merge is not None and self.output is not None:
            raise ConfigError(
                f"output={self.output} has no effect: the scores of merge={self.merge} are written there."
            )
        check_benchmarks(self.benchmarks)
        if self.predictions is not None and self.more_benchmarks:
            raise ConfigError("predictions=FILE holds the answers to one benchmark: name one, as benchmark=NAME.")
        if self.served is None and self.server != ServerConfig():
            raise ConfigError("server.* says how a server is asked: it needs served=URL.")
        if self.shards < 1:
            raise ConfigError(f"shards={self.shards} should be at least 1.")
        if self.shard is not None and not 0 <= self.shard < self.shards:
            raise ConfigError(f"shard={self.shard} of shards={self.shards} does not exist: count shards from 0.")

    @property
    def benchmarks(self) -> list[BenchmarkConfig]:
        """The settings of all benchmarks."""
        return [self.benchmark, *self.more_benchmarks.values()]

    def folder_of(self, benchmark: BenchmarkConfig) -> Path | None:
        """The folder of the answers to a benchmark that `output` chooses; None for the default."""
        if self.output is None:
            return None
        return Path(self.output) / benchmark.name if self.more_benchmarks else Path(self.output)


_OF_TRAINING = {
    "trainer.devices": "shards=N asks with N processes",
    "trainer.nodes": "start one shard on each machine, as shards=N shard=K",
    "trainer.evaluate_every": "it is a setting of train.py",
}
"""Keys of `trainer` that only training uses, and what to do instead."""


@command("evaluate", EvaluateConfig, unused=_OF_TRAINING)
def main(config: EvaluateConfig) -> None:
    """Run the command."""
    if config.predictions is not None:
        output = None if config.output is None else Path(config.output)
        score_file(Path(config.predictions), output, config.benchmark if given("benchmark") else None)
    elif config.served is not None:
        evaluate_server(config)
    elif config.merge is not None:
        merge_folder(config, Path(config.merge))
    elif config.explain:
        from sg.study.explain.run import explain

        explain(config, asking(config))
    else:
        evaluate_checkpoint(config)


def asking(config: EvaluateConfig) -> Callable[[EvaluateConfig], list[Evaluation]]:
    """A function that asks the model in `config.checkpoint` everything, with other settings at every call.

    It returns the evaluations with their folders. The model is loaded once per settings of it.
    """
    models = _models(config)

    def ask(own: EvaluateConfig) -> list[Evaluation]:
        assert own.checkpoint is not None
        evaluations = evaluations_of(own, STUDENTS.of(own.model).identity(own.model, own.checkpoint))
        _ask(own, evaluations, models)
        return evaluations

    return ask


def _models(config: EvaluateConfig) -> AskedModels:
    from sg.study.models import AskedModels

    return AskedModels(str(config.checkpoint), config.trainer, Path(config.paths.work))


def score_file(
    path: Path, output: Path | None = None, benchmark: BenchmarkConfig | None = None
) -> dict[str, dict[str, float]]:
    """Score the answers in the file or folder `path`; return {setting: {bucket: percent}}.

    Prints the official table, and for the file of another program its own score and where the two differ. With
    `benchmark` the answers are matched to its questions. `output` is a folder for `scores.json`.
    """
    from sg.evaluate.file_report import read_and_report
    from sg.evaluate.run import score_lines
    from sg.evaluate.scoring import score

    percentages: dict[str, dict[str, float]] = {}
    reports = read_and_report(path, benchmark)
    for report in reports:
        print(report.text, end="")
        scores = score(report.rows)
        for line in score_lines(scores):
            log.info(line)
        _log_uncertainty(report.rows)
        if output is not None:
            place = output if len(reports) == 1 else output / report.name
            _write_scores(place, scores, report.rows, {"predictions": str(path)})
        percentages |= {setting: result.percentages() for setting, result in scores.items()}
    return percentages


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One benchmark of a call: its settings, its questions, the identity of its answers, and their folder."""

    config: BenchmarkConfig
    benchmark: Benchmark
    answers: Identity
    folder: Path


def evaluations_of(config: EvaluateConfig, model: Identity | str) -> list[Evaluation]:
    """The evaluations of `config`, one per benchmark.

    Raises:
        MissingInputError: a benchmark has no table, or none of its videos has a file.
    """
    from sg.evaluate.answering import answers_identity
    from sg.evaluate.benchmark import read_askable_benchmarks

    found = []
    for own, benchmark in zip(config.benchmarks, read_askable_benchmarks(config.benchmarks), strict=True):
        answers = answers_identity(benchmark, own, model)
        folder = Path(config.paths.runs) / "evaluations" / f"{benchmark.name}-{answers.name}"
        found.append(Evaluation(own, benchmark, answers, config.folder_of(own) or folder))
    return found


def evaluate_checkpoint(config: EvaluateConfig) -> dict[str, dict[str, float]]:
    """Ask the model in `config.checkpoint` everything and write `scores.json`; return {setting: {bucket: percent}}.

    With several benchmarks the settings are called `<benchmark>/<setting>`.
    """
    assert config.checkpoint is not None
    if not Path(config.checkpoint).is_dir():
        raise MissingInputError(
            f"There is no model {config.checkpoint}: set checkpoint to the folder of a trained one."
        )
    check_devices(config.trainer.accelerator, devices=1)
    model = STUDENTS.of(config.model).identity(config.model, config.checkpoint)
    evaluations = evaluations_of(config, model)
    origin = {"checkpoint": config.checkpoint, "model": model.plain()}
    if config.shards > 1 and config.shard is None:
        run_shards(config.shards, config.trainer.accelerator == "gpu")
    elif not _ask(config, evaluations, _models(config)):
        return {}
    return published(evaluations, origin, merge=config.shards > 1)


def evaluate_server(config: EvaluateConfig) -> dict[str, dict[str, float]]:
    """Ask the server at `config.served` everything and write `scores.json`; returns as `evaluate_checkpoint`."""
    from sg.study.served.questions import served_identity
    from sg.study.served.run import ask_server, sampling_of

    server = config.server
    server = dataclasses.replace(
        server, base_url=config.served, model=dataclasses.replace(server.model, name=config.model.name)
    )
    sampling = sampling_of(server, config.model)
    model = served_identity(server, sampling)
    evaluations = evaluations_of(config, model)
    for one in evaluations:
        ask_server(one.benchmark, one.config, server, sampling, one.folder / PREDICTIONS_FILE, one.answers)
    return published(evaluations, {"served": config.served, "model": model.plain()})


def merge_folder(config: EvaluateConfig, folder: Path) -> dict[str, dict[str, float]]:
    """Merge the answers of the shards in `folder` and score them; return {setting: {bucket: percent}}.

    With several benchmarks each has a folder of its name in `folder`.
    """
    from sg.evaluate.benchmark import read_benchmark
    from sg.evaluate.shards import merge_shards

    scores: dict[str, dict[str, float]] = {}
    for own in config.benchmarks:
        place = folder / own.name if config.more_benchmarks else folder
        rows = merge_shards(place / PREDICTIONS_FILE)
        found = _published(own, read_benchmark(own), place, {"made_by": rows[0].made_by, "merged": str(place)})
        scores |= {f"{own.name}/{name}" if config.more_benchmarks else name: values for name, values in found.items()}
    return scores


def _ask(config: EvaluateConfig, evaluations: Sequence[Evaluation], models: AskedModels) -> bool:
    """Ask all questions, or those of one shard; return True if all questions were asked."""
    from sg.evaluate.answering import evaluate
    from sg.evaluate.shards import EvaluationShard

    shard = EvaluationShard(config.shard or 0, config.shards)
    student, processor, shown = models.ask(config.model, [one.benchmark for one in evaluations], shard)
    for one, (features, failures) in zip(evaluations, shown, strict=True):
        file = evaluate(
            student, processor, one.benchmark, features, one.config, one.folder / PREDICTIONS_FILE,
            one.answers.name, failures, shard,
        )  # fmt: skip
        if shard.count > 1:
            log.info("Answers of this shard: %s. When all are done: python evaluate.py merge=%s", file, one.folder)
    return shard.count == 1


def run_shards(count: int, on_gpus: bool) -> None:
    """Run this command once per shard, each in its own process, and on its own GPU if there are several.

    Raises:
        DataError: a shard failed; the others have finished.
    """
    children = []
    for index in range(count):
        environment = os.environ | ({"CUDA_VISIBLE_DEVICES": _device(index)} if on_gpus else {})
        children.append(subprocess.Popen([*program("evaluate"), *sys.argv[1:], f"shard={index}"], env=environment))
    try:
        codes = [child.wait() for child in children]
    except BaseException:
        for child in children:
            child.terminate()
        raise
    if any(is_termination(code) for code in codes):
        raise Terminated
    failed = [str(index) for index, code in enumerate(codes) if code != 0]
    if failed:
        raise DataError(
            f"Shard {', '.join(failed)} of {count} failed (see above): run the same command again to resume."
        )


def _device(index: int) -> str:
    """The device of a shard: the devices that this process may use, in turn."""
    import torch

    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = allowed.split(",") if allowed else [str(number) for number in range(max(1, torch.cuda.device_count()))]
    return devices[index % len(devices)]


def published(
    evaluations: Sequence[Evaluation], origin: dict[str, Any], merge: bool = False
) -> dict[str, dict[str, float]]:
    """Write the scores of all evaluations, whose answers are in their folders; `merge` merges those of shards first."""
    from sg.evaluate.shards import merge_shards

    scores: dict[str, dict[str, float]] = {}
    for one in evaluations:
        if merge:
            merge_shards(one.folder / PREDICTIONS_FILE)
        found = _published(one.config, one.benchmark, one.folder, origin | made_by(one.answers))
        scores |= {f"{one.benchmark.name}/{name}" if len(evaluations) > 1 else name: found[name] for name in found}
    return scores


def _published(
    config: BenchmarkConfig, benchmark: Benchmark, folder: Path, settings: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Write scores, official files and `scores.json` to `folder`; return {setting: {bucket: percent}}."""
    from sg.artefacts.predictions import read_predictions
    from sg.evaluate.run import publish

    path = folder / PREDICTIONS_FILE
    scores = publish(benchmark, config, path)
    rows = [row for row in read_predictions(path) if row.setting in scores]
    _log_uncertainty(rows)
    data = {"revision": benchmark.revision, "questions": benchmark.content_hash}
    _write_scores(folder, scores, rows, settings | {"data": data, "benchmark": dataclasses.asdict(config)})
    log.info("Answers and scores: %s", folder)
    return {setting: result.percentages() for setting, result in scores.items()}


def _uncertainty(rows: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """The uncertainty of the overall official accuracy of every setting, in percent."""
    import numpy as np

    from sg.report.numbers.estimates import accuracy, arm_score
    from sg.report.numbers.statistics import wilson_interval

    settings: dict[str, list[Prediction]] = {}
    for row in rows:
        if row.is_answered:
            settings.setdefault(row.setting, []).append(row)
    found = {}
    for setting, answered in settings.items():
        right = np.array([row.is_correct for row in answered], dtype=float)
        _, videos = np.unique([row.video_id for row in answered], return_inverse=True)
        wilson, score = wilson_interval(int(right.sum()), len(right)), arm_score(right[None], videos)
        assert score is not None
        error = accuracy(score).standard_error
        found[setting] = {"wilson_low": 100 * wilson.low, "wilson_high": 100 * wilson.high}
        found[setting] |= {} if math.isnan(error) else {"clustered_standard_error": error}
    return found


def _log_uncertainty(rows: Sequence[Prediction]) -> None:
    for setting, values in _uncertainty(rows).items():
        error = values.get("clustered_standard_error")
        clustered = "" if error is None else f", standard error over videos {error:.1f}"
        log.info("%s: 95 %% [%.1f, %.1f] (Wilson)%s", setting, values["wilson_low"], values["wilson_high"], clustered)


def _write_scores(folder: Path, scores: Scores, rows: Sequence[Prediction], settings: dict[str, Any]) -> None:
    from sg.core.files import write_record
    from sg.evaluate.run import score_details

    uncertainty = _uncertainty(rows)
    details = {name: detail | {"overall_95": uncertainty.get(name)} for name, detail in score_details(scores).items()}
    percentages = {setting: result.percentages() for setting, result in scores.items()}
    write_record(
        folder / SCORES_FILE,
        {"scores": percentages, "details": details, "version": sg.__version__, "code": code_version(), **settings},
    )


register(None, "evaluate_schema", EvaluateConfig)
