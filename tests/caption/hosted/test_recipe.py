"""The name of a recipe decides which answers are bought again: what changes an answer changes it, nothing else does."""

from __future__ import annotations

import logging
from dataclasses import field, make_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sg.caption.hosted.captioners.gemini import GeminiCaptionerConfig
from sg.caption.hosted.captioners.gemini_batch import GeminiBatchCaptionerConfig
from sg.caption.hosted.run import estimate_run, ledger_path, recipe_of
from sg.caption.hosted.settings import PriceConfig, RetryConfig
from sg.caption.ledger import reading
from sg.caption.ledger.recipes import rename_recipe
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini.state import State

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
        recipe_of(settings(URL, GeminiBatchCaptionerConfig)).name,
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
