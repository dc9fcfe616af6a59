"""The legacy SDK, in an environment of its own, uses the same ledger and gates."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from sg.artefacts.captions import read_captions
from sg.caption.hosted.captioners.gemini_legacy import GeminiLegacyCaptionerConfig
from sg.caption.hosted.services.gemini_legacy import _outcome
from sg.caption.hosted.services.records import Answer, Failure, Kind
from sg.core.errors import SgError
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.state import State

try:
    HERE = importlib.util.find_spec("google.generativeai") is not None
except ModuleNotFoundError:
    HERE = False
PYTHON = os.environ.get("SG_LEGACY_PYTHON") or (sys.executable if HERE else None)


@pytest.mark.skipif(PYTHON is None, reason="SG_LEGACY_PYTHON names no Python with google-generativeai")
def test_the_legacy_sdk_captions_in_spite_of_faults(tmp_path: Path, state: State, url: str) -> None:
    state.settings.plan = FaultPlan(
        {"a": ["429_retry", "503", "reset", "truncated"], "b": ["blocked"], "c": ["max_tokens"], "d": ["recitation"]}
    )
    data = data_folder(tmp_path, ["a", "b", "c", "d", "e"])
    config = settings(url, GeminiLegacyCaptionerConfig, python=PYTHON, max_concurrency=4, transport="inline")
    captions = read_captions(caption(data, config))
    assert list(captions) == ["a", "c", "d", "e"]
    assert (state.requests["a"], state.requests["b"]) == (5, 1)


def test_a_python_without_the_sdk_is_an_error(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, ["a"])
    with pytest.raises(SgError, match=r"cannot import google-generativeai.*captioner\.python=PATH"):
        caption(data, settings(url, GeminiLegacyCaptionerConfig, python="/bin/false"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"error": {"code": 503, "message": "x"}}, Kind.TRANSIENT),
        ({"error": {"code": 0, "name": "ConnectionError", "message": "x"}}, Kind.TRANSIENT),
        ({"error": {"code": 0, "name": "ParseError", "message": "x"}}, Kind.TRANSIENT),
        ({"error": {"code": 0, "name": "AttributeError", "message": "x"}}, Kind.BUG),
    ],
)
def test_errors_of_the_legacy_process_are_classified(values: dict[str, object], expected: Kind) -> None:
    made = _outcome(values)
    assert isinstance(made, Failure) and made.kind is expected


def test_numbers_of_the_legacy_sdk_become_names() -> None:
    answer = {"text": "", "finish_reason": 0, "block_reason": 4, "input": 1, "output": 0, "cached": 0}
    made = _outcome({"answer": answer | {"model_version": ""}})
    assert isinstance(made, Answer) and (made.finish_reason, made.block_reason) == ("UNKNOWN", "PROHIBITED_CONTENT")
