"""What `evaluate.py` does: ask a trained model a benchmark's questions, or score a file of answers."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Importing these modules puts the schemas of the config groups into Hydra's config store.
import sg.evaluate.config
import sg.models.config  # noqa: F401
from sg.core.commands import command, register
from sg.core.errors import ConfigError, MissingInputError
from sg.core.paths import PathsConfig
from sg.train.config import TrainerConfig

log = logging.getLogger(__name__)


@dataclass
class EvaluateConfig:
    """Which model answers which benchmark, or which file of answers is read."""

    checkpoint: str | None = None
    predictions: str | None = None
    output: str | None = None
    model: Any = None
    benchmark: Any = None
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        if (self.checkpoint is None) == (self.predictions is None):
            raise ConfigError(
                "evaluate.py takes either checkpoint=FOLDER (a trained model) or predictions=FILE (answers to score)."
            )


@command("evaluate", EvaluateConfig)
def main(config: EvaluateConfig) -> None:
    """Run the command."""
    if config.predictions is not None:
        score_file(Path(config.predictions))
    else:
        evaluate_checkpoint(config)


def score_file(path: Path) -> dict[str, dict[str, float]]:
    """Score the answers in `path`, our `predictions.jsonl` or an official result file: {setting: {bucket: percent}}."""
    from sg.artefacts.predictions import read_predictions
    from sg.evaluate.run import score_lines
    from sg.evaluate.scoring import score
    from sg.evaluate.submission import read_submission

    if not path.is_file():
        raise MissingInputError(f"There is no file of answers {path}: give predictions=FILE.")
    rows = read_predictions(path) if path.suffix == ".jsonl" else read_submission(path)
    scores = score(rows)
    for line in score_lines(scores):
        log.info(line)
    return {setting: result.percentages() for setting, result in scores.items()}


def evaluate_checkpoint(config: EvaluateConfig) -> dict[str, dict[str, float]]:
    """Ask the model in `config.checkpoint` everything; {setting: {bucket: percent}}, also in `scores.json`."""
    from sg.core.files import write_json
    from sg.evaluate.answering import answers_fingerprint
    from sg.evaluate.benchmark import read_benchmark
    from sg.evaluate.run import evaluate_model
    from sg.models.chat_univi.identity import part_identity
    from sg.study.models import StudyModels

    assert config.checkpoint is not None
    benchmark = read_benchmark(config.benchmark)
    made_by = answers_fingerprint(benchmark, config.benchmark, str(part_identity(config.checkpoint)))
    models = StudyModels(config.model, config.trainer, Path(config.paths.work))
    model = models.load(config.checkpoint)
    tokens, failures = models.benchmark_tokens(benchmark)
    folder = Path(config.paths.runs) / "evaluations" / f"{benchmark.name}-{made_by}"
    folder = folder if config.output is None else Path(config.output)
    predictions = folder / "predictions.jsonl"
    scores = evaluate_model(model, models.encoder, benchmark, tokens, config.benchmark, predictions, made_by, failures)
    settings = {"checkpoint": config.checkpoint, "benchmark": dataclasses.asdict(config.benchmark)}
    write_json(folder / "scores.json", {"scores": scores, **settings})
    log.info("Answers and scores: %s", folder)
    return scores


register(None, "evaluate_schema", EvaluateConfig)
