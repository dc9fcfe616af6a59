"""Captions, questions and subtitles of the demo; no fixed preference for words answers the questions."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg.artefacts.dialogs import Turn
from sg.demo.config import DemoWorldConfig
from sg.demo.corpus import make_world
from sg.demo.language import (
    KINDS,
    LETTERS,
    DemoCue,
    alt_text,
    ask,
    caption,
    srt,
    subtitle_block,
    subtitles,
)
from sg.demo.world import UNIFORM, VALUES, Actor, Scene, VideoSpec, draw_video, zipf_law

SPEC = VideoSpec(
    (
        Scene("night", (Actor("plain", "red", "ball", "spins", "topleft"),)),
        Scene(
            "meadow",
            (
                Actor("dotted", "blue", "kite", "falls", "topright"),
                Actor("striped", "lime", "box", "rests", "bottomleft"),
            ),
        ),
    )
)


def test_a_caption_describes_all_scenes_in_order() -> None:
    assert caption(SPEC) == (
        "night one : plain red ball spins topleft . then "
        "meadow two : dotted blue kite falls topright , striped lime box rests bottomleft ."
    )
    assert alt_text(SPEC) == "red ball ."
    assert caption(VideoSpec.from_json('{"family":3,' + SPEC.to_json()[1:])) == caption(SPEC)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32), duration=st.sampled_from(["short", "medium", "long"]), zipf=st.booleans())
def test_a_question_has_four_options_of_one_attribute_and_the_right_one(
    kind: str, seed: int, duration: str, zipf: bool
) -> None:
    rng, law = random.Random(seed), zipf_law(1) if zipf else UNIFORM
    spec = draw_video(rng, law, duration)
    question = ask(rng, law, spec, kind)
    assert len(set(question.options)) == 4
    attributes = [name for name, values in VALUES.items() if set(question.options) <= set(values)]
    assert len(attributes) == 1
    word, letter = question.response.split()
    assert question.options[LETTERS.index(letter)] == word
    if attributes[0] not in ("count", "background"):
        assert word in {getattr(actor, attributes[0]) for actor in spec.actors}


def test_a_prompt_has_the_layout_of_video_mme() -> None:
    question = ask(random.Random(0), UNIFORM, SPEC, "order")
    assert question.text == "Q place after night ?"
    lines = question.prompt.splitlines()
    assert lines[0] == question.text and lines[-1] == "Answer:"
    assert [line[:3] for line in lines[1:-1]] == ["A. ", "B. ", "C. ", "D. "]


def test_subtitles_are_within_their_scene_and_their_times_cover_one_frame() -> None:
    cues = subtitles(random.Random(1), SPEC, frames_per_scene=8, mention_probability=1.0)
    assert [cue.frame // 8 for cue in cues] == [0, 1, 1]
    assert all(cue.frame % 8 for cue in cues)
    assert cues[0].text == "> night plain red ball spins topleft"
    assert srt([DemoCue(9, "> a")], fps=1.0) == "1\n00:00:08,600 --> 00:00:09,400\n> a\n"
    assert subtitle_block([]) == ""
    assert subtitle_block([DemoCue(1, "> a"), DemoCue(2, "> b")]) == "Subs:\n> a\n> b"


def test_random_word_rankings_answer_a_quarter_of_the_questions() -> None:
    config = DemoWorldConfig(videos_per_k=1, align_clips=1, instruct_clips=1)
    questions = [question for item in make_world(config).benchmark for question in item.questions]
    words = sorted({option for question in questions for option in question.options})
    rng, shares = random.Random(0), []
    for _ in range(300):
        rank = {word: rng.random() for word in words}
        right = sum(max(q.options, key=rank.__getitem__) == q.options[LETTERS.index(q.answer)] for q in questions)
        shares.append(right / len(questions))
    assert abs(sum(shares) / len(shares) - 0.25) < 0.01


def test_letters_are_right_equally_often() -> None:
    questions = [q for item in make_world(DemoWorldConfig(videos_per_k=1)).benchmark for q in item.questions]
    shares = [sum(q.answer == letter for q in questions) / len(questions) for letter in LETTERS]
    # The standard error of a fraction of 1,350 is 0.012.
    assert all(abs(share - 0.25) < 0.045 for share in shares)


def test_a_first_turn_with_subtitles_is_written_as_in_the_benchmark() -> None:
    from sg.demo.corpus import instruct_dialog

    item = make_world(DemoWorldConfig(videos_per_k=1, align_clips=1)).instruct[1]
    dialog = instruct_dialog(item)
    assert item.cues
    assert dialog.turns[0].text == f"<video>\n{subtitle_block(item.cues)}\n{item.questions[0].prompt}"
    assert dialog.turns[1] == Turn("gpt", item.questions[0].response)
    assert dialog.turns[2].text == item.questions[1].prompt
