"""Low-rank adapters: what they train, how they are merged, and that the next stage starts from the merged weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sg.core.errors import ConfigError
from sg.models.chat_univi.build import load_checkpoint
from sg.models.chat_univi.student import ChatUniViStudent
from sg.train.adapters import add_adapters, without_adapters
from sg.train.checks import check_machine, has_bitsandbytes, missing_library
from sg.train.config import LoraConfig, RecipeConfig, StageConfig, TrainerConfig
from sg.train.module import StageModule, set_trainable
from sg.train.stage import train_stage
from tests.train.builders import RandomClips, inputs, stage_job, tiny_model, tiny_student, trainer_config
from tests.train.member import Stopped, fail_after
from tests.train.test_stage import losses, train, weights

LORA: dict[str, Any] = {"peft": "lora", "lora": LoraConfig(rank=4, alpha=8, dropout=0.1, learning_rate=1e-2)}


def with_adapters(**settings: Any) -> ChatUniViStudent:
    student = tiny_student()
    model = student.module
    stage = StageConfig(name="caption", trains=["connector", "language_model"], **(LORA | settings))
    add_adapters(student, stage, seed=1)
    set_trainable(student, stage)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:  # they start at 0: as after some steps
                value.normal_(generator=generator)
    return student


def test_every_linear_layer_but_the_head_has_adapters_and_only_they_are_trained() -> None:
    model = with_adapters().module
    learning = [name for name, value in model.model.named_parameters() if value.requires_grad]
    assert len(learning) == 2 * 7 * 2  # layers, linear layers of each, A and B
    assert all(".lora_" in name for name in learning)
    assert not model.lm_head.weight.requires_grad


def test_merged_weights_are_the_base_and_the_scaled_product() -> None:
    student = with_adapters()
    factors = {name: value.clone() for name, value in student.module.model.named_parameters() if ".lora_" in name}
    merged, base = without_adapters(student, tiny_student).state_dict(), tiny_model().state_dict()
    assert merged.keys() == base.keys()
    for name, before in base.items():
        inner = name.removeprefix("model.").removesuffix(".weight")
        down = factors.get(f"{inner}.lora_A.default.weight")
        if down is None:
            assert torch.equal(merged[name], before), name
        else:
            product = 8 / 4 * factors[f"{inner}.lora_B.default.weight"] @ down
            torch.testing.assert_close(merged[name], before + product)


def test_a_merged_model_has_the_outputs_of_the_adapted_one() -> None:
    student = with_adapters(lora=LoraConfig(rank=4, alpha=8, dropout=0.0))
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        adapted = student.module(input_ids=ids).logits
        merged = without_adapters(student, tiny_student)(input_ids=ids).logits
    torch.testing.assert_close(adapted, merged, atol=1e-4, rtol=1e-4)


def test_adapters_under_autocast_take_the_inputs_of_their_layers() -> None:
    stage = StageConfig(name="caption", trains=["connector", "language_model"], **LORA)
    machine = TrainerConfig(precision="bf16-mixed")
    module = StageModule(ChatUniViStudent(tiny_model().to(torch.bfloat16)), stage, total_steps=2, machine=machine)
    seen: set[torch.dtype] = set()
    for name, part in module.named_modules():
        if name.endswith("lora_dropout.default"):
            part.register_forward_hook(lambda _, inputs, output: seen.add(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        module.network.model(input_ids=torch.arange(3, 40)[None])
    assert seen == {torch.bfloat16}
    assert {value.dtype for value in module.parameters() if value.requires_grad} == {torch.float32}


def test_a_stage_with_adapters_learns_and_the_next_one_starts_from_its_merged_weights(tmp_path: Path) -> None:
    first = stage_job(tmp_path / "caption", epochs=3, **LORA)
    train(first)
    curve, base, merged = losses(first.folder), tiny_model().state_dict(), weights(first.folder)
    assert sum(curve[-5:]) < 0.98 * sum(curve[:5])
    assert merged.keys() == base.keys()
    changed = {key for key in base if not torch.equal(base[key], merged[key])}
    assert "mm_projector.weight" in changed
    assert "model.layers.0.self_attn.q_proj.weight" in changed
    assert not {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"} & changed

    second = stage_job(tmp_path / "instruct", name="instruct", trains=["connector"], count=12)
    train_stage(
        second,
        lambda: ChatUniViStudent(load_checkpoint(str(first.folder))),
        inputs(),
        RandomClips(),
        trainer_config(),
        print,
    )
    after = weights(second.folder)
    assert {key for key in merged if not torch.equal(after[key], merged[key])} == {
        "mm_projector.weight", "mm_projector.bias",
    }  # fmt: skip


def test_an_interrupted_stage_with_adapters_resumes_with_the_same_dropout(tmp_path: Path) -> None:
    train(stage_job(tmp_path / "calm", **LORA), packed=True)
    fail_after(7)
    try:
        with pytest.raises(Stopped):
            train(stage_job(tmp_path / "stopped", **LORA), packed=True)
    finally:
        fail_after(None)
    assert list((tmp_path / "stopped" / "resume").iterdir())
    train(stage_job(tmp_path / "stopped", **LORA), packed=True)
    assert losses(tmp_path / "stopped") == pytest.approx(losses(tmp_path / "calm"), abs=1e-6)
    calm, stopped = weights(tmp_path / "calm"), weights(tmp_path / "stopped")
    assert all(torch.equal(calm[key], stopped[key]) for key in calm)


def recipe(**settings: Any) -> RecipeConfig:
    stages = {"align": StageConfig(name="align"), "caption": StageConfig(name="caption", trains=["language_model"])}
    return RecipeConfig(**(stages | settings))


def test_one_key_sets_adapters_for_the_stages_that_train_the_language_model() -> None:
    chosen = recipe(peft="lora")
    assert (chosen.align.peft, chosen.caption.peft) == ("none", "lora")
    assert chosen.caption.trains_whole == []


def test_the_library_of_adapters_in_4_bits_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    missing = "bitsandbytes (stage.caption.peft=qlora: `pip install bitsandbytes`, or use stage.peft=lora)"
    assert missing_library(recipe(peft="qlora")) == missing
    assert missing_library(recipe(peft="lora")) == ""


def test_adapters_are_not_sharded() -> None:
    with pytest.raises(ConfigError, match="fsdp shards trained weights"):
        check_machine(recipe(peft="lora"), TrainerConfig(strategy="fsdp", devices=2))


@pytest.mark.skipif(not has_bitsandbytes(), reason="bitsandbytes is not installed")
def test_a_stage_over_weights_in_4_bits_merges_into_the_original_weights(tmp_path: Path) -> None:
    job = stage_job(tmp_path / "caption", count=12, **(LORA | {"peft": "qlora"}))
    train(job)
    base, merged = tiny_model().state_dict(), weights(job.folder)
    assert merged.keys() == base.keys()
    name = "model.layers.0.self_attn.q_proj.weight"
    assert 0 < float((merged[name] - base[name]).norm()) < 0.5 * float(base[name].norm())
    assert float(torch.linalg.matrix_rank(merged[name] - base[name], atol=1e-5)) <= 4
    assert not torch.equal(merged["mm_projector.weight"], base["mm_projector.weight"])
