from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sg.artefacts.predictions import (
    NO_VIDEO,
    SHUFFLED_OPTIONS,
    WITH_SUBTITLES,
    WITHOUT_SUBTITLES,
    ZEROED_VIDEO,
    read_predictions,
)
from sg.evaluate.asking import shuffled
from sg.evaluate.benchmark import Question, labelled, unlabelled
from sg.evaluate.run import publish
from tests.evaluate.evaluation_builder import World, world
from tests.evaluate.test_answering import ask_all, with_answering


def test_without_a_video_only_the_text_is_asked(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=4, settings=[], probes=[NO_VIDEO])
    rows = ask_all(made, tmp_path / "a.jsonl")
    for row in rows:
        question = next(q for v in made.benchmark.videos for q in v.questions if q.question_id == row.question_id)
        ids = made.encoder.encode_prompt(made.config.prompt.prompt(question).text)
        new = made.model.generate(torch.tensor([ids]), max_new_tokens=made.config.answering.max_new_tokens)
        assert row.response == made.encoder.decode(new[0].tolist())
        assert (row.tokens_of, row.frames, row.num_prompt_tokens) == ("", (), len(ids))
    both = with_answering(made.config, settings=[WITHOUT_SUBTITLES], probes=[NO_VIDEO, ZEROED_VIDEO])
    mixed = {row.key: row.response for row in ask_all(made, tmp_path / "b.jsonl", both)}
    assert {row.key: row.response for row in rows}.items() <= mixed.items()


@pytest.mark.parametrize("count", [2, 4, 5])
def test_shuffled_options_are_the_same_texts_in_another_order(count: int) -> None:
    question = Question("1", "", "?", labelled([f"option {number}" for number in range(count)]), "B")
    other, order = shuffled(question, seed=0)
    assert [option[:2] for option in other.options] == [f"{letter}." for letter in question.letters]
    assert sorted(order) == list(question.letters) and order != question.letters
    shown = [unlabelled(question.options[question.letters.index(letter)]) for letter in order]
    assert [unlabelled(option) for option in other.options] == shown
    assert shuffled(question, seed=0) == (other, order)


def test_answers_to_shuffled_options_use_the_letters_of_the_benchmark(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=3, settings=[WITHOUT_SUBTITLES], probes=[SHUFFLED_OPTIONS])
    with torch.no_grad():  # lets the model say A to everything
        made.model.lm_head.weight.zero_()
    letter_a = next(token for token in range(700) if made.encoder.decode([token]) == "A")
    torch.nn.init.ones_(made.model.lm_head.weight[letter_a])
    always_a = replace(made, model=_saying(made, letter_a))
    rows = {row.key: row for row in ask_all(always_a, tmp_path / "a.jsonl")}
    for (question_id, setting), row in rows.items():
        assert row.response.startswith("A")
        if setting == SHUFFLED_OPTIONS:
            assert row.letter == row.option_order[0]
            assert row.answer == rows[question_id, WITHOUT_SUBTITLES].answer
            assert row.letter_logits[("ABCD").index(row.letter)] == max(row.letter_logits)
        else:
            assert (row.letter, row.option_order) == ("A", "")


def _saying(made: World, token: int) -> object:
    """The model with a head that always prefers one token."""
    with torch.no_grad():
        head = torch.nn.Linear(64, 700)
        head.weight.zero_()
        head.bias.zero_()
        head.bias[token] = 1.0
    made.model.lm_head = head
    return made.model


def test_questions_with_five_options_can_be_answered_with_e(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=3, settings=[WITHOUT_SUBTITLES], probes=[], stop_at_first_letter=True)
    videos = tuple(
        replace(
            video,
            questions=tuple(
                replace(question, options=(*question.options, "E. white"), answer="E") if at == 0 else question
                for at, question in enumerate(video.questions)
            ),
        )
        for video in made.benchmark.videos
    )
    letter_e = next(token for token in range(700) if made.encoder.decode([token]) == "E")
    five = replace(made, benchmark=replace(made.benchmark, videos=videos), model=_saying(made, letter_e))
    path = tmp_path / "a.jsonl"
    rows = ask_all(five, path)
    assert {(row.num_options, row.letter, row.num_new_tokens) for row in rows} == {(5, "E", 1), (4, "", 4)}
    assert {len(row.letter_logits) for row in rows} == {4, 5}
    scores = publish(five.benchmark, five.config, path)[WITHOUT_SUBTITLES]
    assert scores.letters == {"A": 0, "B": 0, "C": 0, "D": 0, "E": 3, "": 6}
    assert scores.chance == pytest.approx((3 * 20 + 6 * 25) / 9)


def test_sampling_draws_the_same_for_every_batch_size_and_other_answers_for_another_seed(tmp_path: Path) -> None:
    more = {"settings": [WITHOUT_SUBTITLES], "probes": [], "sampling": "reference"}
    made = world(tmp_path / "benchmark", videos=3, max_positions=300, **more)
    made.model.lm_head.weight.data *= 0.02  # a flat distribution
    answers = []
    for name, changes in {"a": {}, "b": {"batch_size": 1}, "c": {"seed": 1}}.items():
        config = with_answering(made.config, **changes)
        answers.append({row.key: row.response for row in ask_all(made, tmp_path / f"{name}.jsonl", config)})
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_sampled_answers_end_at_the_last_position_of_the_model(tmp_path: Path) -> None:
    made = world(
        tmp_path / "b", videos=1, max_positions=300, settings=[WITHOUT_SUBTITLES], probes=[], sampling="reference"
    )
    made.model.lm_head.weight.data *= 0.0
    rows = ask_all(made, tmp_path / "a.jsonl")
    assert all(row.num_prompt_tokens + row.num_new_tokens <= 300 for row in rows)
    assert any(row.num_new_tokens > 16 for row in rows)


def test_first_letters_can_be_checked_against_answers_in_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    made = world(tmp_path / "benchmark", videos=3, settings=[WITHOUT_SUBTITLES], probes=[], stop_at_first_letter=True)
    letter_b = next(token for token in range(700) if made.encoder.decode([token]) == "B")
    always_b = replace(made, model=_saying(made, letter_b))
    config = with_answering(made.config, check_in_full=5)
    rows = ask_all(always_b, tmp_path / "a.jsonl", config)
    assert {(row.response, row.num_new_tokens) for row in rows} == {("B", 1)}
    assert "first letters against answers in full: 5 of 5 agree" in caplog.text
    logit = publish(made.benchmark, config, tmp_path / "a.jsonl")[WITHOUT_SUBTITLES].logit
    assert (logit.answered, logit.correct) == (9, sum(row.answer == "B" for row in rows))


def test_a_damaged_subtitle_file_is_reported_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = world(tmp_path / "benchmark", videos=4, settings=[WITH_SUBTITLES], probes=[])
    broken = made.benchmark.videos[0].subtitle_path
    assert broken is not None
    broken.write_text("no cue here")
    path = tmp_path / "a.jsonl"
    ask_all(made, path)
    assert "video 000 is asked without subtitles" in caplog.text
    scores = publish(made.benchmark, made.config, path)[WITH_SUBTITLES]
    assert scores.subtitles == {"missing": 3, "ok": 6, "unreadable": 3}
    assert scores.without_subtitle_lines == 6
    assert len(read_predictions(path)) == 12
