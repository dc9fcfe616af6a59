"""The legacy SDK, in an environment of its own, uses the same ledger and gates."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import textwrap
from pathlib import Path

import pytest

from sg.artefacts.captions import read_captions
from sg.caption.hosted.captioners.gemini_legacy import GeminiLegacyCaptionerConfig
from sg.caption.hosted.services import gemini_legacy
from sg.caption.hosted.services.gemini_legacy import _outcome
from sg.caption.hosted.services.records import Answer, Failure, Kind
from sg.core.errors import SgError
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini.answers import caption_text
from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.forms import ANSWERS, ERRORS, USABLE
from tests.caption.hosted.fake_gemini.running import in_thread
from tests.caption.hosted.fake_gemini.state import State
from tests.caption.hosted.test_run import states
from tests.caption.hosted.test_wire import variants
from tests.caption.hosted.test_wire_forms import EXPECTED

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


@pytest.mark.skipif(PYTHON is None, reason="SG_LEGACY_PYTHON names no Python with google-generativeai")
def test_the_legacy_sdk_ends_no_run_whatever_the_form_of_an_answer(tmp_path: Path, state: State, url: str) -> None:
    """Its parser refuses some documents that are usable. No answer is larger than the bound, none is a bug of ours."""
    names = [name for name in [*ERRORS, *ANSWERS, *USABLE] if not name.startswith(("40", "413", "422"))]
    names += ["huge", "gzip_bomb"]
    state.settings.plan = FaultPlan({name: [name] for name in names})
    data = data_folder(tmp_path, names)
    config = settings(url, GeminiLegacyCaptionerConfig, python=PYTHON, max_concurrency=8, transport="inline")
    config.max_duplicates, config.on_model_drift = 99, "record"
    caption(data, config)
    blocked = {name for name in names if EXPECTED.get(name) is Kind.BLOCKED}
    found = states(data, config)
    assert {name for name in names if found[name] != "succeeded"} <= blocked
    assert max(state.requests.values()) == 2


@pytest.mark.skipif(PYTHON is None, reason="SG_LEGACY_PYTHON names no Python with google-generativeai")
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_the_legacy_sdk_follows_no_redirect(tmp_path: Path, state: State, url: str, code: int) -> None:
    other = State()
    with in_thread(other) as elsewhere:
        state.settings.redirect = (code, elsewhere)
        config = settings(url, GeminiLegacyCaptionerConfig, python=PYTHON, max_concurrency=1, transport="inline")
        with pytest.raises(SgError, match="redirects to http"):
            caption(data_folder(tmp_path, ["a"]), config)
    assert not other.routes and not other.requests, "the other host was never asked"


STUB = """
    import base64, json, pathlib, re, sys
    print("a banner of a library", flush=True)
    print(json.dumps({"sdk_version": "0.8.6"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        name = re.search(b"clip:(.*?);", base64.b64decode(asked["media"]["data"]))[1].decode()
        answer = {"id": asked["id"], "answer": {"text": TEXTS[name], "finish_reason": 1, "input": 1250, "output": 150}}
        seen = pathlib.Path(__file__).with_name(name + ".seen")  # kept by the next process too
        if name != "good" and not seen.exists():
            seen.touch()
            odd = {
                "null": {"id": asked["id"], "answer": None},
                "number": {"id": asked["id"], "answer": 7},
                "texts": {"id": asked["id"], "answer": {"text": ["x"], "finish_reason": "STOP", "input": None}},
                "error": {"id": asked["id"], "error": {"code": "503", "message": None, "details": 3}},
                "other": {"id": "x", "answer": {}},
                "long": {"id": asked["id"], "answer": {"text": "x" * 300_000}},
            }[name]
            print("[1]", "null", "{", sep="\\n", flush=True)
            print(json.dumps(odd), flush=True)
            if name == "other":
                print(json.dumps(answer), flush=True)
        else:
            print(json.dumps(answer), flush=True)
"""


def test_a_line_of_any_form_ends_neither_the_run_nor_its_neighbours(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is a stub that speaks the worker's lines; one above the limit makes another process start."""
    monkeypatch.setattr(gemini_legacy, "_LINE_LIMIT", 100_000)
    names = ["error", "good", "long", "null", "number", "other", "texts"]
    texts = json.dumps({name: caption_text(name) for name in names})
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nTEXTS = {texts}\n{textwrap.dedent(STUB)}", encoding="utf-8")
    python.chmod(0o755)
    data = data_folder(tmp_path, names)
    config = settings(url, GeminiLegacyCaptionerConfig, python=str(python), max_concurrency=3, transport="inline")
    captions = read_captions(caption(data, config))
    assert {name: captions[name] for name in captions} == {name: caption_text(name) for name in names}


def test_no_shape_of_a_line_is_an_error_of_ours() -> None:
    answer = {"text": "A man.", "finish_reason": 1, "block_reason": 0, "input": 9, "output": 3, "model_version": "m"}
    for values in [*variants({"id": 1, "answer": answer}), *variants({"error": {"code": 503, "name": "N"}})]:
        assert isinstance(_outcome(values if isinstance(values, dict) else {}), (Answer, Failure))


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
