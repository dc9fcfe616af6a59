"""Recipes are lists of stages: what each trains, what scale 0 is, and that everything downstream works with it."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore

from sg.artefacts.checkpoint import read_stage_info
from sg.artefacts.held_out import read_caption_losses
from sg.artefacts.predictions import read_predictions
from sg.artefacts.result import PREDICTIONS_FILE, RunResult, read_result
from sg.core.commands import typed
from sg.core.errors import ConfigError
from sg.core.layout import CONFIG_FOLDER
from sg.models.chat_univi.settings import ModelConfig
from sg.models.student import STUDENTS
from sg.models.students.chat_univi import ChatUniViKind
from sg.report.write import write_report
from sg.study.config import TrainConfig, inherit_stages, study_name
from sg.study.planning.plan import check_run, plan_run
from sg.study.planning.why import explain_run, run_folder
from sg.study.registration import registration_of
from tests.repository.test_configs import composed
from tests.study.pictures import config_of, run, write_data


@dataclass
class UncachedConfig(ModelConfig):
    """A Chat-UniVi whose features are never cached, as if its tower were trained."""


class UncachedKind(ChatUniViKind):
    def cache(self, config: ModelConfig, trained: Collection[str], checkpoint: str | None = None) -> None:  # type: ignore[override]
        return None


CAPTION, LATER = ["stages=[caption]"], ["stages=[caption,instruct]"]
SCALE = "10"
TRAINED = "model.projector=projector.bin"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, and a finished run of the default recipe whose model is the published checkpoint."""
    folder = tmp_path_factory.mktemp("published")
    write_data(folder)
    run(with_held_out(folder))
    return folder


def with_held_out(folder: Path, *overrides: str) -> TrainConfig:
    return config_of(folder, f"data.held_out.dialogs={folder / 'dialogs.json'}", "data.held_out.videos=2", *overrides)


def checkpoint(folder: Path) -> Path:
    (found,) = [path for path in (folder / "work" / "stages").glob("instruct-*") if path.is_dir()]
    return found


def started(folder: Path, *overrides: str) -> TrainConfig:
    """A run that starts from the published checkpoint; its stages go to another work folder."""
    parts = [f"model.checkpoint={checkpoint(folder)}", "model.language_model=null", "model.vision_tower=null"]
    return with_held_out(folder, *parts, f"paths.work={folder / 'other'}", *overrides)


def result_of(config: TrainConfig) -> RunResult:
    run(config)
    return read_result(run_folder(config))


def responses(config: TrainConfig) -> dict[tuple[str, str], str]:
    rows = read_predictions(run_folder(config) / PREDICTIONS_FILE)
    return {(row.question_id, row.setting): row.response for row in rows}


def test_scale_0_of_a_caption_recipe_is_the_published_checkpoint_and_trains_nothing(published: Path) -> None:
    config = started(published, *CAPTION, "data.scale=0")
    result = result_of(config)
    assert (result.is_baseline, result.stages, result.steps, result.num_captions) == (True, {}, {}, 0)
    assert not (published / "other" / "stages").exists()
    first = with_held_out(published)
    assert responses(config) == responses(first)
    assert result.scores == read_result(run_folder(first)).scores


def test_a_caption_recipe_trains_one_stage_and_its_answers_and_losses_are_those_of_that_model(published: Path) -> None:
    base, config = started(published, *CAPTION, "data.scale=0"), started(published, *CAPTION, f"data.scale={SCALE}")
    before, after = result_of(base), result_of(config)
    assert list(after.stages) == ["caption"]
    info = read_stage_info(published / "other" / "stages" / f"caption-{after.stages['caption'].fingerprint}")
    assert info is not None and info.parent is None
    assert before.held_out is not None and after.held_out is not None
    losses = read_caption_losses(run_folder(base), before.held_out)
    assert [loss.video_id for loss in losses] == ["0", "1"]
    assert after.held_out.per_token < before.held_out.per_token
    assert run_folder(base).parent == run_folder(config).parent


def test_captions_before_instruct_start_from_the_checkpoint_too(published: Path) -> None:
    base, config = started(published, *LATER, "data.scale=0"), started(published, *LATER, f"data.scale={SCALE}")
    before, after = result_of(base), result_of(config)
    assert (list(before.stages), list(after.stages)) == (["instruct"], ["caption", "instruct"])
    caption_alone = result_of(started(published, *CAPTION, f"data.scale={SCALE}"))
    assert after.stages["caption"].fingerprint == caption_alone.stages["caption"].fingerprint
    assert after.stages["caption"].reused
    # The held-out losses are those of the model before instruct: the same as without that stage.
    assert after.held_out == caption_alone.held_out
    assert before.held_out == result_of(started(published, *CAPTION, "data.scale=0")).held_out
    assert after.scores.keys() == before.scores.keys()


def test_plans_and_explanations_have_the_stages_of_the_recipe(published: Path) -> None:
    for recipe, scale, stages in (
        (CAPTION, "0", []),
        (CAPTION, SCALE, ["caption"]),
        (LATER, "0", ["instruct"]),
        (LATER, SCALE, ["caption", "instruct"]),
    ):
        config = started(published, *recipe, f"data.scale={scale}")
        run(config)
        assert [(one.stage.name, one.action) for one in plan_run(config, "run")] == [(name, "reuse") for name in stages]
        steps = {report.step: report.action for report in explain_run(config, run_folder(config))}
        assert [step for step in steps if step.startswith("stage ")] == [f"stage {name}" for name in stages]
        assert set(steps.values()) == {"reused"}
    absent = composed("data=webvid", *CAPTION, TRAINED, "paths.work=nowhere/work")
    assert [one.stage.name for one in plan_run(absent, "run")] == ["caption"]
    assert plan_run(replace(absent, data=replace(absent.data, scale="0")), "run") == []


def test_controls_and_the_report_work_without_the_other_stages(published: Path) -> None:
    runs = [["data.scale=0"], ["data.scale=5"], [f"data.scale={SCALE}"]]
    runs += [["data.scale=5", "data.control=equal_steps", f"data.control_scale={SCALE}"]]
    runs += [["data.scale=5", "data.control=random"]]
    configs = [started(published, *CAPTION, *one, "name=controls") for one in runs]
    results = [result_of(config) for config in configs]
    assert results[3].steps == results[2].steps
    report = write_report(run_folder(configs[0]).parent)
    assert "5 equal-step" in report.text and "5 random" in report.text
    registered = registration_of(configs)
    assert registered.arms == ["0", "5", SCALE, "5/equal_steps", "5/random"]


def test_a_control_that_adds_instruct_steps_needs_that_stage(published: Path) -> None:
    config = started(published, *CAPTION, f"data.scale={SCALE}", "data.control=instruct_steps")
    with pytest.raises(ConfigError, match=r"control=instruct_steps adds steps to the stage instruct.*stages=\[caption"):
        check_run(config)
    check_run(started(published, *LATER, f"data.scale={SCALE}", "data.control=instruct_steps"))


def test_a_student_without_features_to_cache_is_trained_and_asked_from_files(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STUDENTS._by_name, "uncached", (UncachedConfig, UncachedKind()))
    exact = ["model.visual_token_dtype=float32", f"paths.work={published / 'exact'}", f"data.scale={SCALE}"]
    cached = with_held_out(published, *exact)
    fresh = with_held_out(published, *exact)
    fresh = replace(fresh, model=UncachedConfig(**vars(fresh.model)))
    first, second = result_of(cached), result_of(fresh)
    assert len(list((published / "exact" / "visual_tokens").glob("*/visual_tokens.json"))) == 1
    assert first.held_out is not None and second.held_out is not None
    assert second.held_out.per_token == pytest.approx(first.held_out.per_token, abs=1e-5)
    assert responses(fresh) == responses(cached)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("[caption]", r"stages=\[caption\] would start from a random connector of model=tiny: add the stage align"),
        ("[align,instruct]", r"stages=\[align,instruct\] should list some of align, caption, instruct in this order"),
        ("[instruct,caption]", "in this order"),
        ("[caption,preference]", "in this order"),
        ("[]", "in this order"),
    ],
)
def test_a_list_that_is_not_a_recipe_is_refused(recipe: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        composed(f"stages={recipe}")


def test_the_default_recipe_is_that_of_the_kind_and_names_the_study_as_before() -> None:
    config = composed()
    assert (
        config.stages
        == list(STUDENTS.of(config.model).default_stages(config.model))
        == ["align", "caption", "instruct"]
    )
    assert study_name(config) == study_name(composed("stages=[align,caption,instruct]"))
    assert study_name(config) != study_name(composed(*CAPTION, TRAINED))


def test_a_part_that_cannot_be_trained_is_refused() -> None:
    config = composed("stage.caption.trains=[connector,vision]")
    with pytest.raises(ConfigError, match=r"vision of model=tiny is always frozen: it has connector, language_model"):
        check_run(config)


def test_a_model_without_stages_of_its_own_has_those_of_the_model_it_derives_from(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("defaults: [tiny, _self_]\nname: mine\n")
    (tmp_path / "model" / "lone.yaml").write_text(
        "defaults: [chat_univi_schema, _self_]\nname: lone\nlanguage_model: a\nvision_tower: b\n"
    )
    before = set(ConfigStore.instance().repo.get("stage", {}))
    inherit_stages([tmp_path, CONFIG_FOLDER])
    assert set(ConfigStore.instance().repo["stage"]) - before == {"mine"}

    def with_folder(*overrides: str) -> TrainConfig:
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            found = compose("train", [f"hydra.searchpath=[file://{tmp_path}]", *overrides])
        return typed(found, TrainConfig)

    mine = with_folder("model=mine", "stage.caption.epochs=3")
    assert (mine.model.name, mine.stage.caption.epochs) == ("mine", 3)
    assert replace(mine.stage.caption, epochs=4) == composed().stage.caption
    with pytest.raises(ConfigError, match=r"has the stage align, but model=lone has no settings of it"):
        with_folder("model=lone")
