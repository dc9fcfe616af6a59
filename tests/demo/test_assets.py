"""The committed assets are small, can be loaded, and have the recorded accuracy."""

import random

import pytest
import torch
from sentencepiece import SentencePieceProcessor
from transformers import CLIPVisionModel, LlamaForCausalLM

from sg.core.files import read_json
from sg.demo.asset_paths import ASSETS_FOLDER, TOKENIZER_PATH, TOWER_FOLDER
from sg.demo.pretrain.language_model import LanguageModelRecipe, examine, language_model_config
from sg.demo.pretrain.texts import LETTER, WORD, LessonWriter
from sg.demo.pretrain.tokenizer import demo_words
from sg.demo.pretrain.tower import TowerRecipe, make_frames, normalise, patch_features, tower_config
from sg.demo.pretrain.video_models import QWEN3_TEXT, llava_onevision_recipe, qwen3_vl_recipe

TOKENIZER = SentencePieceProcessor(model_file=str(TOKENIZER_PATH))


SIZES = {"language_model": (64, 0.5), "language_model_narrow": (32, 0.4), "language_model_wide": (96, 0.5)}
"""Width of each language model, and a bound of its share of right words: recorded are 0.61, 0.50 and 0.61."""


VIDEO_MODELS = ("tiny_qwen3_vl", "tiny_llava_onevision")


def test_the_assets_are_small() -> None:
    sizes = {path: path.stat().st_size for path in ASSETS_FOLDER.rglob("*") if path.is_file()}
    of_video_models = sum(size for path, size in sizes.items() if path.parent.name in VIDEO_MODELS)
    assert of_video_models < 4_000_000
    assert sum(sizes.values()) - of_video_models < 4_100_000


def test_every_demo_word_is_one_token_and_special_ids_are_those_of_llama() -> None:
    for word in demo_words():
        assert TOKENIZER.encode(word) == [TOKENIZER.piece_to_id(f"\u2581{word}")], word
    assert (TOKENIZER.unk_id(), TOKENIZER.bos_id(), TOKENIZER.eos_id()) == (0, 1, 2)


def test_a_newline_is_a_byte_token_and_any_text_can_be_decoded() -> None:
    assert "<0x0A>" in TOKENIZER.encode("a\nb", out_type=str)
    for text in ("A café  walks\nB. 猫", "it's 5 > 3"):
        assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_the_recorded_recipes_are_those_of_the_code() -> None:
    notes = read_json(ASSETS_FOLDER / "recipe.json")
    assert TowerRecipe(**notes["vision_tower"]["recipe"]) == TowerRecipe()
    for name, (width, _) in SIZES.items():
        recipe = notes[name]["recipe"]
        sizes = tuple((turns, drills) for turns, drills in recipe.pop("drill_sizes"))
        dtype = "float32" if width == 64 else "float16"
        assert LanguageModelRecipe(**recipe, drill_sizes=sizes) == LanguageModelRecipe(width=width, dtype=dtype)


@pytest.mark.parametrize("name", SIZES)
def test_the_language_models_know_letters_and_words(name: str) -> None:
    width, words = SIZES[name]
    model = LlamaForCausalLM.from_pretrained(ASSETS_FOLDER / name, dtype=torch.float32)
    written = {"dtype": None, "architectures": None, "_name_or_path": ""}
    expected = language_model_config(TOKENIZER.get_piece_size(), width)
    assert model.config.to_dict() | written == expected.to_dict() | written
    assert (ASSETS_FOLDER / name / "tokenizer.model").read_bytes() == TOKENIZER_PATH.read_bytes()
    scores = examine(model, LessonWriter(TOKENIZER, random.Random(99)), batches=1)
    assert scores["letter"] > 0.98
    # 256 words: the standard error is 0.03.
    assert scores["word"] > words


def test_the_features_of_the_tower_have_zero_mean_and_unit_variance() -> None:
    tower = CLIPVisionModel.from_pretrained(TOWER_FOLDER)
    assert tower.config.num_hidden_layers == tower_config().num_hidden_layers
    frames, labels = make_frames(seed=77, clips=4)
    with torch.no_grad():
        pixels = normalise(frames)
        features = patch_features(tower, pixels)
        selected = tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    assert labels.shape == (64, 16, 7)
    torch.testing.assert_close(features, selected)
    assert abs(features.mean().item()) < 0.1
    assert abs(features.pow(2).mean().sqrt().item() - 1) < 0.1


def test_a_lesson_has_the_token_ids_of_the_model_s_encoder() -> None:
    from sg.models.chat_univi.text.conversation import DialogEncoder

    encoder = DialogEncoder(TOKENIZER_PATH, system_prompt="")
    lesson = LessonWriter(TOKENIZER, random.Random(3)).drill(turns=3)
    text = TOKENIZER.decode([piece for piece in lesson.ids if piece > 2])
    turns = [turn.strip() for turn in text.replace("USER:", "|ASSISTANT:").split("|ASSISTANT:") if turn.strip()]
    questions = [turn.split(" ASSISTANT: ") for turn in turns]
    conversations = [
        {"from": speaker, "value": value}
        for question, answer in questions
        for speaker, value in (("human", question), ("gpt", answer))
    ]
    encoded = encoder.encode_dialog(conversations)
    assert encoded.input_ids == lesson.ids[: len(encoded.input_ids)]
    supervised = [label for label in encoded.labels if label != -100 and label != 2]
    scored = [piece for piece, role in zip(lesson.ids, lesson.roles, strict=True) if role == LETTER]
    assert supervised[1::2] == scored and WORD not in lesson.roles


@pytest.mark.parametrize("name", VIDEO_MODELS)
def test_a_video_model_has_the_ids_of_the_lessons_and_its_recorded_recipe(name: str) -> None:
    from sg.core.files import read_json
    from sg.models.hf.wording import ASSISTANT, USER, Message
    from sg.models.students.hf import HfConfig, HfKind

    notes = read_json(ASSETS_FOLDER / "recipe.json")[name]
    recipe = {"tiny_qwen3_vl": qwen3_vl_recipe, "tiny_llava_onevision": llava_onevision_recipe}[name]()
    assert TowerRecipe(**notes["recipe"]) == recipe
    if name == "tiny_qwen3_vl":
        assert notes["language_model"]["recipe"].items() >= QWEN3_TEXT.items()
    assert min(notes["held_out_cell_accuracy"].values()) > 0.75

    wording = HfKind().processor(HfConfig(checkpoint=str(ASSETS_FOLDER / name))).wording
    lesson = LessonWriter(TOKENIZER, random.Random(3)).drill(turns=3)
    text = TOKENIZER.decode([piece for piece in lesson.ids if piece > 2])
    turns = [turn.strip() for turn in text.replace("USER:", "|").replace("ASSISTANT:", "|").split("|") if turn.strip()]
    messages = [Message(USER if at % 2 == 0 else ASSISTANT, turn) for at, turn in enumerate(turns)]
    worded = wording.encode(messages)
    assert worded.input_ids == lesson.ids
    supervised = [label for label in worded.labels if label not in (-100, 2)]
    assert supervised[1::2] == [piece for piece, role in zip(lesson.ids, lesson.roles, strict=True) if role == LETTER]
