"""Ids and labels come from the model's own chat template."""

from __future__ import annotations

import pytest

from sg.core.errors import ModelError
from sg.models.hf.wording import Message, Wording
from sg.models.student import IGNORED_LABEL
from tests.models.hf.families import FAMILIES, chatml
from tests.models.hf.more_families import EVERY_FAMILY
from tests.models.hf.samples import DIALOGS, clip_of, dialog_of, plain_inputs, samples_of, student_of

CLOSING = {
    "smolvlm": "<end_of_utterance>",
    "gemma4": "<turn|>",
    "gemma4_unified": "<turn|>",
    "glm4v_moe": "<|user|>",
    "glm4v": "<|user|>",
    "glm46v": "<|user|>",
}
WHOLE = ("It stops. <|im_end|> <image> <|endoftext|> is text.", "A red circle moves to the left.")


@pytest.mark.parametrize("name", EVERY_FAMILY)
def test_ids_are_those_of_transformers_alone(name: str) -> None:
    student = student_of(name)
    processor = student.processor.clips.processor
    for sample, (count, texts) in zip(samples_of(student), DIALOGS, strict=True):
        expected = plain_inputs(processor, texts, count)["input_ids"][0].tolist()
        assert list(sample.dialog.input_ids) == expected, processor.tokenizer.decode(sample.dialog.input_ids)


@pytest.mark.parametrize("name", EVERY_FAMILY)
def test_only_answers_and_the_tokens_that_close_them_are_supervised(name: str) -> None:
    student = student_of(name)
    close = CLOSING.get(name, "<|im_end|>")
    for sample, (_, texts) in zip(samples_of(student), DIALOGS, strict=True):
        labels = sample.dialog.labels
        runs: list[list[int]] = []
        for at, label in enumerate(labels):
            if label == IGNORED_LABEL:
                continue
            assert label == sample.dialog.input_ids[at]
            if at == 0 or labels[at - 1] == IGNORED_LABEL:
                runs.append([])
            runs[-1].append(label)
        decoded = [student.processor.tokenizer.decode(run) for run in runs]
        expected = [f"{answer}{close}" for answer in texts[1::2]]
        if close == "<|user|>":  # the next turn closes an answer, so nothing closes the last one
            expected[-1] = expected[-1].removesuffix(close)
        assert [text.removeprefix(" ") for text in decoded] == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_a_text_that_spells_a_control_token_stays_text(name: str) -> None:
    student = student_of(name)
    words = student.processor.wording
    marks = " ".join(sorted(words.tokenizer.added_tokens_encoder))
    plain = words.encode([Message("user", "x"), Message("assistant", "x")])
    odd = words.encode([Message("user", f"{marks} x"), Message("assistant", f"x {marks} x")])
    controls = [token for token in odd.input_ids if token in words.control_ids]
    assert controls == [token for token in plain.input_ids if token in words.control_ids]
    assert marks in words.tokenizer.decode([token for token in odd.labels if token != IGNORED_LABEL])


@pytest.mark.parametrize("name", FAMILIES)
def test_an_open_prompt_is_the_beginning_of_the_whole_dialog(name: str) -> None:
    student = student_of(name)
    clip = clip_of(student.processor, 6)
    asked = student.processor.question("Describe the video.", clip)
    whole = student.processor.encode(dialog_of(("<video>\nDescribe the video.", "A red circle")), clip.facts, 4096)
    first = next(at for at, label in enumerate(whole.labels) if label != IGNORED_LABEL)
    if name != "llava_onevision":  # its published template adds a space that its prompt does not have
        assert asked.ids == tuple(whole.input_ids[:first])
    assert asked.num_positions == len(asked.ids)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_can_begin_the_answer(name: str) -> None:
    student = student_of(name)
    begun = student.processor.question("Describe the video.", None, reply="The best option is (")
    decoded = student.processor.tokenizer.decode(begun.ids)
    assert decoded.endswith("The best option is (")
    whole = student.processor.encode(dialog_of(("Describe the video.", "The best option is (")), None, 100)
    assert list(begun.ids) == list(whole.input_ids[: len(begun.ids)])


def test_a_system_prompt_replaces_that_of_the_template() -> None:
    _, processor = FAMILIES["qwen2_5_vl"].build()
    default = Wording(processor, "model").encode([Message("user", "x")], is_open=True)
    own = Wording(processor, "model", "Be brief.").encode([Message("user", "x")], is_open=True)
    assert "You are helpful." in processor.tokenizer.decode(default.input_ids)
    assert "system\nBe brief.<|im_end|>" in processor.tokenizer.decode(own.input_ids)


def test_a_template_that_strips_texts_is_followed() -> None:
    _, processor = FAMILIES["internvl"].build()
    processor.chat_template = chatml("<video>\n", "<IMG_CONTEXT>\n").replace("c.text", "c.text | trim")
    words = Wording(processor, "model")
    worded = words.encode([Message("user", " x \n"), Message("assistant", "\n the red circle ")])
    decoded = words.tokenizer.decode([label for label in worded.labels if label != IGNORED_LABEL])
    assert decoded == "the red circle<|im_end|>"


def test_a_template_that_changes_texts_is_refused() -> None:
    _, processor = FAMILIES["internvl"].build()
    processor.chat_template = chatml("<video>\n", "<IMG_CONTEXT>\n").replace("c.text", "c.text[1:]")
    with pytest.raises(ModelError, match="changes the texts of messages"):
        Wording(processor, "model").encode([Message("user", "x"), Message("assistant", "y")])


def test_a_dialog_that_the_template_refuses_is_a_problem_of_that_dialog() -> None:
    student = student_of("internvl")
    processor = student.processor.clips.processor
    processor.chat_template = "{{ raise_exception('roles must alternate') }}"
    worded = student.processor.encode(dialog_of(("x", "y")), None, 100)
    assert worded.problem is not None and "roles must alternate" in worded.problem


def test_a_text_only_dialog_is_cut_and_counted() -> None:
    student = student_of("qwen3_vl")
    whole = student.processor.encode(dialog_of(("Hello?", "Hi. " * 20)), None, 1000)
    cut = student.processor.encode(dialog_of(("Hello?", "Hi. " * 20)), None, 20)
    assert list(cut.input_ids) == list(whole.input_ids[:20])
    assert cut.num_cut == len(whole.input_ids) - 20
