"""Training the assets, at a size that takes seconds."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import CLIPVisionModel, LlamaForCausalLM

from sg.core.files import read_json
from sg.demo.asset_paths import ASSETS_FOLDER, TOKENIZER_PATH
from sg.demo.pretrain import video_models
from sg.demo.pretrain.__main__ import build_assets, main
from sg.demo.pretrain.language_model import LanguageModelRecipe, train_language_model
from sg.demo.pretrain.tower import TowerRecipe, train_tower


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_the_tokenizer_is_rebuilt_to_the_same_bytes(tmp_path: Path) -> None:
    build_assets(tmp_path, ["tokenizer"])
    assert (tmp_path / "language_model" / "tokenizer.model").read_bytes() == TOKENIZER_PATH.read_bytes()
    assert (tmp_path / "recipe.json").is_file()


def test_a_tower_learns_and_training_is_deterministic(tmp_path: Path) -> None:
    recipe = TowerRecipe(clips=12, steps=40, batch_size=32)
    accuracies = train_tower(tmp_path / "one", recipe)
    train_tower(tmp_path / "two", recipe)
    assert accuracies["background"] > 0.3
    first, second = (CLIPVisionModel.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_language_model_learns_and_training_is_deterministic(tmp_path: Path) -> None:
    recipe = LanguageModelRecipe(steps=24, drill_steps=4, bare_steps=12, easy_steps=18, batch_size=4)
    train_language_model(TOKENIZER_PATH, tmp_path / "one", recipe)
    scores = train_language_model(TOKENIZER_PATH, tmp_path / "two", recipe)
    assert set(scores) == {"text", "word", "letter"}
    first, second = (LlamaForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def weight_shapes(folder: Path) -> dict[str, list[int]]:
    with safe_open(folder / "model.safetensors", "pt") as weights:
        return {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118  # no mapping


def test_one_command_makes_a_video_model_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tiny_qwen3_vl"
    for part in ("vision_tower", "language_model"):
        shutil.copytree(ASSETS_FOLDER / part, tmp_path / part)
    small = TowerRecipe(clips=2, steps=2, batch_size=8, muon=False)
    monkeypatch.setattr(video_models, "QWEN3_TEXT", {**video_models.QWEN3_TEXT, "steps": 2})
    monkeypatch.setattr(video_models, "qwen3_vl_recipe", lambda: small)
    monkeypatch.setattr("sys.argv", ["pretrain", "--folder", str(tmp_path), "--only", name])
    main()
    notes = read_json(tmp_path / "recipe.json")
    assert weight_shapes(tmp_path / name) == weight_shapes(ASSETS_FOLDER / name)
    assert {path.name for path in (tmp_path / name).iterdir()} == {
        path.name for path in (ASSETS_FOLDER / name).iterdir()
    }
    assert notes[name]["recipe"]["steps"] == 2 and set(notes[name]["held_out_cell_accuracy"]) > {"colour", "shape"}


def test_no_config_of_the_assets_names_a_folder_of_the_machine_that_made_them() -> None:
    configs = sorted(ASSETS_FOLDER.rglob("config.json"))
    assert len(configs) > 4
    assert [str(path) for path in configs if "_name_or_path" in path.read_text(encoding="utf-8")] == []
