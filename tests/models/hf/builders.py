"""Stages that train a tiny student of a family, with cached features or with pixels."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from sg.artefacts.dialogs import Dialog, Turn
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.core.identity import identity
from sg.models.hf import CONNECTOR_OUTPUT, TOWER_OUTPUT
from sg.models.hf.student import HfStudent
from sg.models.student import CONNECTOR
from sg.train.config import StageConfig, TrainerConfig
from sg.train.data.samples import Clip, TrainingItem
from sg.train.processes import ALONE, Team
from sg.train.stage import StageJob, train_stage
from tests.models.hf.samples import clip_of, student_of

WORDS = ("red", "green", "blue", "circle", "square", "stops", "moves", "<|im_end|>")
CLIPS = 4


class Clips:
    """A few clips of two to five frames: as pixels, or as the features of `student` that no trained part changes."""

    def __init__(self, student: HfStudent, are_features: bool, trained: Collection[str]) -> None:
        clips = [clip_of(student.processor, 2 + number, seed=number) for number in range(CLIPS)]
        level = TOWER_OUTPUT if CONNECTOR in trained else CONNECTOR_OUTPUT
        self._clips = student.features(clips, level) if are_features else clips

    def facts(self, clip: Clip) -> ClipFacts:
        return self._clips[int(clip.key)].facts

    def read(self, clip: Clip) -> ClipTensors:
        return self._clips[int(clip.key)]


def items(count: int) -> list[TrainingItem]:
    """Dialogs about the clips; every fifth one has none."""
    made = []
    for number in range(count):
        text = " ".join(WORDS[(number * 7 + place * place) % len(WORDS)] for place in range(2 + number % 5))
        turns = (Turn("human", "<video>\nWhat is it?"), Turn("gpt", text))
        key = str(number % CLIPS)
        has_clip = number % 5 != 4
        dialog = Dialog(str(number), "video" if has_clip else "text", key if has_clip else None, turns)
        made.append(TrainingItem(dialog, Clip(key, Path(key)) if has_clip else None))
    return made


def stage_job(folder: Path, count: int = 16, **settings: Any) -> StageJob:
    values = {"name": "caption", "trains": ["language_model"], "samples": "captions", "requests": ["?"],
              "learning_rate": 1e-3, "batch_size": 4, "micro_batch_size": 2, "max_length": 4096} | settings  # fmt: skip
    stage = StageConfig(**values)
    work = identity("stage", settings=stage, version=1)
    return StageJob(stage, items(count), count * stage.epochs, seed=0, identity=work, parent=None, folder=folder)


def train(family: str, job: StageJob, are_features: bool = True, team: Team = ALONE, **trainer: Any) -> None:
    """Train the stage from a random student of the family."""
    torch.set_num_threads(1)
    student = student_of(family)
    config = TrainerConfig(**({"checkpoint_every_steps": 2} | trainer))
    clips = Clips(student, are_features, job.stage.trains)
    train_stage(job, lambda: student_of(family), student.processor, clips, config, lambda values: None, team)
