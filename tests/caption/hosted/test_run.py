"""Captioning through a service: one result per video, whatever the service does."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.captions import read_captions
from sg.caption.hosted.captioners.openai_compatible import OpenAICompatibleCaptionerConfig
from sg.caption.hosted.run import estimate_run, ledger_path, recipe_of
from sg.caption.hosted.settings import RetryConfig
from sg.caption.ledger import reading
from sg.caption.ledger.journal import LedgerJournal
from sg.caption.ledger.ledger import Ledger
from sg.core.errors import ConfigError, DataError, SgError
from sg.sources.sets.mix import MixDataConfig, MixPart, draw_mix
from sg.video.writer import write_video
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini import answers
from tests.caption.hosted.fake_gemini.faults import POISONED, FaultPlan
from tests.caption.hosted.fake_gemini.state import State
from tests.caption.hosted.running import ledger, run, states


def test_every_video_gets_its_caption_with_its_provenance(tmp_path: Path, state: State, url: str) -> None:
    import pyarrow.parquet as pq

    data, config = data_folder(tmp_path, ["a", "b", "c"]), settings(url)
    path = caption(data, config)

    captions = read_captions(path)
    row = next(captions.records())
    assert list(captions) == ["a", "b", "c"]
    assert (row.model, row.model_version, row.input_tokens) == ("gemini-3.5-flash-lite", "gemini-3.5-flash-lite", 1250)
    assert row.prompt_hash == recipe_of(config).prompt.content_hash
    assert row.cost_usd == pytest.approx((1250 * 0.30 + row.output_tokens * 2.50) / 1e6)
    record = pq.read_table(path.with_name("records.parquet")).to_pylist()[0]
    assert json.loads(record["prompt"])["version"] == "1"
    assert len(record["media_sha256"]) == 64 and record["transport"] == "inline"
    assert json.loads(record["sdk"])["name"] == "google-genai"
    described = json.loads(path.with_name("manifest.json").read_text(encoding="utf-8"))
    assert described["captions"] == 3 and set(described["files"]) == {"captions.parquet", "records.parquet"}


def test_a_request_has_the_video_first_and_the_prompt_after_it(tmp_path: Path, state: State, url: str) -> None:
    run(data_folder(tmp_path, ["a"]), settings(url))
    (body,) = state.bodies
    video, text = body["contents"][0]["parts"]
    assert video["inlineData"]["mimeType"] == "video/mp4"
    assert "100-200 words" in text["text"] and "The clip is silent" in text["text"]
    assert body["generationConfig"] == {"maxOutputTokens": 600}
    assert "Report only what can be seen" in body["systemInstruction"]["parts"][0]["text"]


@pytest.mark.parametrize(
    ("script", "final", "requests"),
    [
        (["429_retry"], "succeeded", 2),
        (["429"], "succeeded", 2),
        (["429_minute_paid", "429_minute_free", "429_unknown"], "succeeded", 4),
        (["500", "503", "503_html", "504"], "succeeded", 5),
        (["reset", "reset_body", "close_body"], "succeeded", 4),
        (["truncated", "html", "empty"], "succeeded", 4),
        (["max_tokens"], "succeeded", 2),
        (["max_tokens", "max_tokens_empty"], "rejected", 2),
        (["recitation"], "succeeded", 2),
        (["new_reason", "recitation"], "rejected", 2),
        (["blocked"], "blocked", 1),
        (["safety"], "blocked", 1),
        (["refusal"], "succeeded", 2),
        (["refusal", "refusal"], "rejected", 2),
        (["no_candidates"], "succeeded", 2),
        (["429_storage"], "succeeded", 2),
    ],
    ids=lambda value: "+".join(value[:3]) if isinstance(value, list) else str(value),
)
def test_each_fault_has_its_treatment(
    tmp_path: Path, state: State, url: str, script: list[str], final: str, requests: int
) -> None:
    state.settings.plan = FaultPlan({"a": script})
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url)
    assert run(data, config) == {"a": final, "b": "succeeded"}
    assert state.requests["a"] == requests
    with ledger(data, config) as db:
        assert db.execute("SELECT COUNT(*) FROM attempt WHERE state='done'").fetchone() == (requests + 1,)


def test_poisoned_answers_end_neither_the_run_nor_their_neighbours(tmp_path: Path, state: State, url: str) -> None:
    """Each kind once, and each kind for ever; every video without one gets its caption and is paid once."""
    once, always, good = ({f"{word}-{name}" for name in POISONED} for word in ("once", "always", "good"))
    script = {key: [key.partition("-")[2]] * (1 if key in once else 99) for key in once | always}
    state.settings.plan = FaultPlan(script)
    data, config = data_folder(tmp_path, sorted(once | always | good)), settings(url)
    with pytest.raises(SgError, match="of an error of the service"):  # `error_200` and `nested`, for ever
        run(data, config)
    found = states(data, config)
    assert {found[key] for key in good} == {"succeeded"} and {state.paid[key] for key in good} == {1}
    assert {found[key] for key in once} <= {"succeeded", "rejected"}
    assert {found[key] for key in always} <= {"succeeded", "rejected", "failed_permanent", "deferred", "blocked"}
    with ledger(data, config) as db:
        assert 0 < reading.spent_usd(db) < 1
        assert db.execute("SELECT COUNT(*) FROM attempt WHERE state!='done'").fetchone() == (0,)


def test_a_write_that_fails_is_tried_alone_and_rolls_back_no_neighbour(tmp_path: Path) -> None:
    async def go() -> list[Any]:
        with contextlib.closing(Ledger(tmp_path / "ledger.sqlite")) as opened:
            journal = LedgerJournal(opened)

            def write(number: int) -> None:
                opened.spend(1.0, number, 1)
                if number == 2:
                    raise OverflowError("a number that SQLite cannot hold")

            done = await asyncio.gather(*(journal.write(partial(write, n)) for n in range(5)), return_exceptions=True)
            await journal.close()
            return [*done, reading.spent_usd(opened.connection)]

    *done, usd = asyncio.run(go())
    assert [type(value) for value in done] == [type(None)] * 2 + [OverflowError] + [type(None)] * 2
    assert usd == 4.0


def test_an_answer_without_its_tokens_costs_what_was_estimated(tmp_path: Path, state: State, url: str) -> None:
    state.settings.plan = FaultPlan({"a": ["list_usage"], "b": ["huge_number"]})
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url, budget_usd=1.0, max_duplicates=9)
    run(data, config)
    with ledger(data, config) as db:
        costs = [cost for (cost,) in db.execute("SELECT cost_usd FROM attempt")]
    assert all(0.0003 < cost < 0.01 for cost in costs)


def test_texts_that_too_many_videos_share_are_reported_and_a_file_without_captions_is_not(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    text = answers.caption_text("black")
    monkeypatch.setattr(answers, "caption_text", lambda item: text + " The end." * (item == "d"))
    with caplog.at_level(logging.INFO):
        captions = read_captions(caption(data_folder(tmp_path / "most", list("abcd")), settings(url, max_duplicates=2)))
    assert list(captions) == ["d"]
    assert "3 captions are left out: more than captioner.max_duplicates=2 videos share their text" in caplog.text
    with pytest.raises(DataError, match="share the text of every caption"):
        caption(data_folder(tmp_path / "all", list("abc")), settings(url, max_duplicates=2))


def test_a_quota_error_is_not_an_attempt_and_an_absurd_pause_is_capped(tmp_path: Path, state: State, url: str) -> None:
    state.settings.plan = FaultPlan({"a": ["429_absurd"] * 8})
    config = settings(url, retry=RetryConfig(deadline_s=20, backoff_s=0.01, max_wait_s=0.05))
    assert run(data_folder(tmp_path, ["a"]), config) == {"a": "succeeded"}
    assert state.requests["a"] == 9


def test_an_announced_pause_is_respected(tmp_path: Path, state: State, url: str) -> None:
    state.settings.plan = FaultPlan({"a": ["429_retry"]})  # 0.2 s
    run(data_folder(tmp_path, ["a"]), settings(url))
    first, second = (when for when, _ in state.arrivals)
    assert second - first >= 0.2


def test_a_slow_or_silent_server_is_given_up_at_the_deadline(tmp_path: Path, state: State, url: str) -> None:
    state.settings.plan = FaultPlan({"a": ["drip"], "b": ["silence"]})
    config = settings(url, retry=RetryConfig(deadline_s=1.0, backoff_s=0.01, max_wait_s=0.1))
    data = data_folder(tmp_path, ["a", "b"])
    assert run(data, config) == {"a": "succeeded", "b": "succeeded"}
    with ledger(data, config) as db:
        errors = db.execute("SELECT error_class, cost_usd FROM attempt WHERE error_class!=''").fetchall()
    assert [kind for kind, _ in errors] == ["transient"] * 2
    assert all(cost > 0 for _, cost in errors), "a broken connection may have been billed"


def test_an_unreadable_video_is_tried_once_more_as_a_proxy(tmp_path: Path, state: State, url: str) -> None:
    import numpy as np

    data = data_folder(tmp_path, ["a", "b"])
    frames = np.random.default_rng(0).integers(0, 255, (50, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "videos" / "a.mp4", frames, 25.0)
    digest = hashlib.md5((tmp_path / "videos" / "a.mp4").read_bytes()).hexdigest()
    state.settings.plan = FaultPlan({digest: ["400_media"], "b": ["400_media"]})
    config = settings(url, max_concurrency=1)
    assert run(data, config) == {"a": "succeeded", "b": "failed_permanent"}  # b is not a video, so it has no proxy
    with ledger(data, config) as db:
        rows = {row.video_id: row.record for row in reading.results(db, recipe_of(config).name)}
    assert rows["a"]["proxy"] == {"fps": 1.0, "short_side": 480, "codec": "h264", "sound": None}
    assert rows["b"]["proxy"] is None


def test_a_changed_prompt_makes_new_tasks_and_old_results_stay(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, ["a"])
    run(data, settings(url))
    run(data, settings(url))
    assert state.requests["a"] == 1
    run(data, settings(url, generation={"max_output_tokens": 700}))
    assert state.requests["a"] == 2
    assert states(data, settings(url)) == {"a": "succeeded"}


def test_a_mix_copies_the_answers_of_its_sources(tmp_path: Path, state: State, url: str) -> None:
    config = settings(url)
    state.settings.plan = FaultPlan({"c": ["blocked"]})
    old, new = data_folder(tmp_path / "old", ["a", "b", "c"]), data_folder(tmp_path / "new", ["d", "e"])
    run(old, config)
    parts = {"old": MixPart(dir=old.dir), "new": MixPart(dir=new.dir)}
    mix = MixDataConfig(name="mix", dir=str(tmp_path / "mix"), videos=str(tmp_path), sources=parts)
    draw_mix(mix)
    assert estimate_run(mix, config, mix.manifest_path).videos == 2

    found = run(mix, config)

    assert found == {"a": "succeeded", "b": "succeeded", "c": "blocked", "d": "succeeded", "e": "succeeded"}
    assert state.requests == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}
    captions, before = (read_captions(data.captions_path("gemini")) for data in (mix, old))
    assert captions.keys() == {"a", "b", "d", "e"}
    assert captions["a"] == before["a"]
    with ledger(mix, config) as db:
        assert reading.spent_usd(db) == pytest.approx(sum(_cost(db, video_id) for video_id in ("d", "e")))
        assert _cost(db, "a") > 0, "the record of a video has its cost, whichever ledger paid"
    assert run(old, config) == {"a": "succeeded", "b": "succeeded", "c": "blocked"}


def _cost(db: sqlite3.Connection, video_id: str) -> float:
    (record,) = db.execute(
        "SELECT record FROM result JOIN task USING (task_key) WHERE video_id=?", (video_id,)
    ).fetchone()
    return float(json.loads(record)["cost_usd"])


def test_videos_in_final_states_can_be_tried_again(tmp_path: Path, state: State, url: str) -> None:
    state.settings.plan = FaultPlan({"a": ["blocked"]})
    data = data_folder(tmp_path, ["a", "b"])
    assert run(data, settings(url))["a"] == "blocked"
    assert run(data, settings(url, retry_states=["blocked"]))["a"] == "succeeded"


def test_a_ledger_is_used_by_one_process_at_a_time(tmp_path: Path, state: State, url: str) -> None:
    from sg.caption.hosted.asking import only_one

    data, config = data_folder(tmp_path, ["a"]), settings(url)
    with only_one(ledger_path(data, config)), pytest.raises(ConfigError, match="Another process"):
        run(data, config)


def test_another_service_writes_the_same_ledger(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, ["a", "b"])
    state.settings.plan = FaultPlan({"a": ["503", "max_tokens"]})
    config = settings(f"{url}/v1", OpenAICompatibleCaptionerConfig, name="own", on_model_drift="record")
    assert set(run(data, config).values()) == {"succeeded"}
    assert state.requests["a"] == 3
