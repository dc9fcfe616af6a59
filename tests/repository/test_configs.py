"""Every config file of the tree composes, alone and as a choice of the commands that take it."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

# Importing these modules registers the schemas.
import sg.curate.__main__
import sg.embed.__main__
import sg.report.__main__
import sg.report.commands.cards
import sg.report.commands.dashboard
import sg.report.commands.gallery
import sg.study.config
import sg.study.evaluation  # noqa: F401
from sg.core.commands import typed
from sg.core.errors import ConfigError
from sg.core.layout import CONFIG_FOLDER
from sg.study.config import TrainConfig

GROUPS = (
    "data",
    "captioner",
    "embedder",
    "curator",
    "model",
    "benchmark",
    "trainer",
    "logger",
    "launcher",
    "experiment",
)
CHOICES = [
    (group, path.stem)
    for group in GROUPS
    for path in sorted((CONFIG_FOLDER / group).glob("*.yaml"))
    if (group, path.stem) != ("paths", "local")
]
# What a user of the option has to say besides.
NEEDED = {
    ("data", "folder"): ["data.videos=clips", "data.captions=captions.csv"],
    ("model", "hf"): ["model.checkpoint=OWNER/NAME"],
    ("captioner", "judged"): ["captioner.judged=FILE", "captioner.min_scores={precision: 0.9}"],
    ("curator", "quality"): ["curator.judged=FILE"],
    ("curator", "quality_tome"): ["curator.judged=FILE"],
    ("captioner", "openai_compatible"): ["captioner.model.name=some-model"],
    ("captioner", "vllm"): ["captioner.model.name=some-model"],
    ("captioner", "hf"): ["captioner.student.checkpoint=OWNER/NAME"],
}


def composed(*overrides: str) -> TrainConfig:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return typed(compose("train", list(overrides)), TrainConfig)


@pytest.mark.parametrize(("group", "option"), CHOICES, ids=lambda value: value)
def test_every_option_of_every_group_composes(group: str, option: str) -> None:
    config = composed(f"{group}={option}", *NEEDED.get((group, option), []))
    assert isinstance(config, TrainConfig)


def test_the_defaults_are_the_demo_study() -> None:
    config = composed()
    assert (config.data.name, config.model.name, config.benchmark.name) == ("demo", "tiny", "demo")
    assert [stage.name for stage in (config.stage.align, config.stage.caption, config.stage.instruct)] == [
        "align", "caption", "instruct",
    ]  # fmt: skip


def test_a_model_brings_its_own_recipe() -> None:
    real = composed("model=chat_univi_7b_v15")
    assert (real.stage.align.learning_rate, real.stage.instruct.learning_rate) == (2e-3, 2e-5)
    assert real.stage.caption.batch_size == 128


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("controls=[nonsense]", "controls="),
        ("stage.caption.learning_rate=-1", "learning_rate > 0"),
        ("name='a b'", "names a folder"),
        ("+data.foo=1", r"no key 'data\.foo'"),
    ],
)
def test_a_wrong_setting_is_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        composed(override)
    assert "\n" not in str(caught.value)


def test_no_config_file_is_left_out_of_the_tests() -> None:
    folders = {path.name for path in Path(CONFIG_FOLDER).iterdir() if path.is_dir()}
    assert folders == {*GROUPS, "paths", "stage", "hydra"}


@pytest.mark.parametrize("command", ["caption", "curate", "embed", "evaluate", "sources"])
def test_commands_without_a_run_folder_append_to_one_log_each_in_work_logs(command: str, tmp_path: Path) -> None:
    needed = ["predictions=answers.jsonl"] if command == "evaluate" else []
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        hydra = compose(command, [f"paths.work={tmp_path}", *needed], return_hydra_config=True).hydra
    assert (hydra.run.dir, hydra.job.name, hydra.output_subdir) == (".", command, None)
    assert hydra.job_logging.handlers.file.filename == f"{tmp_path}/logs/{command}.log"
    assert hydra.sweep.dir == f"{tmp_path}/logs" and hydra.job_logging.handlers.file.delay


@pytest.mark.parametrize("command", ["cards", "dashboard", "doctor", "gallery", "report"])
def test_commands_that_only_print_write_nothing_in_the_current_folder(command: str) -> None:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        hydra = compose(
            command, ["study=x"] if command not in ("doctor", "gallery") else [], return_hydra_config=True
        ).hydra
    assert hydra.output_subdir is None
    assert "file" not in (hydra.job_logging.root or {}).get("handlers", [])
