"""Trains the demo's assets from scratch, in about 30 CPU minutes:

    python -m sg.demo.pretrain [--folder FOLDER] [--only tokenizer vision_tower language_model ...]

The same machine gives the same weights: seeds are fixed and one thread computes. Each asset appears whole or not at
all; after an interruption, build the missing ones with `--only`.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sg.core.files import atomic_dir, atomic_path, read_json, write_record
from sg.demo.asset_paths import ASSETS_FOLDER

TOKENIZER_FILE = "tokenizer.model"
RECIPE_FILE = "recipe.json"


def build_tokenizer(folder: Path) -> dict[str, Any]:
    """Train the tokenizer into `folder`."""
    from sg.demo.pretrain.tokenizer import VOCABULARY_SIZE, train_tokenizer

    with atomic_path(folder / "language_model" / TOKENIZER_FILE) as temporary:
        train_tokenizer(temporary)
    return {"vocabulary_size": VOCABULARY_SIZE}


def build_tower(folder: Path) -> dict[str, Any]:
    """Train the vision tower into `folder`."""
    from sg.demo.pretrain.tower import TowerRecipe, train_tower

    recipe = TowerRecipe()
    with atomic_dir(folder / "vision_tower") as temporary:
        accuracies = train_tower(temporary, recipe)
    return {"recipe": asdict(recipe), "held_out_patch_accuracy": _rounded(accuracies)}


def build_language_model(folder: Path, name: str = "language_model", **changes: Any) -> dict[str, Any]:
    """Train a language model into the folder `name`, with the existing tokenizer; `changes` are of its recipe."""
    from sg.demo.pretrain.language_model import LanguageModelRecipe, train_language_model

    recipe = LanguageModelRecipe(**changes)
    tokenizer = (folder / "language_model" / TOKENIZER_FILE).read_bytes()
    with atomic_dir(folder / name) as temporary:
        (temporary / TOKENIZER_FILE).write_bytes(tokenizer)
        accuracies = train_language_model(temporary / TOKENIZER_FILE, temporary, recipe)
    return {"recipe": asdict(recipe), "held_out_accuracy": _rounded(accuracies)}


def build_qwen3_vl(folder: Path) -> dict[str, Any]:
    """Make the Qwen3-VL: its language model and its tower begin with the weights of the existing ones."""
    import transformers

    from sg.demo.pretrain import video_models
    from sg.demo.pretrain.language_model import LanguageModelRecipe, train_language_model

    recipe, text = video_models.qwen3_vl_recipe(), LanguageModelRecipe(**video_models.QWEN3_TEXT)
    tower = transformers.CLIPVisionModel.from_pretrained(folder / "vision_tower")
    tokenizer = folder / "language_model" / TOKENIZER_FILE
    with atomic_dir(folder / "tiny_qwen3_vl") as temporary, TemporaryDirectory() as part:
        words = train_language_model(tokenizer, Path(part), text, folder / "language_model")
        model = transformers.Qwen3ForCausalLM.from_pretrained(part)
        cells = video_models.build_qwen3_vl(temporary, tokenizer, tower, model, recipe)
    return {
        "recipe": asdict(recipe), "held_out_cell_accuracy": _rounded(cells),
        "language_model": {"recipe": asdict(text), "held_out_accuracy": _rounded(words)},
    }  # fmt: skip


def build_llava_onevision(folder: Path) -> dict[str, Any]:
    """Make the LLaVA-OneVision of the existing tower and language model."""
    import transformers

    from sg.demo.pretrain import video_models

    recipe, tokenizer = video_models.llava_onevision_recipe(), folder / "language_model" / TOKENIZER_FILE
    tower = transformers.CLIPVisionModel.from_pretrained(folder / "vision_tower")
    model = transformers.LlamaForCausalLM.from_pretrained(folder / "language_model")
    with atomic_dir(folder / "tiny_llava_onevision") as temporary:
        cells = video_models.build_llava_onevision(temporary, tokenizer, tower, model, recipe)
    return {"recipe": asdict(recipe), "held_out_cell_accuracy": _rounded(cells)}


BUILDERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "tokenizer": build_tokenizer,
    "vision_tower": build_tower,
    "language_model": build_language_model,
    **{
        name: partial(build_language_model, name=name, width=width, dtype="float16")
        for name, width in (("language_model_narrow", 32), ("language_model_wide", 96))
    },
    "tiny_qwen3_vl": build_qwen3_vl,
    "tiny_llava_onevision": build_llava_onevision,
}


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(number, 4) for name, number in numbers.items()}


def build_assets(folder: Path, names: Sequence[str]) -> None:
    """Build the named assets in order, and record settings, accuracy and CPU time of each in `recipe.json`."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers_logging: Any = transformers.utils.logging
    transformers_logging.disable_progress_bar()
    notes = read_json(folder / RECIPE_FILE) if (folder / RECIPE_FILE).is_file() else {}
    for name in (name for name in BUILDERS if name in names):
        started = time.process_time()
        made = BUILDERS[name](folder)
        notes[name] = {**made, "cpu_seconds": round(time.process_time() - started), "torch": torch.__version__}
        write_record(folder / RECIPE_FILE, notes)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(prog="python -m sg.demo.pretrain", description="Rebuild the demo's assets.")
    parser.add_argument("--folder", type=Path, default=ASSETS_FOLDER, help="output folder; default: the package")
    parser.add_argument("--only", nargs="+", choices=BUILDERS, default=list(BUILDERS), help="build these assets only")
    arguments = parser.parse_args()
    build_assets(arguments.folder, arguments.only)


if __name__ == "__main__":
    main()
