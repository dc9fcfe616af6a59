"""Answers of many prompts with shared prefixes are those that transformers generates one by one."""

from __future__ import annotations

import pytest
import torch

from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.models.answering import Answerer, EncodedPrompt
from sg.models.hf.student import HfStudent
from tests.models.hf.more_families import EVERY_FAMILY
from tests.models.hf.samples import clip_of, plain_inputs, student_of

NEW_TOKENS = 6
QUESTIONS = (
    ("a", "", "What happens first?"),
    ("a", "", "Describe the video."),
    ("a", "subtitles", "Subtitles: one two three four.\nWhat happens first?"),
    ("a", "subtitles", "Subtitles: one two three four.\nDescribe the video in one word."),
    ("b", "", "What?"),
    ("", "", "Hello? Answer with the letter of the best option."),
    ("", "", "Hello?"),
)
"""Clip, branch and text."""
COUNTS = {"a": 6, "b": 4, "": 0}


def prompts_of(student: HfStudent, clips: dict[str, ClipTensors | None]) -> list[EncodedPrompt]:
    return [
        EncodedPrompt(student.processor.question(text, clips[clip]).ids, clip, branch, NEW_TOKENS)
        for clip, branch, text in QUESTIONS
    ]


@torch.inference_mode()
def plain_answer(student: HfStudent, clip: str, text: str) -> tuple[list[int], torch.Tensor]:
    """The new ids by transformers' `generate`, and the logits of the first one."""
    texts = (f"<video>\n{text}" if clip else text,)
    inputs = plain_inputs(student.processor.clips.processor, texts, COUNTS[clip], add_generation_prompt=True)
    output = student.module.generate(
        **inputs, max_new_tokens=NEW_TOKENS, do_sample=False, return_dict_in_generate=True, output_logits=True,
        eos_token_id=sorted(student.eos_ids), pad_token_id=0,
    )  # fmt: skip
    ids = output.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    end = next((at for at, token in enumerate(ids) if token in student.eos_ids), len(ids))
    return ids[:end], output.logits[0][0]


@pytest.mark.parametrize("name", EVERY_FAMILY)
def test_answers_with_shared_prefixes_are_those_of_generate(name: str) -> None:
    student = student_of(name)
    pixels = {clip: clip_of(student.processor, count) for clip, count in COUNTS.items() if count}
    clips: dict[str, ClipTensors | None] = {"": None}
    clips |= {clip: student.features([value], "connector")[0] for clip, value in pixels.items()}
    letters = [[65, 66], [70], [80, 81], [90]]
    found = Answerer(student, letters).answer(prompts_of(student, clips), clips)
    for (clip, _, text), answer in zip(QUESTIONS, found, strict=True):
        ids, logits = plain_answer(student, clip, text)
        assert answer.ids == ids
        expected = [max(logits[token].item() for token in tokens) for tokens in letters]
        assert answer.letter_logits == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("name", ["qwen3_vl", "smolvlm"])
@torch.inference_mode()
def test_likelihoods_of_endings_are_those_of_one_pass_per_ending(
    name: str, shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = student_of(name)
    monkeypatch.setattr(HfStudent, "shares_prefixes", shares)
    clips: dict[str, ClipTensors | None] = {"": None}
    clips["a"] = student.features([clip_of(student.processor, COUNTS["a"])], "connector")[0]
    asked = [one for one in QUESTIONS if one[0] in clips]
    endings = [[[65, 66, 67], [70], [80, 81]][: 2 + number % 2] for number in range(len(asked))]
    prompts = [prompt for prompt in prompts_of(student, clips | {"b": clips["a"]}) if prompt.clip in clips]
    found = Answerer(student).likelihoods(prompts, endings, clips)
    for (clip, _, text), own, means in zip(asked, endings, found, strict=True):
        texts = (f"<video>\n{text}" if clip else text,)
        inputs = plain_inputs(student.processor.clips.processor, texts, COUNTS[clip], add_generation_prompt=True)
        for ending, mean in zip(own, means, strict=True):
            ids = torch.tensor([ending])
            longer = {
                key: torch.cat(
                    [value, ids if key == "input_ids" else torch.full_like(ids, int(key == "attention_mask"))], 1
                )
                if key in ("input_ids", "attention_mask") or "token_type" in key
                else value
                for key, value in inputs.items()
            }
            logits = student.module(**longer).logits[0, -len(ending) - 1 : -1]
            expected = logits.log_softmax(-1).gather(1, ids[0, :, None]).mean().item()
            assert mean == pytest.approx(expected, abs=1e-4)


def test_an_answer_ends_with_the_token_that_closes_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of("smolvlm")
    close = student.processor.tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    ids = iter([70, 71, close])

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.tensor([next(ids)]), len(student.processor)).float()

    monkeypatch.setattr(student.language, "logits", logits)
    prompt = EncodedPrompt(student.processor.question("Hello?", None).ids, "", "", NEW_TOKENS)
    assert Answerer(student).answer([prompt], {"": None})[0].ids == [70, 71]
