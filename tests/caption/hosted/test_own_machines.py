"""Models on machines of one's own: in this process, and servers that read the videos themselves, priced by the hour."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from sg.artefacts.captions import read_captions
from sg.artefacts.dialogs import Dialog, Turn
from sg.caption.hosted.captioners.openai_compatible import OpenAICompatibleCaptionerConfig
from sg.caption.hosted.run import ledger_path
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.errors import ConfigError
from sg.demo.world import VALUES
from sg.models.clips import decode_clip
from sg.models.student import STUDENTS, TrainingSample
from sg.models.students.hf import HfConfig
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini.running import in_thread
from tests.caption.hosted.fake_gemini.state import State
from tests.caption.local.test_student import video
from tests.study.commands import ROOT, environment, run

USD_PER_HOUR = 3600.0  # one dollar per second


def own(urls: list[str], **values: object) -> HostedCaptionerConfig:
    given = {
        "name": "vllm",
        "base_url": None,
        "servers": [f"{url}/v1" for url in urls],
        "transport": "path",
        "budget_usd": None,
    } | values
    return settings("", OpenAICompatibleCaptionerConfig, **given)


def costs(path: Path) -> list[float]:
    with sqlite3.connect(path) as db:
        return [cost for (cost,) in db.execute("SELECT cost_usd FROM attempt WHERE cost_usd > 0")]


def test_several_servers_read_the_files_at_their_paths_and_cost_gpu_seconds(
    tmp_path: Path, state: State, url: str
) -> None:
    data = data_folder(tmp_path / "my videos", [f"v{number}" for number in range(12)])
    other = State()
    state.settings.latency_s = other.settings.latency_s = 0.05
    with in_thread(other) as second:
        config = own([url, second], usd_per_hour=USD_PER_HOUR, gpus=2, budget_gpu_hours=1.0, max_concurrency=4)
        path = caption(data, config)
    assert len(read_captions(path)) == 12
    assert state.paid + other.paid == Counter(f"v{number}" for number in range(12))
    assert len(state.paid) > 2 and len(other.paid) > 2
    uris = state.addresses + other.addresses
    assert uris == Counter((Path(data.videos) / f"v{number}.mp4").as_uri() for number in range(12))
    tokens = 12 * (1000 * 0.30 + 600 * 2.50) / 1e6  # at most
    gpu_seconds = sum(costs(ledger_path(data, config))) - tokens
    # Two servers of two GPUs; each is busy for at least three rounds of 0.05 s, and requests in flight share them.
    assert gpu_seconds > 0.5


def test_a_server_reads_videos_at_their_urls(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, ["a", "b"])
    data.videos = "https://host/clips"
    assert len(read_captions(caption(data, own([url])))) == 2
    assert dict(state.addresses) == {f"https://host/clips/{name}.mp4": 1 for name in "ab"}


def test_a_server_that_does_not_answer_is_left_to_the_other(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, ["a", "b", "c"])
    assert len(read_captions(caption(data, own(["http://127.0.0.1:9", url])))) == 3


def test_a_budget_in_gpu_hours_ends_a_run(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, [str(number) for number in range(40)])
    state.settings.latency_s = 0.05
    config = own([url], usd_per_hour=USD_PER_HOUR, budget_gpu_hours=0.2 / 3600, max_concurrency=1, assumed_gpu_s=0.05)
    with pytest.raises(Exception, match="budget"):
        caption(data, config)
    assert 0 < len(state.paid) < 10


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"budget_gpu_hours": 1.0}, r"needs captioner\.usd_per_hour"),
        (
            {"budget_gpu_hours": 1.0, "usd_per_hour": 2.0, "budget_usd": 5.0},
            r"replaces captioner\.budget_usd",
        ),
        ({"usd_per_hour": -1.0}, "should be at least 0"),
        ({"servers": ["ftp://x"]}, "should be an address"),
    ],
)
def test_impossible_settings_are_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        own(["http://localhost:1"], **values)


def test_services_of_others_read_no_paths() -> None:
    with pytest.raises(ConfigError, match="servers of your own"):
        settings("http://localhost:1", transport="path")


PROMPT = """---
id: short
version: 1
language: en
changelog: of a test
---
# system
Name

# user
Describe

# audio: silent
Name

# audio: sound
Name

# stricter
Name
"""
CAPTION = " ".join([word for values in VALUES.values() for word in values][:44]) + " ."
"""Words of the demo that pass the gates: as many as they ask for, and none twice."""


def make_videos(folder: Path, count: int) -> None:
    """Write videos of one to three seconds into a new folder, and a file that is not a video."""
    folder.mkdir()
    for number in range(count):
        video(folder / f"v{number}.mp4", 1 + number % 3, number)
    (folder / "broken.mp4").write_bytes(b"not a video")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo's Qwen3-VL after it learnt one caption for all videos, and a prompt file."""
    folder = tmp_path_factory.mktemp("hf")
    config = HfConfig(checkpoint="sg/demo/assets/tiny_qwen3_vl")
    torch.manual_seed(0)
    student = STUDENTS.of(config).load(config)
    processor = student.processor
    turns = (Turn("human", "<video>\nName\n\nDescribe"), Turn("gpt", CAPTION))
    samples = []
    for seconds in (1, 2, 3):
        clip = decode_clip("x", video(folder / f"{seconds}.mp4", seconds, seconds), processor)
        dialog = processor.encode(Dialog("x", "video", "x.mp4", turns), clip.facts, 512)
        samples.append(TrainingSample(dialog, clip))
    optimiser = torch.optim.AdamW(student.module.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        loss, _ = student.loss(processor.collate(samples, 512))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.05
    student.module.save_pretrained(folder / "model")
    processor.save(folder / "model")
    (folder / "prompt.md").write_text(PROMPT, encoding="utf-8")
    return folder / "model", folder / "prompt.md"


def answered(ledger: Path) -> dict[str, float]:
    """By key when each answer came; {} before the ledger exists."""
    if not ledger.is_file():
        return {}
    with contextlib.closing(sqlite3.connect(ledger)) as db, contextlib.suppress(sqlite3.OperationalError):
        return dict(db.execute("SELECT task_key, created FROM result"))
    return {}


def killed_after(command: list[str], ledger: Path, answers: int) -> dict[str, float]:
    """Run the command, send SIGKILL as soon as the ledger has that many answers, and return those it has then."""
    child = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment(), start_new_session=True)
    while len(answered(ledger)) < answers and child.poll() is None:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return answered(ledger)


def test_a_model_in_this_process_is_killed_and_resumes_and_answers_nothing_twice(
    tmp_path: Path, taught: tuple[Path, Path]
) -> None:
    model, prompt = taught
    make_videos(tmp_path / "videos", 24)
    command = [
        "-m", "sg.caption", "data=folder", f"data.videos={tmp_path / 'videos'}", f"paths.work={tmp_path / 'work'}",
        "captioner=hf", "model@captioner.student=tiny_qwen3_vl",
        f"captioner.student.checkpoint={model}",
        f"captioner.prompt={prompt}", "captioner.batch_size=2", "captioner.max_concurrency=4",
        "captioner.language=null", "captioner.max_duplicates=100",
        "captioner.usd_per_hour=3600", "captioner.budget_usd=1000", "logger=csv",
    ]  # fmt: skip
    ledger = tmp_path / "work/folder/captions/hf_tiny_qwen3_vl/ledger.sqlite"
    before = killed_after(command, ledger, answers=4)
    assert 3 < len(before) < 24
    done = run(command)
    assert done.returncode == 0, done.stderr
    captions = read_captions(ledger.with_name("captions.parquet"))
    assert len(captions) == 24 and set(dict(captions).values()) == {CAPTION}
    with sqlite3.connect(ledger) as db:
        after = dict(db.execute("SELECT task_key, created FROM result"))
        of_answers = "SELECT task_key, count(*) FROM attempt WHERE http_code = 200 GROUP BY task_key"
        answers = db.execute(of_answers).fetchall()
    assert {key: after[key] for key in before} == before
    assert {count for _, count in answers} == {1}
    assert all(cost > 0 for cost in costs(ledger))
    paid = costs(ledger)
    assert run(command).returncode == 0 and costs(ledger) == paid
