"""A family that no file of this project names needs a YAML file and nothing else."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir

from sg.core.commands import typed
from sg.core.layout import CONFIG_FOLDER
from sg.models.student import STUDENTS
from sg.study.config import TrainConfig, inherit_stages
from tests.models.hf.more_families import MORE_FAMILIES
from tests.models.hf.samples import LONG, samples_of


def test_another_family_is_a_file_of_settings(tmp_path: Path) -> None:
    folder = MORE_FAMILIES["glm4v"].save(tmp_path / "glm")
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "glm.yaml").write_text(
        f"defaults: [hf, _self_]\nname: glm\ncheckpoint: {folder}\nvideo: {{fps: 1}}\ndtype: float32\n"
    )
    inherit_stages([tmp_path / "mine", CONFIG_FOLDER])  # as for `--config-dir`
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        found = compose("train", [f"hydra.searchpath=[file://{tmp_path / 'mine'}]", "model=glm"])
        config = typed(found, TrainConfig)
    assert config.stages == ["caption"] and config.stage.caption.trains == ["language_model"]
    kind = STUDENTS.of(config.model)
    planned, student = kind.describe(config.model), kind.load(config.model)
    assert planned is not None and planned.weights == sum(value.numel() for value in student.module.parameters())
    loss, supervised = student.loss(student.processor.collate(samples_of(student), LONG))
    assert loss.item() > 0 and int(supervised) > 0
