"""The name of a recipe decides which answers are bought again: what changes an answer changes it, nothing else does."""

from __future__ import annotations

import logging
from dataclasses import field, make_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.captions import read_captions
from sg.caption.captioners import captioner_of
from sg.caption.hosted.captioners.gemini import GeminiCaptionerConfig
from sg.caption.hosted.prices import PriceConfig
from sg.caption.hosted.run import estimate_run, ledger_path, recipe_of
from sg.caption.hosted.settings import RetryConfig
from sg.caption.ledger import reading
from sg.caption.ledger.recipes import rename_recipe
from sg.core.errors import DataError, MissingInputError
from sg.study.inputs import locate_inputs, missing_inputs
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.state import State
from tests.repository.test_configs import composed

URL = "http://127.0.0.1:9"
NAME = "efa80b25d0fcb540"


def name(**values: Any) -> str:
    return recipe_of(settings(URL, **values)).name


def test_the_name_of_a_released_recipe_stays() -> None:
    """When this fails, every user's captions would be bought again: keep the name, or map it like `former_name`."""
    assert name() == NAME
    assert recipe_of(settings(URL)).former_name == "ab1e7b66791138fc|gemini-3.5-flash-lite|967ed3adb0c342d9"


def test_what_reaches_the_service_changes_the_name() -> None:
    model = settings(URL).model
    others = [
        name(generation={"max_output_tokens": 700}),
        name(prompt="dense_en_structured"),
        name(fps=2.0),
        name(transport="proxy"),
        name(model=replace(model, name="another")),
        name(model=replace(model, thinking_levels=["low"], thinking_level="low")),
    ]
    assert len({NAME, *others}) == len(others) + 1


def test_what_does_not_reach_the_service_leaves_the_name() -> None:
    model = settings(URL).model
    same = [
        name(base_url=None, budget_usd=1.0, transport="upload", retry=RetryConfig(max_attempts=2), shard="1/2"),
        name(model=replace(model, prices=[PriceConfig(9.0, 9.0)])),
        *(name(tier=tier) for tier in ("batch", "flex", "priority")),
    ]
    assert set(same) == {NAME}
    assert name(generation={}) == name(generation={"max_output_tokens": 1024})


def test_a_new_setting_counts_unless_it_is_marked() -> None:
    more = make_dataclass("More", [("added", int, field(default=0))], bases=(GeminiCaptionerConfig,))
    assert recipe_of(settings(URL, more)).name != NAME


def test_answers_under_the_former_name_are_not_bought_again(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url)
    caption(data, config)
    recipe, path = recipe_of(config), ledger_path(data, config)
    assert rename_recipe(path, recipe.name, recipe.former_name) == 2  # as an earlier version wrote it
    with reading.open_for_reading(path) as db:
        assert reading.states(db, recipe.name) == {}

    estimate_run(data, config, data.manifest_path)
    caption(data, config)

    assert dict(state.paid) == {"a": 1, "b": 1}
    with reading.open_for_reading(path) as db:
        assert reading.states(db, recipe.name) == {"succeeded": 2}
        assert len(list(reading.results(db, recipe.name))) == 2
        assert db.execute("SELECT COUNT(*) FROM attempt JOIN task USING (task_key)").fetchone() == (2,)


def test_captions_of_other_settings_are_reported_with_what_differs(
    tmp_path: Path, state: State, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = data_folder(tmp_path, ["a"])
    caption(data, settings(url))
    with caplog.at_level(logging.WARNING):
        caption(data, settings(url))
        assert "captions of another" not in caplog.text
        caption(data, settings(url, generation={"max_output_tokens": 700}))
    assert "has 1 captions of another prompt, model, setting or version" in caplog.text
    assert "settings.generation.max_output_tokens: 600 -> 700" in caplog.text


def test_the_captions_of_another_recipe_stay_and_each_is_found_by_its_settings(
    tmp_path: Path, state: State, url: str
) -> None:
    data, config = data_folder(tmp_path, ["a", "b", "c"]), settings(url)
    other = settings(url, generation={"max_output_tokens": 700})
    path = caption(data, config)
    before = path.read_bytes()
    state.settings.plan = FaultPlan({"b": ["", "blocked"], "c": ["", "blocked"]})
    assert len(read_captions(caption(data, other))) == 1
    assert path.read_bytes() == before
    assert captioner_of(config).captions(data) == path
    assert len(read_captions(captioner_of(other).captions(data))) == 1
    with pytest.raises(MissingInputError) as stop:
        captioner_of(settings(url, generation={"max_output_tokens": 800})).captions(data)
    assert "captions.parquet has 3 captions of other settings" in str(stop.value)
    assert "max_output_tokens: 600 -> 800" in str(stop.value)


def test_a_run_without_captions_leaves_those_of_another_recipe(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, ["a"]), settings(url)
    path = caption(data, config)
    state.settings.plan = FaultPlan({"a": ["", "blocked"]})
    other = settings(url, generation={"max_output_tokens": 700})
    with pytest.raises(DataError, match="No caption for any of the 1 videos"):
        caption(data, other)
    assert captioner_of(config).captions(data) == path
    with pytest.raises(MissingInputError):
        captioner_of(other).captions(data)


def test_shards_do_not_replace_the_captions_of_each_other(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, [f"v{number}" for number in range(8)])
    paths = [caption(data, settings(url, shard=f"{number}/2")) for number in (0, 1)]
    assert sum(len(read_captions(path)) for path in paths) == 8
    assert all(0 < len(read_captions(path)) < 8 for path in paths)
    with pytest.raises(MissingInputError):  # training waits for the merged captions
        captioner_of(settings(url)).captions(data)


def test_a_run_names_the_captions_that_its_settings_lack(tmp_path: Path, state: State, url: str) -> None:
    words = ["data=webvid", "captioner=gemini", f"paths.work={tmp_path}", f"data.dir={tmp_path}"]
    caption(data_folder(tmp_path, ["a"]), replace(composed(*words).captioner, base_url=url, i_have_rights=True))
    assert locate_inputs(composed(*words)).captions.is_file()
    other = composed(*words, "captioner.prompt=dense_en_structured")
    (line,) = [line for line in missing_inputs(other) if "captions.parquet" in line]
    assert "captions.parquet has 1 captions of other settings (inputs.answers.inputs.prompt: " in line
