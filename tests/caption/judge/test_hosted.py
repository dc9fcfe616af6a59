"""A service as a judge: one request per caption with its claims, through a ledger of its own."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from sg.artefacts.captions import read_captions
from sg.artefacts.judged import judged_path, read_judged
from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.caption.captioners import captioner_of
from sg.caption.judge.claims import split_claims
from sg.caption.judge.facts import judge_caption
from sg.caption.judge.run import judge_captions
from sg.caption.local.demo import DemoCaptionerConfig
from sg.caption.local.given import GivenCaptionerConfig
from sg.core.errors import ConfigError
from sg.core.tracking import LoggerConfig
from sg.demo.world import VideoSpec
from sg.sources.config import DataConfig
from tests.caption.hosted.builder import settings
from tests.caption.hosted.fake_gemini import answers
from tests.caption.hosted.fake_gemini.faults import FORMS, FaultPlan
from tests.caption.hosted.fake_gemini.http import Response
from tests.caption.hosted.fake_gemini.state import State
from tests.caption.judge.test_facts import drawn

CSV = LoggerConfig(kind="csv")
NOISY = DemoCaptionerConfig(noise="wrong_attribute", noise_rate=0.3)


def data_with(folder: Path, specs: dict[str, VideoSpec]) -> DataConfig:
    rows = []
    for name, spec in specs.items():
        (folder / f"{name}.mp4").write_bytes(b"clip:%s;" % name.encode())
        rows.append(VideoRecord(name, "demo", f"{name}.mp4", 8.0, 64, 64, 2.0, 16, extra=spec.to_json()))
    write_manifest(folder / "manifest.parquet", rows)
    return DataConfig(name="demo", dir=str(folder), videos=str(folder))


def answering(verdicts: list[str]) -> str:
    """The name of a form of the service that answers with these verdicts."""
    text = "\n".join(f"{number}. {verdict}" for number, verdict in enumerate(verdicts, start=1))
    name = f"ok_verdicts_{random.Random(text).random()}"
    FORMS[name] = lambda item, model: Response(200, answers.encoded(answers.answer(text, model, 1250)))
    return name


def test_a_service_judges_the_claims_once_and_is_measured_by_the_facts(tmp_path: Path, state: State, url: str) -> None:
    specs = drawn(12)
    data = data_with(tmp_path, specs)
    path = captioner_of(NOISY).captions(data)
    truth = {name: judge_caption(name, text, specs[name]) for name, text in read_captions(path).items()}
    script = {name: [answering(list(row.verdicts))] for name, row in truth.items()}
    script["v0"] = [answering(["true"]), *script["v0"]]  # not one verdict per claim: asked again, more strictly
    state.settings.plan = FaultPlan(script)

    text = judge_captions(data, NOISY, settings(url), CSV)

    rows = list(read_judged(judged_path(path, "gemini")))
    assert {row.video_id: row.verdicts for row in rows} == {name: row.verdicts for name, row in truth.items()}
    assert state.requests["v0"] == 2 and sum(state.requests.values()) == 13
    asked = state.bodies[0]["contents"][0]["parts"][1]["text"]
    assert "1. a scene is at the" in asked and "one line per statement" in asked
    assert all(row.cost_usd > 0 for row in rows) and rows[0].judge == "gemini (gemini-3.5-flash-lite)"
    assert "accuracy 1.000, precision 1.000, recall 1.000" in text
    judge_captions(data, NOISY, settings(url), CSV)
    assert sum(state.requests.values()) == 13, "verdicts are bought once"


def test_captions_in_plain_words_are_split_by_rule_and_judged(tmp_path: Path, state: State, url: str) -> None:
    caption = "A man in a red coat crosses a street, while a dog waits. He enters a shop."
    claims = split_claims(caption)
    assert claims == ["A man in a red coat crosses a street", "a dog waits", "He enters a shop"]
    (tmp_path / "a.mp4").write_bytes(b"clip:a;")
    rows = [VideoRecord("a", "x", "a.mp4", 8.0, 64, 64, 2.0, 16, original_caption=caption, extra=json.dumps({}))]
    write_manifest(tmp_path / "manifest.parquet", rows)
    data = DataConfig(name="x", dir=str(tmp_path), videos=str(tmp_path))
    state.settings.plan = FaultPlan({"a": [answering(["true", "unclear", "false"])]})
    text = judge_captions(data, GivenCaptionerConfig(), settings(url), CSV)
    assert "precision   0.5000" in text and "false: He enters a shop (a)" in text and "AUC" not in text
    with pytest.raises(ConfigError, match="Judging sends your videos"):
        judge_captions(data, GivenCaptionerConfig(), settings(url, i_have_rights=False), CSV)
    with pytest.raises(ConfigError, match="asks no service"):
        judge_captions(data, GivenCaptionerConfig(), DemoCaptionerConfig(), CSV)
