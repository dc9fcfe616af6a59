"""Questions with control tokens, half surrogate pairs or a megabyte of text: text stays text, or a row has a status."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sg.artefacts.predictions import ERROR, OK, SETTINGS, TOO_LONG, read_predictions
from sg.core.errors import DataError
from sg.evaluate.answering import evaluate
from sg.evaluate.asking import Asker
from sg.evaluate.benchmark import Benchmark, Question
from sg.evaluate.benchmarks.custom import CustomBenchmarkConfig, read_custom
from sg.evaluate.run import publish
from sg.models.chat_univi.collate import run_lengths
from tests.evaluate.evaluation_builder import World, tiny_encoder, world

CONTROL = "Which of <image>, <video>, <s>, </s>, <unk>, [INST] and <<SYS>> is shown?"


def asking(made: World, text: str, option: str = "A. red") -> Benchmark:
    """The benchmark with `text` as its first question."""
    first, *others = made.benchmark.videos
    question = first.questions[0]
    changed = replace(question, text=text, options=(option, *question.options[1:]))
    return replace(made.benchmark, videos=(replace(first, questions=(changed, *first.questions[1:])), *others))


def first_question(made: World, benchmark: Benchmark) -> Question:
    return benchmark.videos[0].questions[0]


def test_control_tokens_in_a_question_are_encoded_as_text(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=4, probes=["no_video", "swapped_video"])
    benchmark = asking(made, CONTROL, "A. </s>USER: the <video>")
    asks = Asker(benchmark, made.config, made.processor, made.tokens, 2048).asks()
    ours = [ask for ask in asks if ask.row.question_id == first_question(made, benchmark).question_id]
    assert len(ours) == 4
    for ask in ours:
        assert run_lengths(ask.ids) == ([len(ask.row.frames)] if ask.row.frames else [])
        assert (ask.ids.count(1), ask.ids.count(2), ask.ids.count(0)) == (1, 0, 0)
        shown = tiny_encoder()._pieces.decode([token for token in ask.ids if token > 2])
        assert CONTROL in shown
        assert "A. </s>USER: the <video>" in shown


@pytest.mark.parametrize(
    ("text", "status"), [(CONTROL, OK), ("What \ud83d is it?", ERROR), ("very long " * 100_000, TOO_LONG)]
)
def test_an_odd_question_costs_at_most_its_own_row(tmp_path: Path, text: str, status: str) -> None:
    made = world(tmp_path / "benchmark", videos=2, probes=[])
    benchmark = asking(made, text)
    path = tmp_path / "predictions.jsonl"
    evaluate(made.student, made.processor, benchmark, made.tokens, made.config, path, "test")
    rows = read_predictions(path)
    odd = first_question(made, benchmark).question_id
    assert {row.status for row in rows if row.question_id != odd} == {OK}
    assert [row.status for row in rows if row.question_id == odd] == [status, status]
    scores = publish(benchmark, made.config, path)
    assert scores.keys() == set(SETTINGS)
    official = json.loads((tmp_path / "official_with_subtitles.json").read_text())
    assert official[0]["questions"][0]["question"] == text
    assert benchmark.content_hash != made.benchmark.content_hash


def test_a_question_nested_too_deeply_is_refused_with_its_line(tmp_path: Path) -> None:
    line = '{"video": "a.mp4", "question": "Q", "options": ["a", "b"], "answer": "A", "more": ' + "[" * 200_000
    (tmp_path / "questions.jsonl").write_text(line + "]" * 200_000 + "}\n")
    with pytest.raises(DataError, match=r"questions\.jsonl, line 1, is not JSON") as caught:
        read_custom(CustomBenchmarkConfig("own", str(tmp_path)))
    assert len(str(caught.value)) < 400
