"""The study on models of published families: the demo's tiny ones, and plans for real ones from their configs alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from sg.core.errors import ModelError, SgError
from sg.core.files import read_json
from sg.core.identity import identity
from sg.models.hf.tower import TowerOutput
from sg.models.student import PARTS
from sg.models.students.hf import HfConfig
from sg.study.inputs import missing_on_machine
from sg.study.models import StudyModels
from sg.study.planning.plan import planned_work
from sg.train.config import TrainerConfig
from sg.train.data.media import ClipFiles, Media
from tests.models.hf.families import FAMILIES
from tests.repository.test_configs import composed
from tests.study.commands import SMALL_STUDY, overrides, run, study_folder

STUDENT = "experiment=scaling_student"


@pytest.mark.parametrize("model", ["tiny_qwen3_vl", "tiny_llava_onevision"])
def test_a_sweep_of_a_tiny_student_reports_both_effects_with_intervals(model: str, tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "a red circle"}, {"from": "gpt", "value": "is red"}]
    (tmp_path / "own.json").write_text(json.dumps([{"id": name, "conversations": turns} for name in "abc"]))
    learnt = ["stage.caption.trains=[connector,language_model]"] if model == "tiny_qwen3_vl" else []
    sweep = ["train.py", "-m", f"model={model}", "data.scale=50k", "controls=[]", "logger=csv", "launcher=local"]
    sweep += [*learnt, f"forgetting.dialogs={tmp_path / 'own.json'}", "forgetting.samples=2"]
    done = run([*sweep, *SMALL_STUDY, *overrides(tmp_path)])
    assert done.returncode == 0, done.stderr
    study = study_folder(tmp_path)
    assert {path.name for path in study.glob("*-seed0")} == {"0-seed0", "50k-seed0"}
    assert set(read_json(study / "50k-seed0/result.json")["stages"]) == {"caption", "instruct"}
    assert set(read_json(study / "0-seed0/result.json")["stages"]) == {"instruct"}
    forgetting = [read_json(study / name / "result.json")["forgetting"] for name in ("0-seed0", "50k-seed0")]
    assert [one["captions"] for one in forgetting] == [2, 2]
    assert "Mean loss on dialogs of the model's own kind" in (study / "report" / "report.md").read_text()
    contrasts = (study / "report" / "tables.csv").read_text()
    for setting in ("without_subtitles", "with_subtitles"):
        assert setting in contrasts
    assert "points without" in (study / "report" / "report.md").read_text()


def test_a_tower_that_cannot_be_separated_from_a_connector_that_learns_is_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: TowerOutput, *args: object) -> None:
        raise ModelError("its layers lie behind the connector.")

    config = HfConfig(name="tiny", checkpoint=str(FAMILIES["internvl"].save(tmp_path / "model")))
    models = {parts: StudyModels(config, TrainerConfig(), tmp_path, trained=(parts,)) for parts in PARTS}
    monkeypatch.setattr(TowerOutput, "__init__", refuse)
    files = ClipFiles(tmp_path, identity("visual_tokens", settings={}, version=1))
    models["connector"].open_clips(files, Media({}, {}, {}), [])
    assert models["connector"].features is None and files.tokens is None
    assert "lie behind the connector. Every clip passes it in every epoch." in caplog.text
    assert models["language_model"].features is not None and models["vision"].features is None


def test_a_published_student_is_planned_without_its_weights() -> None:
    configs = [composed(STUDENT, f"data.scale={scale}") for scale in ("0", "50k", "530k")]
    assert [stage.name for stage in configs[0].stage.stages] == ["caption"]
    rows, costs = planned_work(configs)
    assert [(row["run"], row["steps"]) for row in rows] == [("50k-seed0", 391), ("530k-seed0", 4141)]
    totals = costs.totals(configs)
    assert totals is not None and totals["visual_tokens"] is None
    assert totals["disk_bytes"] < 0.2e12
    cached = composed(STUDENT, "trainer.visual_token_cache=true")
    tokens = planned_work([cached])[1].totals([cached])
    assert tokens is not None and tokens["visual_tokens"]["bytes"] == pytest.approx(43e12, rel=0.05)


def test_a_model_of_the_command_line_replaces_that_of_the_experiment() -> None:
    config = composed(STUDENT, "model=qwen3_vl_8b", "stage.caption.peft=lora")
    assert (config.model.name, config.name) == ("qwen3_vl_8b", "scaling_student_qwen3_vl_8b")
    assert config.stage.caption.has_adapters and not config.trainer.visual_token_cache


def text_only(folder: Path) -> str:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, **sizes)).save_pretrained(folder)
    return "is a llama model, which takes text only"


def without_video(folder: Path) -> str:
    import transformers

    family = FAMILIES["llava_onevision"]
    family.save(folder)
    for file in ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"):
        (folder / file).unlink(missing_ok=True)
    images = transformers.CLIPImageProcessor(size={"height": 32, "width": 32})
    transformers.LlavaProcessor(images, family.tokenizer(), patch_size=8).save_pretrained(folder)
    return r"has a processor \(LlavaProcessor\) that takes no video"


@pytest.mark.parametrize("make", [text_only, without_video])
def test_a_plan_refuses_a_model_that_is_no_video_language_model(make, tmp_path: Path) -> None:
    sentence = make(tmp_path)
    config = composed(STUDENT, "model=hf", f"model.checkpoint={tmp_path}")
    with pytest.raises(SgError, match=sentence) as caught:
        planned_work([config])
    assert "\n" not in str(caught.value)


def test_a_plan_names_a_missing_shard_and_a_wrong_folder(tmp_path: Path) -> None:
    model, processor = FAMILIES["qwen3_vl"].build()
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    processor.save_pretrained(tmp_path)
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(SgError, match=rf"lacks 1 of .* {shard.name}"):
        planned_work([composed(STUDENT, "model=hf", f"model.checkpoint={tmp_path}")])
    wrong = composed(STUDENT, "model=hf", "model.checkpoint=/no/such/folder")
    assert any("/no/such/folder is not a folder" in line for line in missing_on_machine(wrong, on_cluster=True))
