"""Trains the demo's assets from scratch, in about 20 CPU minutes:

    python -m sg.demo.pretrain [--folder FOLDER] [--only tokenizer vision_tower language_model ...]

The same machine gives the same weights: seeds are fixed and one thread computes. Each asset appears whole or not at
all; after an interruption, build the missing ones with `--only`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
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


BUILDERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "tokenizer": build_tokenizer,
    "vision_tower": build_tower,
    "language_model": build_language_model,
    **{
        name: partial(build_language_model, name=name, width=width, dtype="float16")
        for name, width in (("language_model_narrow", 32),)
    },
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
