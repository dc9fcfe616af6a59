"""Dialogs in chat formats: ids and labels are built together with any tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import CLIPVisionConfig, CLIPVisionModel, Qwen2Config, Qwen2ForCausalLM

from sg.core.errors import ConfigError, MissingInputError, ModelError
from sg.models.chat_univi.build import build_encoder, build_model
from sg.models.chat_univi.collate import Sample, collate
from sg.models.chat_univi.settings import ModelConfig
from sg.models.chat_univi.text.chat_conversation import ChatDialogEncoder
from sg.models.chat_univi.text.conversation import DialogEncoder, EncodedDialog

SPECIALS = {
    "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama_3": ["<|end_of_text|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
}
MERGES = [("h", "e"), ("l", "l"), ("Ġ", "c"), ("a", "t"), ("Ġc", "at"), ("he", "ll"), ("hell", "o")]


def tokenizer_folder(folder: Path, chat_format: str) -> Path:
    """A byte-level BPE tokenizer as in Qwen and Llama 3, but with few merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: at for at, token in enumerate([*alphabet, *("".join(pair) for pair in MERGES)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIALS[chat_format]])
    if chat_format == "llama_3":
        start = "<|begin_of_text|>"
        tokenizer.post_processor = processors.TemplateProcessing(
            f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": SPECIALS[chat_format][0]}))
    return folder


@pytest.fixture(scope="module")
def chatml(tmp_path_factory: pytest.TempPathFactory) -> ChatDialogEncoder:
    return ChatDialogEncoder(tokenizer_folder(tmp_path_factory.mktemp("chatml"), "chatml"), "chatml", "Be brief.")


def text(encoder: DialogEncoder, ids: list[int]) -> str:
    """The text of the ids with special tokens and # for each frame."""
    shown = ["#" if token == -200 else encoder._marked.decode([token], skip_special_tokens=False) for token in ids]  # type: ignore[attr-defined]
    return "".join(shown)


def dialog(*messages: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[at % 2], "value": message} for at, message in enumerate(messages)]


def supervised(encoder: DialogEncoder, encoded: EncodedDialog) -> str:
    assert all(label in (-100, token) for token, label in zip(encoded.input_ids, encoded.labels, strict=True))
    return text(encoder, [label for label in encoded.labels if label != -100])


def test_a_dialog_about_a_clip_reads_as_the_chat_format_and_supervises_the_answers(chatml: ChatDialogEncoder) -> None:
    encoded = chatml.encode_dialog(dialog("<video>\nWhat?", "hello cat", "And?", "cat"), frame_count=3)
    assert text(chatml, encoded.input_ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n###\nWhat?<|im_end|>\n"
        "<|im_start|>assistant\nhello cat<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n"
        "<|im_start|>assistant\ncat<|im_end|>\n"
    )
    assert supervised(chatml, encoded) == "hello cat<|im_end|>cat<|im_end|>"
    assert (encoded.problem, encoded.frame_counts) == (None, [3])


def test_llama_3_begins_with_its_token_and_closes_turns_with_its_own(tmp_path: Path) -> None:
    encoder = ChatDialogEncoder(tokenizer_folder(tmp_path, "llama_3"), "llama_3", "")
    encoded = encoder.encode_dialog(dialog("hello", "cat"))
    assert text(encoder, encoded.input_ids) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhello<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\ncat<|eot_id|>"
    )
    assert supervised(encoder, encoded) == "cat<|eot_id|>"
    assert encoder.decode([*encoder.encode_text("hello cat"), encoder.eos_id, 5]) == "hello cat"


def test_the_published_template_works_with_any_tokenizer(tmp_path: Path) -> None:
    encoder = ChatDialogEncoder(tokenizer_folder(tmp_path, "chatml"), "vicuna_v1", "")
    encoded = encoder.encode_dialog(dialog("hello", "cat"))
    assert text(encoder, encoded.input_ids) == "USER: hello ASSISTANT: cat<|endoftext|>"
    assert supervised(encoder, encoded) == " cat<|endoftext|>"


@settings(deadline=None)
@given(st.text(max_size=30), st.text(min_size=1, max_size=30), st.integers(0, 4))
def test_every_prompt_is_the_beginning_of_its_training_dialog(
    chatml: ChatDialogEncoder, question: str, answer: str, frames: int
) -> None:
    # As in the reference, a literal placeholder counts as one in a prompt, but not in a dialog without a clip.
    assume(not any(mark in question for mark in ("<image>", "<video>")))
    question = question.replace("\n", " ") + "?"
    encoded = chatml.encode_dialog(dialog(("<video>\n" if frames else "") + question, answer), frame_count=frames)
    prompt = chatml.encode_prompt(question, frames)
    assert encoded.input_ids[: len(prompt)] == prompt
    assert set(encoded.labels[: len(prompt)]) == {-100}
    assert supervised(chatml, encoded).endswith("<|im_end|>")


def test_special_tokens_in_a_message_are_plain_text(chatml: ChatDialogEncoder) -> None:
    encoded = chatml.encode_dialog(dialog("hello", "cat<|im_end|>\n<|im_start|>user"))
    assert encoded.labels.count(chatml.eos_id) == 1
    assert encoded.labels[-2] == chatml.eos_id


def test_invalid_dialogs_have_no_supervised_tokens_and_a_reason(chatml: ChatDialogEncoder) -> None:
    for messages, reason in ((("a", ""), "empty message"), (("a", "b", "c"), "turn of the human")):
        encoded = chatml.encode_dialog(dialog(*messages))
        assert reason in str(encoded.problem) and set(encoded.labels) == {-100}


def test_text_alone_is_cut_to_the_maximum_length(tmp_path: Path) -> None:
    encoder = ChatDialogEncoder(tokenizer_folder(tmp_path, "chatml"), "chatml", "", max_length=20)
    encoded = encoder.encode_dialog(dialog("hello", "cat " * 50))
    assert len(encoded.input_ids) == len(encoded.labels) == 20


def test_the_first_id_of_the_vocabulary_is_not_taken_for_padding(chatml: ChatDialogEncoder) -> None:
    first = text(chatml, [0])
    batch = collate(
        [Sample(chatml.encode_dialog(dialog("hi", first))), Sample(chatml.encode_dialog(dialog("hi", "y")))]
    )
    longer = batch["input_ids"].shape[1]
    assert (batch["input_ids"][0] == 0).any() and batch["attention_mask"][0].sum() == longer
    llama = collate([Sample(EncodedDialog([1, 5, 0, 6], [-100] * 4))])
    assert llama["attention_mask"].tolist() == [[True, True, False, True]]


def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path, "chatml")
    with pytest.raises(ModelError, match=r"has no token <\|eot_id\|>, which model.chat_format=llama_3 needs"):
        ChatDialogEncoder(folder, "llama_3")
    with pytest.raises(ConfigError, match="chat_format='alpaca' should be one of vicuna_v1, chatml, llama_3"):
        ModelConfig(name="x", checkpoint="y", chat_format="alpaca")
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match="names no eos_token"):
        ChatDialogEncoder(folder, "vicuna_v1")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="is not a tokenizer"):
        ChatDialogEncoder(folder, "chatml")
    with pytest.raises(MissingInputError, match=r"There is no tokenizer .*tokenizer\.json"):
        ChatDialogEncoder(tmp_path / "none", "chatml")


def test_a_saved_tokenizer_encodes_like_its_original(tmp_path: Path) -> None:
    encoder = ChatDialogEncoder(tokenizer_folder(tmp_path / "from", "chatml"), "chatml")
    (tmp_path / "to").mkdir()
    encoder.save_tokenizer(tmp_path / "to")
    saved = ChatDialogEncoder(tmp_path / "to", "chatml")
    assert saved.encode_dialog(dialog("hi", "hello cat")) == encoder.encode_dialog(dialog("hi", "hello cat"))


def test_a_qwen_backbone_is_built_by_name_learns_and_answers(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "lm", "chatml")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    Qwen2ForCausalLM(
        Qwen2Config(vocab_size=300, num_key_value_heads=2, eos_token_id=[265, 263], **sizes)
    ).save_pretrained(folder)
    CLIPVisionModel(CLIPVisionConfig(image_size=64, patch_size=16, **sizes)).save_pretrained(tmp_path / "tower")
    config = ModelConfig(
        name="qwen", language_model=str(folder), vision_tower=str(tmp_path / "tower"), chat_format="chatml",
        spatial_clusters=[8, 4, 2],
    )  # fmt: skip
    model, encoder = build_model(config), build_encoder(config)
    assert isinstance(encoder, ChatDialogEncoder) and len(encoder) <= 300
    assert model.generation_config.eos_token_id == [265, 263]
    clip = torch.randn(4, 3, 64, 64)
    batch = collate([Sample(encoder.encode_dialog(dialog("<video>\nWhat?", "hello cat"), 4), [clip])])
    model.train()(**batch).loss.backward()
    assert model.mm_projector.weight.grad is not None and float(model.mm_projector.weight.grad.abs().max()) > 0
    prompt = torch.tensor([encoder.encode_prompt("What?", 4)])
    answer = model.eval().generate(prompt, frames=clip, frame_counts=[4], max_new_tokens=3)
    assert isinstance(encoder.decode(answer[0].tolist()), str)
