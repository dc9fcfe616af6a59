from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import DataError, MissingInputError, ModelError
from sg.models.chat_univi.text.conversation import DialogEncoder
from sg.models.chat_univi.text.template import SIMPLE, alternating_messages, rewrite_placeholders, vicuna_v1
from tests.models.chat_univi.goldens import GOLDENS, read_json

TOKENIZER = GOLDENS / "text" / "tokenizer" / "tokenizer.model"
DIALOGS = {dialog["name"]: dialog for dialog in read_json("text/dialogs.json")}
PROMPTS = {prompt["name"]: prompt for prompt in read_json("text/prompts.json")}


def frame_count(dialog: dict[str, Any]) -> int:
    return 0 if dialog["kind"] == "text" else max(dialog["placeholders"], 1)


def test_placeholders_are_rewritten_as_in_the_reference() -> None:
    for dialog in DIALOGS.values():
        if frame_count(dialog):
            ours = [rewrite_placeholders(turn["value"], frame_count(dialog)) for turn in dialog["conversations"]]
            assert ours == [turn["value"] for turn in dialog["rewritten"]], dialog["name"]


@pytest.mark.parametrize("name", DIALOGS)
def test_prompt_ids_and_labels_equal_the_reference(name: str) -> None:
    dialog = DIALOGS[name]
    assert vicuna_v1().text(alternating_messages(dialog["rewritten"])) == dialog["prompt"]
    encoder = DialogEncoder(TOKENIZER, max_length=dialog["model_max_length"])
    encoded = encoder.encode_dialog(dialog["conversations"], frame_count(dialog))
    assert encoded.input_ids == dialog["input_ids"]
    if dialog["kind"] != "video_missing":  # a clip without a file is skipped here, masked in the reference
        assert encoded.labels == dialog["labels"]
        assert (encoded.problem is not None) == bool(dialog["warning"])


@pytest.mark.parametrize("name", PROMPTS)
def test_inference_prompts_equal_the_reference(name: str) -> None:
    prompt = PROMPTS[name]
    template = vicuna_v1() if prompt["template"] == "v1" else SIMPLE
    encoder = DialogEncoder(TOKENIZER, template=template)
    messages = [text for _, text in prompt["messages"]]
    assert template.text(messages) == prompt["prompt"]
    assert encoder.encode_messages(messages) == prompt["input_ids"]


def test_a_prompt_puts_the_frames_in_front_of_the_question() -> None:
    encoder = DialogEncoder(TOKENIZER)
    wanted = PROMPTS["v1_video_5"]["input_ids"]
    question = "Select the best answer from the options A, B, C or D."
    assert encoder.encode_prompt(question, 5) == wanted
    assert encoder.encode_prompt(f"<video>\n{question}", 5) == wanted
    assert encoder.encode_prompt(question) == PROMPTS["v1_text"]["input_ids"]


def test_an_empty_system_prompt_adds_no_space() -> None:
    assert vicuna_v1("").text(["Hi", "Hello", "Bye", None]) == "USER: Hi ASSISTANT: Hello</s>USER: Bye ASSISTANT:"


def test_decoding_stops_at_the_end_and_drops_special_tokens() -> None:
    encoder = DialogEncoder(TOKENIZER)
    ids = encoder.encode_text("The dog jumps over the wooden table.")
    assert encoder.decode([1, *ids, 2, 0, *ids]) == "The dog jumps over the wooden table."
    assert encoder.decode([2]) == ""


def test_problem_explains_why_a_dialog_is_invalid() -> None:
    encoder = DialogEncoder(TOKENIZER)
    reasons = {name: encoder.encode_dialog(DIALOGS[name]["conversations"], 1).problem for name in DIALOGS}
    assert reasons["answer_contains_unk"] == "holds the literal <unk>"
    assert reasons["empty_answer"] == "has an empty message"
    assert "ends on a turn of the human" in str(reasons["ends_on_human"])
    assert "name of a role" in str(reasons["answer_contains_role"])


def test_two_turns_of_the_same_side_are_refused() -> None:
    turns = [{"from": "human", "value": "a"}, {"from": "human", "value": "b"}]
    with pytest.raises(DataError, match="message 2 of a conversation comes from 'human', expected 'gpt'"):
        DialogEncoder(TOKENIZER).encode_dialog(turns)


def test_a_missing_or_broken_tokenizer_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="There is no tokenizer"):
        DialogEncoder(tmp_path / "tokenizer.model")
    (tmp_path / "tokenizer.model").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="not a SentencePiece model"):
        DialogEncoder(tmp_path / "tokenizer.model")
