from collections.abc import Sequence

import pytest
from omegaconf import OmegaConf

from sg.core.errors import ConfigError
from sg.core.layout import CONFIG_FOLDER
from sg.demo import language
from sg.evaluate.benchmark import Question
from sg.evaluate.config import AnsweringConfig, BenchmarkConfig, PromptConfig

OPTIONS = ("A. red", "B. blue", "C. green", "D. black")
INSTRUCTION = (
    "Select the best answer to the following multiple-choice question based on the video. "
    "Respond with only the letter (A, B, C, or D) of the correct option."
)
QUESTION = "Which colour?\nA. red\nB. blue\nC. green\nD. black\nThe best answer is:"
SUBTITLES = "This video's subtitles are listed below:\nhello\nhello"


def build_prompt(text: str, options: Sequence[str], config: PromptConfig, lines: list[str] | None = None) -> str:
    return config.prompt(Question("1", "", text, tuple(options), "A"), lines).text


def test_without_subtitles_the_prompt_is_the_instruction_and_the_question() -> None:
    assert build_prompt("Which colour?", OPTIONS, PromptConfig()) == f"{INSTRUCTION}\n{QUESTION}"


def test_with_subtitles_only_the_subtitle_part_is_added() -> None:
    prompt = build_prompt("Which colour?", OPTIONS, PromptConfig(), ["hello", "hello"])
    assert prompt == f"{SUBTITLES}\n{INSTRUCTION}\n{QUESTION}"


def test_a_trailing_blank_follows_the_subtitles_and_the_instruction() -> None:
    prompt = build_prompt("Which colour?", OPTIONS, PromptConfig(trailing_blank=True), ["hello", "hello"])
    assert prompt == f"{SUBTITLES} \n{INSTRUCTION} \n{QUESTION}"


def test_no_subtitle_line_leaves_the_part_out_or_keeps_its_header() -> None:
    without = build_prompt("Which colour?", OPTIONS, PromptConfig())
    assert build_prompt("Which colour?", OPTIONS, PromptConfig(), []) == without
    header = build_prompt("Which colour?", OPTIONS, PromptConfig(empty_subtitles="header"), [])
    assert header == f"This video's subtitles are listed below:\n\n{without}"


def test_empty_wording_is_left_out() -> None:
    config = PromptConfig(subtitle_header="subtitles", instruction="", last_line="")
    assert build_prompt("colour ?", OPTIONS[:1], config, ["red"]) == "subtitles\nred\ncolour ?\nA. red"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PromptConfig(empty_subtitles="no"), "benchmark.prompt.empty_subtitles='no' should be one of"),
        (lambda: AnsweringConfig(settings=["subs"]), "should be one of without_subtitles, with_subtitles"),
        (lambda: AnsweringConfig(batch_size=0), "benchmark.answering.batch_size is 0, expected 1 or more"),
        (lambda: BenchmarkConfig("b", "f", subtitles="all"), "benchmark.subtitles='all' should be one of"),
        (lambda: BenchmarkConfig("b", "f", answer_reader="x"), "benchmark.answer_reader is 'x'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_key_and_the_choices(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


def test_the_demo_benchmark_uses_the_wording_of_the_demo_training() -> None:
    settings = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "benchmark" / "demo.yaml"))
    config = PromptConfig(**settings["prompt"])
    question = language.DemoQuestion("attribute", "Q sea star colour ?", ("red", "blue", "green", "black"), "B")
    cues = [
        language.DemoCue(1, "> sea plain red star spin left"),
        language.DemoCue(2, "> sea plain blue disc rest right"),
    ]
    lines = [cue.text for cue in cues]
    assert build_prompt(question.text, question.lettered_options, config) == question.prompt
    taught = f"{language.subtitle_block(cues)}\n{question.prompt}"
    assert build_prompt(question.text, question.lettered_options, config, lines) == taught
    assert build_prompt(question.text, question.lettered_options, config, []) == question.prompt
