"""Mistakes on a command line: the sentence names the nearest right word, or the argument to type."""

import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sg.core.errors import ConfigError
from sg.core.layout import CONFIG_FOLDER
from sg.core.mistakes import as_one_value, first_action, nearest, ordered, sentence
from sg.core.scales import parse_scale
from sg.sources.registry import SOURCES

ODD_PATHS = [
    "/data/s13 [é]/clips", "/data/it's/clips", '/data/a "b"/clips', "/data/a,b", "/data/a=b", "/data/x(1)", "/data/{a}",
    "/data/クリップ", "/data/a#b&c;d", "/data/100%", "/data/a\\", "[x]", "a: b", "'quoted'", "/data/it's [é]",
]  # fmt: skip


@pytest.mark.parametrize("path", ODD_PATHS)
def test_the_argument_to_type_survives_the_shell_and_hydra(path: str) -> None:
    (word,) = shlex.split(as_one_value("data.videos", path))
    assert OverridesParser.create().parse_override(word).value() == path


@pytest.mark.parametrize("path", ["/data/s13 [é]/clips", "/data/it's/clips", "/data/a=b", "~/clips"])
def test_an_unreadable_value_prints_the_argument_to_type(path: str) -> None:
    with pytest.raises(HydraException) as caught:
        OverridesParser.create().parse_overrides([f"data.videos={path}"])
    shown = sentence(caught.value)
    assert shown.endswith(f"type {as_one_value('data.videos', path)}.") and "\n" not in shown
    assert "=~" not in as_one_value("data.videos", path)


def test_options_may_stand_behind_settings() -> None:
    assert ordered(["seed=1", "-m", "--config-dir", "a=b", "data.scale=0"]) == [
        "-m", "--config-dir", "a=b", "seed=1", "data.scale=0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "word",
    ["~seed", "~data.scale=5", "hydra.run.dir=", "hydra.sweep.dir=~/x", "++hydra.sweep.dir='~/x'", 'hydra.run.dir=""'],
)
def test_words_that_remove_a_setting_or_name_no_folder_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=r"another value|not a folder"):
        ordered([word])


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("videoz: /x", "has no key 'data.videoz' (did you mean data.videos?): see the keys"),
        ("captions_per_k: many", "data.captions_per_k: Value 'many' of type 'str' could not be converted to Integer"),
    ],
)
def test_a_wrong_line_of_a_config_file_is_named_with_its_file(tmp_path: Path, line: str, meant: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text(f"defaults: [folder, _self_]\n{line}\n")
    SOURCES.load()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"), pytest.raises(HydraException) as caught:
        compose("sources", overrides=[f"hydra.searchpath=[file://{tmp_path}]", "data=mine"])
    shown = sentence(caught.value)
    assert shown.startswith("In the config file data/mine.yaml: ") and meant in shown and "\n" not in shown


def test_an_action_is_the_first_word_or_none() -> None:
    assert first_action(["audit", "data=demo"], ["audit", "export"]) == "audit"
    assert first_action(["data=demo", "audit"], ["audit"]) is first_action([], ["audit"]) is None
    with pytest.raises(ConfigError, match=r"'auditt' \(did you mean audit\?\)"):
        first_action(["auditt"], ["audit", "export"])


@pytest.mark.parametrize(("written", "meant"), [("foldr", "folder"), ("FOLDER", "folder"), ("xyz", "")])
def test_the_nearest_option_is_named_if_one_is_near(written: str, meant: str) -> None:
    assert nearest(written, ["demo", "folder"]) == (f" (did you mean {meant}?)" if meant else "")


@pytest.mark.parametrize(("written", "meant"), [("al", "all"), ("50kb", "50k"), ("50k,100k", ""), ("fifty", "")])
def test_a_scale_names_the_one_that_was_meant(written: str, meant: str) -> None:
    with pytest.raises(ConfigError, match="is not a scale") as caught:
        parse_scale(written)
    assert ("did you mean" in str(caught.value)) == bool(meant)
    assert not meant or f"(did you mean {meant}?)" in str(caught.value)
