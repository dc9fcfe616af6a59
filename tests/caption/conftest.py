"""The loopback service of every test: a fresh one, its key in the environment, nothing to wait for."""

from collections.abc import Iterator

import pytest

from tests.caption.hosted.builder import KEY
from tests.caption.hosted.fake_gemini.running import in_thread
from tests.caption.hosted.fake_gemini.state import State


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def url(state: State, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    with in_thread(state) as address:
        yield address
