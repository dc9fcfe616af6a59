"""Paths of the demo's committed assets: the pretrained vision tower, the language model and its tokenizer."""

from pathlib import Path

ASSETS_FOLDER = Path(__file__).parent / "assets"
TOWER_FOLDER = ASSETS_FOLDER / "vision_tower"
LANGUAGE_MODEL_FOLDER = ASSETS_FOLDER / "language_model"
TOKENIZER_PATH = LANGUAGE_MODEL_FOLDER / "tokenizer.model"
