"""`benchmark=[a,b]` on a command line: what Hydra is given instead."""

import pytest

from sg.core.errors import ConfigError
from sg.core.mistakes import with_several


def test_a_list_of_benchmarks_becomes_one_package_per_benchmark() -> None:
    words = with_several(["-m", "benchmark=[demo,mvbench,lvbench]", "seed=0,1"])
    more = [f"+benchmark@more_benchmarks.{name}={name}" for name in ("mvbench", "lvbench")]
    assert words == ["-m", "benchmark=demo", *more, "seed=0,1"]
    assert with_several(words) == words  # the children of a sweep get the words as they are


def test_keys_are_those_of_all_benchmarks_or_of_one_by_name() -> None:
    words = with_several(["benchmark=[demo, mvbench]", "benchmark.answering.probes=[]", "benchmark.mvbench.folder=a.b"])
    assert words[2:] == [
        "benchmark.answering.probes=[]",
        "more_benchmarks.mvbench.answering.probes=[]",
        "more_benchmarks.mvbench.folder=a.b",
    ]
    assert with_several(["benchmark.demo.folder=x", "benchmark=[demo,mvbench]"])[0] == "benchmark.folder=x"


@pytest.mark.parametrize("words", [["benchmark=demo", "benchmark.folder=x"], ["benchmark=demo,mvbench"], []])
def test_other_command_lines_stay_as_they_are(words: list[str]) -> None:
    assert with_several(words) == words


def test_a_list_of_one_is_that_benchmark() -> None:
    assert with_several(["benchmark=[mvbench]", "benchmark.folder=x"]) == ["benchmark=mvbench", "benchmark.folder=x"]


@pytest.mark.parametrize("word", ["benchmark=[]", "benchmark=[demo,demo]", "benchmark=[demo,]"])
def test_empty_and_repeated_names_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="different benchmarks"):
        with_several([word])
