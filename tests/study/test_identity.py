"""What names stages, results and studies: every setting that is not marked, the data by its content, no path."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigNode, ConfigStore
from omegaconf import OmegaConf
from PIL import Image

import sg.study.stages
import sg.train.stage
from sg.artefacts.checkpoint import read_stage_info
from sg.artefacts.dialogs import Dialog, Turn, write_dialogs
from sg.artefacts.result import RunResult, write_result
from sg.core.errors import ConfigError, MissingInputError
from sg.core.identity import NOT_IDENTITY, identity, identity_fields, recorded, settings_of
from sg.evaluate.benchmark import Benchmark
from sg.study.config import TrainConfig, study_identity, study_name
from sg.study.inputs import locate_inputs
from sg.study.models import StudyModels
from sg.study.run import _named_work, _train
from sg.study.stages import CaptionData, RunData, clip_files, stage_jobs
from sg.study.study_data import check_study_data
from sg.train.config import DialogSource, LoraConfig, RecipeConfig, StageConfig, TypicalSample
from sg.train.data.mixture import mixed_items
from sg.train.stage import StageJob
from tests.repository.test_configs import composed


def nested(settings: type) -> Iterator[type]:
    """A settings class, and the settings classes of its fields."""
    yield settings
    for field in dataclasses.fields(settings):
        value = field.default_factory() if callable(field.default_factory) else field.default
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from nested(type(value))


def settings_classes() -> list[type]:
    """Every dataclass of Hydra's config store that is ours, and what they hold."""
    found: set[type] = {RecipeConfig, DialogSource, LoraConfig, TypicalSample}

    def walk(repo: dict[str, Any]) -> None:
        for entry in repo.values():
            if isinstance(entry, dict):
                walk(entry)
            elif isinstance(entry, ConfigNode) and OmegaConf.is_config(entry.node):
                schema: Any = OmegaConf.get_type(entry.node)
                if dataclasses.is_dataclass(schema) and schema.__module__.startswith("sg."):
                    found.update(nested(schema))

    walk(ConfigStore.instance().repo)
    return sorted(found, key=lambda settings: settings.__name__)


def with_values(settings: type, /, **values: Any) -> Any:
    """An instance with these values, whatever the checks of the class say; the other fields have their defaults."""
    made = object.__new__(settings)
    for field in dataclasses.fields(settings):
        default = field.default_factory() if callable(field.default_factory) else field.default
        default = None if default is dataclasses.MISSING else default
        object.__setattr__(made, field.name, values.get(field.name, default))
    return made


@pytest.mark.parametrize("settings", settings_classes(), ids=lambda settings: settings.__name__)
def test_a_new_setting_counts_unless_it_is_marked(settings: type) -> None:
    def extended(**how: Any) -> type:
        new = ("a_new_setting", int, dataclasses.field(default=0, **how))
        return dataclasses.make_dataclass(settings.__name__, [new], bases=(settings,))

    counted, marked = extended(), extended(metadata=NOT_IDENTITY)
    assert settings_of(with_values(counted)) != settings_of(with_values(settings))
    assert settings_of(with_values(counted, a_new_setting=1)) != settings_of(with_values(counted))
    assert settings_of(with_values(marked, a_new_setting=1)) == settings_of(with_values(settings))


@pytest.mark.parametrize("settings", settings_classes(), ids=lambda settings: settings.__name__)
def test_every_setting_counts_except_the_marked_ones(settings: type) -> None:
    counted = {field.name: field for field in identity_fields(settings)}
    for field in dataclasses.fields(settings):
        if callable(field.metadata.get("identity", True)):
            continue  # Values with the same result count as one: tested where they are defined.
        changed = settings_of(with_values(settings, **{field.name: "another value"}))
        assert (changed != settings_of(with_values(settings))) == (field.name in counted), field.name


def test_a_study_does_not_depend_on_folders_machines_and_the_names_of_its_runs(tmp_path: Path) -> None:
    here = composed(f"paths.work={tmp_path / 'a'}")
    elsewhere = composed(
        f"paths.work={tmp_path / 'b'}", f"paths.runs={tmp_path / 'c'}", "trainer.num_threads=2",
        "data.scale=50k", "seed=3", "logger=csv", "controls=[]", "trainer.checkpoint_every_steps=7",
    )  # fmt: skip
    assert study_name(here) == study_name(elsewhere)
    videos = ["data=folder", "data.captions=c.csv"]
    folders = [composed(*videos, f"data.videos={tmp_path / name}", f"paths.work={tmp_path}") for name in ("x", "y")]
    assert study_name(folders[0]) == study_name(folders[1])


@pytest.mark.parametrize(
    "setting",
    ["stage.caption.learning_rate=2e-3", "stage.align.schedule=linear", "trainer.packed=true", "data.name=other",
     "trainer.visual_token_cache=false", "model.max_frames=8", "benchmark.prompt.last_line=Now:", "curator=random"],
)  # fmt: skip
def test_a_study_depends_on_what_can_change_its_results(setting: str) -> None:
    assert study_identity(composed(setting)).name != study_identity(composed()).name


def test_sharding_counts_and_the_strategies_that_copy_the_model_do_not_differ() -> None:
    names = [study_identity(composed(f"trainer.strategy={name}")).name for name in ("auto", "ddp", "fsdp")]
    assert names[0] == names[1] != names[2]


class Lab:
    """A run without captions on pictures: 300 samples of align and 6 of instruct; the benchmark has no videos."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder = folder
        self.media = folder / "media"
        if not self.media.exists():
            self.media.mkdir(parents=True)
            for number in range(300):
                Image.new("RGB", (64, 64), (number % 256, 9 * number % 256, 40)).save(self.media / f"{number}.png")
            self.write_dialogs("a red square")
        self.use(*overrides)

    def use(self, *overrides: str) -> None:
        self.config: TrainConfig = composed(f"paths.work={self.folder / 'work'}", "logger=csv", *overrides)
        for stage in self.config.stage.others:
            stage.sources = [DialogSource(str(self.folder / f"{stage.name}.json"), str(self.media), "pictures")]

    def write_dialogs(self, answer: str) -> None:
        for name, count in (("align", 300), ("instruct", 6)):
            turns = (Turn("human", "<image>\nDescribe"), Turn("gpt", answer))
            dialogs = [Dialog(f"{number}", "image", f"{number}.png", turns) for number in range(count)]
            write_dialogs(self.folder / f"{name}.json", dialogs)

    def break_files(self, *numbers: int) -> None:
        for number in numbers:
            (self.media / f"{number}.png").write_bytes(b"not an image")

    def repair_files(self, *numbers: int) -> None:
        for number in numbers:
            Image.new("RGB", (64, 64), (number, 200, 7)).save(self.media / f"{number}.png")

    def data(self) -> RunData:
        samples: dict[str, Any] = {stage.name: mixed_items(stage, 0) for stage in self.config.stage.stages}
        samples["caption"] = []
        return RunData(locate_inputs(self.config), CaptionData(0, 0, [], {}), samples)

    def jobs(self) -> list[StageJob]:
        data = self.data()
        return stage_jobs(self.config, data, clip_files(self.config).look(data.clips), is_plan=True)

    def train(self) -> dict[str, tuple[int, bool]]:
        """Train; {stage: (distinct samples, whether it was reused)}."""
        data, files = self.data(), clip_files(self.config)
        media = files.look(data.clips)
        models = StudyModels(self.config.model, self.config.trainer, self.config.work_folder)
        benchmark = Benchmark("none", "", ())
        jobs = _named_work([self.config], data, files, media, models, [benchmark])[0].jobs
        done = _train(self.config, jobs, models, lambda values: None, None)
        return {name: (info.distinct_samples, reused) for name, (info, reused) in done.items()}


def test_samples_that_cannot_be_read_are_left_out_of_the_name_and_trained_once_repaired(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.break_files(10, 20, 30)
    with pytest.raises(MissingInputError, match=r"3 of 300 samples lack .*3 cannot be read.*max_missing=0\.01") as stop:
        lab.train()
    assert "\n" not in str(stop.value)
    lab.use("stage.max_missing=0.01")
    assert lab.train() == {"align": (297, False), "instruct": (6, False)}
    assert lab.train() == {"align": (297, True), "instruct": (6, True)}
    lab.repair_files(10, 20, 30)
    lab.use()
    assert lab.train() == {"align": (300, False), "instruct": (6, False)}
    stages = [info for path in (tmp_path / "work" / "stages").iterdir() if (info := read_stage_info(path))]
    assert sorted(info.distinct_samples for info in stages) == [6, 6, 297, 300]
    for info in stages:
        work = recorded(dataclasses.asdict(info))
        assert work is not None
        assert work.name == info.fingerprint == info.made_by
        assert info.code["sg"]
        assert str(tmp_path) not in json.dumps(work.plain())


def test_without_the_token_cache_files_are_opened_before_training_too(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "trainer.visual_token_cache=false", "stage.max_missing=0.01")
    lab.break_files(50)
    assert lab.train()["align"] == (299, False)
    assert lab.train()["align"] == (299, True)
    lab.repair_files(50)
    assert lab.train()["align"] == (300, False)


def test_a_moved_work_folder_and_moved_media_train_nothing_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "one")
    assert not lab.train()["align"][1]
    (tmp_path / "one").rename(tmp_path / "two")
    moved = Lab(tmp_path / "two")
    (tmp_path / "two" / "media").rename(tmp_path / "elsewhere")
    moved.media = tmp_path / "elsewhere"
    moved.use()
    assert moved.train() == {"align": (300, True), "instruct": (6, True)}


def test_replaced_media_and_other_settings_change_the_name_of_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path)
    lab.train()
    before = [job.fingerprint for job in lab.jobs()]
    lab.use("stage.align.micro_batch_size=4", "trainer.checkpoint_every_steps=5", "stage.align.typical.frames=3")
    assert [job.fingerprint for job in lab.jobs()] == before
    lab.use("stage.align.schedule=constant")
    assert lab.jobs()[0].fingerprint != before[0]
    lab.use()
    lab.write_dialogs("a blue square")
    assert lab.jobs()[0].fingerprint != before[0]
    lab.write_dialogs("a red square")
    assert [job.fingerprint for job in lab.jobs()] == before
    monkeypatch.setattr(sg.train.stage, "TRAINING_VERSION", 99)
    assert lab.jobs()[0].fingerprint != before[0]
    monkeypatch.undo()
    lab.repair_files(7)  # a file of the same size or not: its bytes are others
    assert lab.train() == {"align": (300, False), "instruct": (6, False)}


def test_runs_on_other_data_do_not_join_a_study(tmp_path: Path) -> None:
    one, other = (identity("study_data", settings={}, inputs={"captions": name}, version=1) for name in ("a", "b"))
    study = tmp_path / "demo_scaling-0123abcd"
    check_study_data(study / "0-seed0", one)
    check_study_data(study / "0-seed0", other)  # nothing has finished: the data may still change
    result = RunResult(run="0-seed0", study=study.name, scale=0, scale_label="0", seed=0)
    write_result(study / "0-seed0", result)
    check_study_data(study / "0-seed0", one)  # the only run of the study is made again
    with pytest.raises(ConfigError, match=r"1 finished runs .* \(inputs\.captions: a -> b\).*name=NAME") as stop:
        check_study_data(study / "50k-seed0", other)
    assert "\n" not in str(stop.value)
    check_study_data(study / "50k-seed0", one)


def test_a_study_of_other_settings_does_not_replace_the_runs_of_a_folder(tmp_path: Path) -> None:
    """Two sweeps with the same `hydra.sweep.dir`."""
    one, other = (identity("study_data", settings={"rate": rate}, version=1) for rate in (0.1, 0.2))
    check_study_data(tmp_path / "0-seed0", one)
    write_result(tmp_path / "0-seed0", RunResult(run="0-seed0", study="s", scale=0, scale_label="0", seed=0))
    with pytest.raises(ConfigError, match=r"other settings .*settings\.rate: 0\.1 -> 0\.2.*hydra\.sweep\.dir=DIR"):
        check_study_data(tmp_path / "0-seed0", other)
    check_study_data(tmp_path / "0-seed0", one)


def test_micro_batches_and_sources_of_a_stage_count_by_their_content_only() -> None:
    source = DialogSource("a.json", "media", "coco", samples=5, frames=64)
    moved = dataclasses.replace(source, dialogs="/b.json", media="/elsewhere", samples=6, frames=1)
    assert settings_of(StageConfig(name="align", sources=[source])) == settings_of(
        StageConfig(name="align", sources=[moved], micro_batch_size=1)
    )
