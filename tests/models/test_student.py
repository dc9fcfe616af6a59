"""The protocol of students, and that Chat-UniVi fulfils it."""

import pickle
from pathlib import Path

import pytest
import torch

from sg.core.errors import ConfigError
from sg.models.student import CONNECTOR, LANGUAGE_MODEL, PARTS, STUDENTS, VISION, part_of
from tests.models.chat_univi.test_build import parts
from tests.repository.test_configs import composed

NESTED = {
    VISION: ["model.visual"],
    CONNECTOR: ["model.visual.merger"],
    LANGUAGE_MODEL: ["model.language_model", "head"],
}


def test_the_longest_name_decides_the_part_of_a_weight() -> None:
    assert part_of(NESTED, "model.visual.blocks.0.weight") == VISION
    assert part_of(NESTED, "model.visual.merger.weight") == CONNECTOR
    assert part_of(NESTED, "model.visual.merger") == CONNECTOR
    assert part_of(NESTED, "model.visual.mergers.weight") == VISION
    assert part_of(NESTED, "head.weight") == LANGUAGE_MODEL
    with pytest.raises(KeyError, match="belongs to no part"):
        part_of(NESTED, "model.other")


def test_every_weight_of_a_student_belongs_to_a_part_and_every_block_is_a_module(tmp_path: Path) -> None:
    config = parts(tmp_path)
    student = STUDENTS.of(config).load(config)
    assert {part_of(student.parts, name) for name, _ in student.module.named_parameters()} == set(PARTS)
    assert all(isinstance(student.module.get_submodule(name), torch.nn.Module) for name in student.blocks)


def test_the_processor_of_a_student_can_be_sent_to_another_process(tmp_path: Path) -> None:
    config = parts(tmp_path)
    processor = STUDENTS.of(config).processor(config)
    again = pickle.loads(pickle.dumps(processor))
    assert again.question("Why?", None) == processor.question("Why?", None)
    assert again.frames == processor.frames


def test_the_kind_of_a_student_follows_from_the_class_of_its_settings() -> None:
    config = composed().model
    assert STUDENTS.name_of(config) == "chat_univi"
    with pytest.raises(ConfigError, match="is not registered"):
        STUDENTS.of(object())
