"""Likelihoods of the texts of the options: those of one forward pass per option, and what the scores make of them."""

import json
from pathlib import Path

import pytest
import torch

from sg.artefacts.answer_rules.calibration import by_text, calibration
from sg.artefacts.predictions import WITH_SUBTITLES, Prediction, prediction_from_dict
from sg.evaluate.answering import answers_identity
from sg.evaluate.benchmark import unlabelled
from sg.evaluate.run import score_details, score_lines
from sg.evaluate.scoring import score
from tests.evaluate.evaluation_builder import World, world
from tests.evaluate.test_answering import ask_all, with_answering


@torch.inference_mode()
def naive(made: World, row: Prediction) -> list[float]:
    """The mean log-probability of the tokens of each option, from one forward pass each."""
    question = next(one for one in made.benchmark.questions if one.question_id == row.question_id)
    clip = made.tokens[row.tokens_of]
    tokens, frames = clip.tensors["tokens"], len(clip.facts.frame_indices)
    prompt, found = made.config.prompt.prompt(question, None).text, []
    start = len(made.encoder.encode_prompt(prompt, frames))
    for option in question.options:
        ids = made.encoder.encode_prompt(prompt, frames, unlabelled(option))
        ending = torch.tensor(ids[start:])
        logits = made.model(
            torch.tensor([ids]), visual_tokens=tokens, visual_counts=[len(tokens)], logits_to_keep=len(ending) + 1
        ).logits[0, :-1]
        found.append(logits.log_softmax(-1).gather(1, ending[:, None]).mean().item())
    return found


def test_likelihoods_of_batches_equal_those_of_one_pass_per_option(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", probes=["shuffled_options"], option_texts=True)
    rows = ask_all(made, tmp_path / "predictions.jsonl")
    assert {len(row.option_logprobs) for row in rows} == {4}
    for row in [row for row in rows if row.setting == "without_subtitles"][::4]:
        assert row.option_logprobs == pytest.approx(naive(made, row), abs=2e-4)
    plain = ask_all(made, tmp_path / "plain.jsonl", with_answering(made.config, option_texts=False))
    assert [(row.response, row.letter_logits) for row in plain] == [(row.response, row.letter_logits) for row in rows]
    assert not any(row.option_logprobs for row in plain)
    # The shuffled options lie in the order of the benchmark: the same texts are likely, up to what surrounds them.
    shuffled = {row.question_id: row for row in rows if row.option_order}
    assert all(row.option_order != "ABCD" for row in shuffled.values())
    small = ask_all(made, tmp_path / "small.jsonl", with_answering(made.config, batch_size=3))
    by_key = {row.key: row.option_logprobs for row in rows}
    for row in small:
        assert row.option_logprobs == pytest.approx(by_key[row.key], abs=2e-4)
    assert any(row.setting == WITH_SUBTITLES for row in small)


def test_a_text_that_exceeds_the_positions_leaves_the_question_without_likelihoods(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", max_positions=400, probes=[], option_texts=True)
    rows = [row for row in ask_all(made, tmp_path / "predictions.jsonl") if row.status == "ok"]
    assert rows and all(len(row.option_logprobs) in (0, 4) for row in rows)


def test_only_answers_with_likelihoods_have_another_identity(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark")
    with_texts = with_answering(made.config, option_texts=True)
    one, other = (answers_identity(made.benchmark, config, "m") for config in (made.config, with_texts))
    assert "option_texts" not in one.inputs and one.name != other.name


def row(at: int, answer: str, *likely: float) -> Prediction:
    return Prediction(
        f"q{at}", "without_subtitles", "v", "short", answer, letter="A", num_options=2, option_logprobs=likely
    )


def test_scores_have_the_probability_of_the_right_text() -> None:
    rows = [row(0, "A", -1.0, -1.0), row(1, "B", -1.0, -1.0)]
    found = calibration(rows, by_text)
    assert found is not None and found.right == pytest.approx(50.0)
    scores = score(rows)
    assert "right text 50.0 % likely" in score_lines(scores)[0]
    details = score_details(scores)["without_subtitles"]
    assert details["calibration"] is None and details["text_calibration"]["questions"] == 2


def test_rows_without_likelihoods_keep_their_form() -> None:
    bare = Prediction("q", "without_subtitles", "v", "short", "A", letter="A")
    assert "option_logprobs" not in bare.to_json()
    with_them = row(0, "A", -0.5, -1.5)
    assert prediction_from_dict(json.loads(with_them.to_json()), "line 1") == with_them
