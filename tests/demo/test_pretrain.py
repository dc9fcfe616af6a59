"""Training the assets, at a size that takes seconds."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPVisionModel, LlamaForCausalLM

from sg.demo.asset_paths import TOKENIZER_PATH
from sg.demo.pretrain.__main__ import build_assets
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
