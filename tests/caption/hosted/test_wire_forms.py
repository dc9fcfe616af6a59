"""Every wire form of the fake service against every kind of client: what it is taken for, and what follows from it."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.captions import read_captions
from sg.caption.hosted.captioners.openai_compatible import OpenAICompatibleCaptionerConfig
from sg.caption.hosted.run import ledger_path
from sg.caption.hosted.services.failures import answer_kind
from sg.caption.hosted.services.records import Answer, Failure, Kind, Request, RequestMedia, Service
from sg.caption.hosted.settings import RetryConfig
from sg.caption.ledger import reading
from sg.core.errors import SgError
from tests.caption.hosted.builder import KEY, caption, data_folder, settings
from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.forms import ANSWERS, ERRORS, FORMS, OWN, USABLE
from tests.caption.hosted.fake_gemini.state import State
from tests.caption.hosted.test_run import ledger, states
from tests.caption.hosted.test_secrets import files_with_the_key

KINDS: dict[Kind | None, list[str]] = {
    Kind.QUOTA: [name for name in FORMS if name.startswith(("429_", "own_429_"))],
    Kind.UNCLEAR: ["400_generic", "400_empty", "422_list", "own_400_text", "own_422_tgi", "own_400_detail"],
    Kind.MEDIA: [
        *("400_tokens", "400_frames", "413_html", "own_400_context", "own_400_context_new", "own_400_context_code"),
        "own_400_llama",
    ],
    Kind.BLOCKED: [
        *("finish_safety_partial", "finish_image", "block_new", "block_number", "block_safety", "own_filter"),
    ],
    Kind.TRUNCATED: ["own_length"],
    Kind.ODD: [
        *("content_null", "content_missing", "parts_missing", "parts_empty", "parts_null", "parts_only_thought"),
        *("parts_no_text", "text_blank", "text_list", "finish_new", "finish_list", "finish_other", "finish_language"),
        *("finish_null", "finish_missing", "own_content_null", "own_message_null", "own_finish_null"),
        *("own_finish_new", "own_thought_open"),
    ],
    None: [
        *(name for name in FORMS if "ok_" in name),
        *("text_of_megabytes", "text_nul", "text_surrogate"),  # the gates judge these
    ],
}
"""The kind of every form; all others are temporary errors of the service."""
EXPECTED = dict.fromkeys(FORMS, Kind.TRANSIENT) | {name: kind for kind, names in KINDS.items() for name in names}


async def outcomes(service: Service, names: list[str]) -> dict[str, Answer | Failure]:
    """What a client returns for each form."""

    async def ask(name: str) -> Answer | Failure:
        media = RequestMedia("video/mp4", f"clip:{name};".encode())
        return await service.generate(Request("gemini-3.5-flash-lite", "system", "user", media))

    made = await asyncio.gather(*map(ask, names))
    await service.close()
    return dict(zip(names, made, strict=True))


def taken_for(outcome: Answer | Failure) -> Kind | None:
    return outcome.kind if isinstance(outcome, Failure) else answer_kind(outcome)


@pytest.mark.parametrize("own", [False, True], ids=["gemini", "openai_compatible"])
def test_every_form_is_taken_for_what_it_is(
    state: State, url: str, own: bool, caplog: pytest.LogCaptureFixture
) -> None:
    names = [name for name in FORMS if name.startswith("own_") or name in ERRORS] if own else [*set(FORMS) - set(OWN)]
    state.settings.plan = FaultPlan({name: [name] for name in names})
    config = settings(f"{url}/v1", OpenAICompatibleCaptionerConfig, name="own") if own else settings(url)
    made = asyncio.run(outcomes(config.service(), names))
    gc.collect()
    assert "Unclosed" not in caplog.text, "no connection is left open"
    assert {name: taken_for(outcome) for name, outcome in made.items()} == {name: EXPECTED[name] for name in names}
    assert len(names) > 60
    for name, outcome in made.items():
        texts = [outcome.message, outcome.status] if isinstance(outcome, Failure) else [outcome.request_id]
        assert all(len(text) <= 300 for text in texts), name


def test_a_pause_is_read_from_every_form_of_it(state: State, url: str) -> None:
    pauses = {"429_object_delay": 0.0, "429_retry_after": 1.0, "429_ids": 0.05, "429_word_delay": None}
    own = {"own_429_words": 0.05, "own_429_date": 0.0, "own_429_text": 0.0}
    for config, wanted in ((settings(url), pauses), (settings(url, OpenAICompatibleCaptionerConfig, name="own"), own)):
        state.settings.plan = FaultPlan({name: [name] for name in wanted})
        made = asyncio.run(outcomes(config.service(), list(wanted)))
        found = {name: outcome.retry_after_s for name, outcome in made.items() if isinstance(outcome, Failure)}
        assert found == wanted


@pytest.mark.parametrize("own", [False, True], ids=["gemini", "openai_compatible"])
def test_a_usable_answer_is_taken_at_once_and_any_other_one_again(
    tmp_path: Path, state: State, url: str, own: bool
) -> None:
    """One run with one video per form, each of which is sent once; the cost of every answer is plausible."""
    names = [name for name in (OWN if own else ANSWERS | USABLE) if not name.startswith("own_4")]
    state.settings.plan = FaultPlan({name: [name] for name in names})
    values: dict[str, Any] = {"max_duplicates": 99, "on_model_drift": "record", "budget_usd": 1.0}
    config = settings(url, **values)
    if own:
        config = settings(f"{url}/v1", OpenAICompatibleCaptionerConfig, **values)
    data = data_folder(tmp_path, names)
    blocked = {name for name in names if EXPECTED[name] is Kind.BLOCKED}
    captions = read_captions(caption(data, config))
    assert list(captions) == [name for name in names if name not in blocked]
    assert own or " in the café " in captions["ok_latin_label"], "JSON is UTF-8, whatever its label says"
    assert not files_with_the_key(tmp_path, KEY), "`ok_echo` has it in every text"
    assert state.requests == {name: 1 if name in blocked or "ok_" in name else 2 for name in names}
    with ledger(data, config) as db:
        costs = dict(db.execute("SELECT video_id, MAX(cost_usd) FROM attempt JOIN task USING (task_key) GROUP BY 1"))
        assert db.execute("SELECT COUNT(*) FROM attempt WHERE state!='done'").fetchone() == (0,)
        lying = [name for name in names if name.startswith(("ok_usage", "own_ok_millions")) and name != "ok_usage_text"]
        (run_id,) = db.execute("SELECT run_id FROM run").fetchone()
        assert reading.estimated_costs(db, run_id) == len(lying) + own  # `own_ok_nulls`
    assert not {name: cost for name, cost in costs.items() if not 0.0005 < cost < 0.0021}
    assert ledger_path(data, config).stat().st_size < 3_000_000, "no text of megabytes is kept"


def test_forms_that_never_end_leave_the_other_videos_alone(tmp_path: Path, state: State, url: str) -> None:
    """A temporary error is never a permanent failure, whatever its form, and the command fails."""
    names = [name for name in FORMS if name not in OWN and EXPECTED[name] not in (Kind.QUOTA, Kind.UNCLEAR, Kind.MEDIA)]
    state.settings.plan = FaultPlan({name: [name] * 99 for name in names})
    good = [f"good-{number}" for number in range(20)]
    data = data_folder(tmp_path, sorted([*names, *good]))
    retry = RetryConfig(deadline_s=60, backoff_s=0.001, max_wait_s=0.01, max_attempts=2)
    config = settings(url, retry=retry, max_duplicates=99, on_model_drift="record")
    with pytest.raises(SgError, match="of an error of the service"):
        caption(data, config)
    ends = {None: "succeeded", Kind.BLOCKED: "blocked", Kind.ODD: "rejected", Kind.TRANSIENT: "deferred"}
    wanted = {name: ends[EXPECTED[name]] for name in names} | dict.fromkeys(good, "succeeded")
    wanted |= dict.fromkeys(["text_of_megabytes", "text_nul", "text_surrogate"], "rejected")
    assert states(data, config) == wanted
    assert {state.paid[name] for name in good} == {1}
