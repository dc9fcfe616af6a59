"""Recall against what several captioners truly state: exact by the facts of the demo world, by words for a service."""

from __future__ import annotations

from pathlib import Path

import pytest

from sg.artefacts.judged import FALSE, TRUE, JudgedCaption, judged_path, read_judged, write_judged
from sg.caption.captioners import captioner_of
from sg.caption.judge.facts import judge_caption
from sg.caption.judge.run import judge_captions
from sg.caption.judge.union import against_union, is_stated
from sg.caption.local.demo import DemoCaptionerConfig
from sg.core.errors import MissingInputError
from sg.core.tracking import LoggerConfig
from sg.demo.language import caption_scenes
from tests.caption.judge.test_facts import NIGHT, SEA, TRUTH, data_with, drawn

CSV = LoggerConfig(kind="csv")


def test_the_union_of_two_halves_is_the_whole_and_what_nobody_states_does_not_count() -> None:
    truth = caption_scenes(TRUTH)
    whole = judge_caption("v", NIGHT, truth)
    alone, joined = judge_caption("v", NIGHT, truth, []), judge_caption("v", NIGHT, truth, [SEA])
    assert whole.recall == 14 / 23, "the night has 14 facts of 23, the sea 8, their order is one"
    assert alone.recall == 1.0 and alone.missing == ()
    assert joined.recall == 14 / 22 and len(joined.missing) == 8
    assert judge_caption("v", NIGHT, truth, [TRUTH]).recall == whole.recall
    wrong = SEA.replace("green", "lime")
    assert judge_caption("v", NIGHT, truth, [wrong]).recall == 14 / 21, "false claims of others do not count"


def test_the_command_takes_the_captions_of_others_as_reference(tmp_path: Path) -> None:
    data = data_with(tmp_path, drawn(30))
    short = DemoCaptionerConfig(noise="omitted_scene", noise_rate=0.6)
    other = captioner_of(DemoCaptionerConfig()).captions(data)
    judge_captions(data, short, None, CSV)
    path = judged_path(captioner_of(short).captions(data), "facts")
    against_facts = [row.recall for row in read_judged(path)]
    judge_captions(data, short, None, CSV, union=[other])
    assert [row.recall for row in read_judged(path)] == against_facts, "the other captioner states every fact"
    judge_captions(data, short, None, CSV, union=[captioner_of(short).captions(data)])
    assert {row.recall for row in read_judged(path)} == {1.0}


def test_claims_of_a_service_are_matched_by_their_words(tmp_path: Path) -> None:
    own = [JudgedCaption("a", "x", ("A man crosses a street", "he wears a hat"), (TRUE, FALSE))]
    others = [
        JudgedCaption("a", "x", ("A man is crossing the street", "A dog waits", "A green sky"), (TRUE, TRUE, FALSE)),
        JudgedCaption("b", "x", ("A cat",), (TRUE,)),
    ]  # fmt: skip
    captions = tmp_path / "captions.parquet"
    with pytest.raises(MissingInputError, match="needs the verdicts of judge x"):
        against_union(own, [captions], "x")
    write_judged(judged_path(captions, "x"), others, {})
    (row,) = against_union(own, [captions, captions], "x")
    assert row.missing == ("A dog waits",) and row.recall == 0.5, "a fact that two others state counts once"
    assert is_stated("一只狗在等", ["房间里有一只狗在等人"]) and not is_stated("一只猫在睡", ["一只狗在等"])
    assert not is_stated("a red car", ["a blue car stops"]) and is_stated("", ["a"])
