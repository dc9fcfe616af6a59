"""`evaluate.py served=URL`: rows, requests, faults of the server, and the same letters as a local model."""

import base64
import contextlib
import io
import json
import math
import multiprocessing
import re
import signal
import sqlite3
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sg.artefacts.predictions import Prediction, read_predictions
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.caption.hosted.asking import only_one
from sg.caption.hosted.prices import PriceConfig
from sg.caption.hosted.settings import QuotaConfig, RetryConfig
from sg.core.errors import ConfigError, DataError, ExitCode, SgError, disk_problem
from sg.core.fingerprints import fingerprint
from sg.core.places.config import PathsConfig
from sg.evaluate.answering import letter_ids
from sg.evaluate.benchmark import read_benchmark
from sg.evaluate.benchmarks.custom import CustomBenchmarkConfig
from sg.evaluate.config import AnsweringConfig
from sg.models.answering import Answerer, EncodedPrompt
from sg.models.student import STUDENTS
from sg.study.evaluation import EvaluateConfig, evaluate_checkpoint, evaluate_server
from sg.study.served.questions import letter_logprobs
from sg.study.served.settings import ServerConfig
from sg.video.reader import read_frames
from sg.video.writer import write_video
from tests.study.served.server import (
    FAULTS,
    Server,
    choice,
    letter_for,
    number_of,
    pictures_of,
    serving,
    text_of,
)
from tests.study.test_evaluation import MODEL, world  # noqa: F401  # the fixture `world`
from tests.study.test_evaluation import settings_of as local_settings

PER_VIDEO = 4


def questions_folder(folder: Path, videos: int = 3, per_video: int = PER_VIDEO) -> Path:
    """A folder of `benchmark=custom`: small videos of one colour with several questions each."""
    (folder / "videos").mkdir(parents=True)
    lines = []
    for video in range(videos):
        write_video(folder / "videos" / f"{video}.mp4", np.full((6, 48, 64, 3), 60 * (video % 4), np.uint8), 2)
        for number in range(per_video):
            question = {"question": f"Is {number} shown in {video}?", "options": ["yes", "no"], "answer": "yes"}
            lines.append(json.dumps({"video": f"videos/{video}.mp4", "question_id": f"{video}-{number}", **question}))
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def settings_of(folder: Path, url: str, probes: list[str] | None = None, **server: Any) -> EvaluateConfig:
    answering = AnsweringConfig(settings=["without_subtitles"], probes=probes or [])
    server = {"retry": RetryConfig(deadline_s=6.0, backoff_s=0.01, max_wait_s=0.1), "frames": 2, "logprobs": 0} | server
    return EvaluateConfig(
        served=url,
        output=str(folder / "out"),
        model=replace(MODEL, name="org/model"),
        server=ServerConfig(**server),
        benchmark=CustomBenchmarkConfig("own", str(folder / "own"), answering=answering),
        paths=PathsConfig(work=str(folder / "work"), runs=str(folder / "runs")),
    )


def rows_in(folder: Path) -> list[Prediction]:
    return read_predictions(folder / "out" / "predictions.jsonl")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    questions_folder(tmp_path / "own")
    return tmp_path


def test_every_question_is_asked_once_with_its_frames_and_becomes_a_row(own: Path) -> None:
    with serving(Server()) as server:
        scores = evaluate_server(settings_of(own, server.url))
        assert evaluate_server(settings_of(own, server.url)) == scores  # answered: nothing is asked again
    rows = rows_in(own)
    assert len(server.requests) == len(rows) == 12
    assert [row.question_id for row in rows] == [f"{video}-{number}" for video in range(3) for number in range(4)]
    asked = {text_of(body): body for body in server.requests}
    for row in rows:
        video, number = row.question_id.split("-")
        body = next(body for text, body in asked.items() if f"Is {number} shown in {video}?" in text)
        assert (row.letter, row.response) == (letter_for(body), letter_for(body))
        assert (len(pictures_of(body)), len(row.frames)) == (2, 2)
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("org/model", 0, 16)
        assert [message["role"] for message in body["messages"]] == ["user"]
    assert server.keys == {""}
    right = sum(row.letter == "A" for row in rows)
    assert scores["without_subtitles"]["overall"] == pytest.approx(100 * right / 12)
    assert json.loads((own / "out" / "scores.json").read_text())["model"]["settings"]["model"]["name"] == "org/model"


def test_answers_whose_ledger_is_gone_are_not_paid_for_again(own: Path) -> None:
    with serving(Server()) as server:
        evaluate_server(settings_of(own, server.url))
        (own / "out" / "ledger.sqlite").unlink()
        with pytest.raises(
            DataError, match=r"predictions\.jsonl has 12 answers, but the ledger .*ledger\.sqlite is gone"
        ):
            evaluate_server(settings_of(own, server.url))
        assert len(server.requests) == 12
        (own / "out" / "predictions.jsonl").unlink()
        evaluate_server(settings_of(own, server.url))
    assert len(server.requests) == 24


def test_an_older_ledger_than_the_answers_is_noticed(own: Path) -> None:
    with serving(Server()) as server:
        evaluate_server(settings_of(own, server.url))
        (own / "out" / "scores.json").unlink()
        with contextlib.closing(sqlite3.connect(own / "out" / "ledger.sqlite")) as ledger, ledger:
            ledger.execute("DELETE FROM result WHERE task_key IN (SELECT task_key FROM task WHERE position=5)")
            ledger.execute("UPDATE task SET state='pending' WHERE position=5")
        with pytest.raises(DataError, match=r"predictions\.jsonl has 12 answers, but the ledger .* does not know 1 of"):
            evaluate_server(settings_of(own, server.url))
    assert len(server.requests) == 12


def test_answers_with_other_settings_do_not_stop_new_ones(own: Path) -> None:
    with serving(Server()) as server:
        evaluate_server(settings_of(own, server.url))
        evaluate_server(settings_of(own, server.url, frames=3))
    assert len(server.requests) == 24


def test_damaged_answers_are_written_again_from_an_intact_ledger(own: Path) -> None:
    path = own / "out" / "predictions.jsonl"
    with serving(Server()) as server:
        evaluate_server(settings_of(own, server.url))
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"Is", b"As", 1) if b"Is" in whole else whole[:-100])
        evaluate_server(settings_of(own, server.url))
    assert path.read_bytes() == whole
    assert len(server.requests) == 12


def test_a_folder_in_the_place_of_the_ledger_is_one_sentence(own: Path) -> None:
    with serving(Server()) as server:
        evaluate_server(settings_of(own, server.url))
        (own / "out" / "ledger.sqlite").unlink()
        (own / "out" / "ledger.sqlite").mkdir()
        with pytest.raises(
            DataError, match=r"has 12 answers, but the ledger .*ledger\.sqlite does not know 12 of them"
        ):
            evaluate_server(settings_of(own, server.url))
        (own / "out" / "predictions.jsonl").unlink()
        with pytest.raises(IsADirectoryError) as caught:
            evaluate_server(settings_of(own, server.url))
        assert re.search(
            r"out/ledger\.sqlite cannot be read or written \(Is a directory\)", str(disk_problem(caught.value))
        )
    assert len(server.requests) == 12


def test_faults_of_the_server_change_no_row_and_no_answer_is_paid_twice(own: Path) -> None:
    with serving(Server()) as calm:
        evaluate_server(settings_of(own, calm.url))
    undisturbed = (own / "out" / "predictions.jsonl").read_bytes()
    with serving(Server(faulty=True)) as server:
        evaluate_server(replace(settings_of(own, server.url), output=str(own / "again")))
    assert (own / "again" / "predictions.jsonl").read_bytes() == undisturbed
    assert len(server.requests) > 12  # some were refused, cut or late
    assert set(server.paid) == set(server.tries)
    # Only an answer after the deadline is asked for, and paid for, again.
    assert {FAULTS[number_of(key) % len(FAULTS)] for key, count in server.paid.items() if count > 1} <= {"slow"}


def test_a_killed_evaluation_continues_with_what_has_no_answer(own: Path) -> None:
    with serving(Server()) as calm:
        evaluate_server(settings_of(own, calm.url))
    undisturbed = (own / "out" / "predictions.jsonl").read_bytes()
    with serving(Server(faulty=True, faults=("429", "html", "reset", "empty", "", ""), pause_s=0.02)) as server:
        config = replace(settings_of(own, server.url, max_concurrency=2), output=str(own / "again"))
        for answered in (3, 7):
            child = multiprocessing.get_context("fork").Process(target=evaluate_server, args=(config,))
            child.start()
            while child.is_alive() and len(server.paid) < answered:
                time.sleep(0.002)
            child.kill()
            child.join()
            assert child.exitcode == -signal.SIGKILL
        evaluate_server(config)
    assert (own / "again" / "predictions.jsonl").read_bytes() == undisturbed
    assert len(server.paid) == 12
    assert sum(server.paid.values()) <= 12 + 2 * 2  # what was in flight at a kill may be paid for twice


@pytest.mark.parametrize(
    ("answered", "status", "letter"),
    [
        (choice(""), "ok", ""),
        (choice(None, "stop"), "ok", ""),
        (choice("B. no", "length"), "ok", "B"),
        (choice(None, "content_filter"), "error", ""),
        ({"message": {"content": "A"}, "finish_reason": None}, "error", ""),
    ],
    ids=["empty", "null", "cut", "refused", "unfinished"],
)
def test_odd_answers_are_rows_of_their_own(own: Path, answered: dict[str, Any], status: str, letter: str) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return answered if "Is 1 shown in 1?" in text_of(body) else choice("A")

    with serving(Server(answer=answer)) as server:
        evaluate_server(settings_of(own, server.url))
    row = next(row for row in rows_in(own) if row.question_id == "1-1")
    assert (row.status, row.letter) == (status, letter)
    assert bool(row.reason) is (status == "error")


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x/v1", "http://", "http://h:99999/v1", "http://u:p@h/v1"])
def test_what_is_no_address_is_refused_under_the_name_of_its_key(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^served should be an address such as"):
        EvaluateConfig(served=url, benchmark=CustomBenchmarkConfig("own", "folder"))


def test_impossible_settings_of_a_server_are_named_as_the_user_knows_them() -> None:
    for wrong, name in (({"max_concurrency": 0}, r"server\.min_concurrency"), ({"frames": 10**9}, r"server\.frames")):
        with pytest.raises(ConfigError, match=name):
            ServerConfig(**wrong)


def test_the_answer_of_another_model_stops_the_run_and_is_not_a_row(own: Path) -> None:
    with serving(Server(model="gpt-other")) as server:
        with pytest.raises(SgError, match=r"gpt-other answered instead of org/model.*server\.on_model_drift") as stop:
            evaluate_server(settings_of(own, server.url, max_concurrency=1))
        assert stop.value.exit_code == ExitCode.MODEL_DRIFT
        assert not any(row.letter for row in rows_in(own))
        server.model = None
        evaluate_server(settings_of(own, server.url))
    assert [row.status for row in rows_in(own)] == ["ok"] * 12


def test_probabilities_of_the_letters_are_read_where_the_server_gives_them(own: Path) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return choice("A", tokens={"A": math.log(0.5), " A": math.log(0.1), "B": math.log(0.3), "The": math.log(0.1)})

    with serving(Server(answer=answer)) as server:
        evaluate_server(settings_of(own, server.url, logprobs=5))
    assert {(body["logprobs"], body["top_logprobs"]) for body in server.requests} == {(True, 5)}
    assert rows_in(own)[0].letter_logits == pytest.approx((math.log(0.6), math.log(0.3)), abs=1e-4)
    assert letter_logprobs({"A": -0.1}, "AB") == ()  # B is unknown, not impossible


def test_probes_show_black_frames_other_videos_or_none_and_shuffled_letters_are_translated(own: Path) -> None:
    probes = ["zeroed_video", "swapped_video", "no_video", "shuffled_options"]
    with serving(Server(answer=lambda body: choice("A"))) as server:
        evaluate_server(settings_of(own, server.url, probes))
    rows = rows_in(own)
    assert Counter(row.setting for row in rows) == dict.fromkeys(["without_subtitles", *probes], 12)
    by_setting: dict[str, set[str]] = {}
    for row in rows:
        by_setting.setdefault(row.setting, set()).add(row.letter)
    assert by_setting["without_subtitles"] == {"A"}
    assert by_setting["shuffled_options"] == {"B"}  # two options: every order is the other one
    assert {len(pictures_of(body)) for body in server.requests} == {0, 2}
    assert len({url for body in server.requests for url in pictures_of(body)}) <= 2 * 3


def test_a_whole_video_is_sent_where_the_server_wants_it(own: Path) -> None:
    with serving(Server()) as server:
        evaluate_server(settings_of(own, server.url, media="video"))
    parts = [part["type"] for body in server.requests for part in body["messages"][0]["content"]]
    assert Counter(parts) == {"video_url": 12, "text": 12}


def test_quota_budget_key_and_permission_are_those_of_captioning(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"server\.i_have_rights=true"):
        evaluate_server(settings_of(own, "https://models.example.org/v1"))
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", "sk-" + "x" * 40)
    with serving(Server()) as server:
        limited = settings_of(own, server.url, quota=QuotaConfig(rpm=None, tpm=None, rpd=5, on_daily_quota="stop"))
        with pytest.raises(SgError, match="daily quota") as stop:
            evaluate_server(limited)
        assert stop.value.exit_code == ExitCode.QUOTA
        assert 0 < len(server.requests) <= 5
        evaluate_server(settings_of(own, server.url))
    assert len(server.requests) == 12
    assert server.keys == {"Bearer sk-" + "x" * 40}
    assert "x" * 40 not in "".join(path.read_text(errors="replace") for path in own.rglob("*") if path.is_file())


def test_messages_about_questions_do_not_speak_of_captions(own: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with serving(Server(usage={})) as server:
        evaluate_server(settings_of(own, server.url))
        evaluate_server(settings_of(own, server.url, frames=1))
    assert "12 answers cost what was estimated" in caplog.text
    assert "has 12 answers of another prompt, model, setting or version" in caplog.text
    priced = replace(ServerConfig().model, prices=[PriceConfig(1e4, 1e4, read_on="2026-11-22", source="test")])
    messages = [record.getMessage() for record in caplog.records]
    with serving(Server()) as server:
        for budget, found in ((None, "Asking these 12 questions costs about"), (3.0, "The answers so far are kept")):
            priced_run = settings_of(own, server.url, frames=3, model=priced, budget_usd=budget)
            with pytest.raises(SgError, match=found) as stop:
                evaluate_server(priced_run)
            messages.append(str(stop.value))
    with only_one(own / "out" / "ledger.sqlite"), pytest.raises(ConfigError, match="Another process is asking") as busy:
        evaluate_server(settings_of(own, server.url, frames=3))
    assert "caption" not in "".join([*messages, str(busy.value)])


def test_the_same_checkpoint_gives_the_same_letters_locally_and_through_a_server(world: Path, tmp_path: Path) -> None:  # noqa: F811
    config = local_settings(world, tmp_path, probes=["no_video", "shuffled_options"])
    evaluate_checkpoint(config)
    local = {row.key: row for row in rows_in(tmp_path)}
    with serving(Server(answer=OwnStudent(config).answer)) as server:
        own = ServerConfig(frames=None, short_side=None, picture="png", logprobs=0, max_concurrency=2)
        evaluate_server(replace(config, checkpoint=None, served=server.url, server=own, output=str(tmp_path / "out2")))
    served = {row.key: row for row in read_predictions(tmp_path / "out2" / "predictions.jsonl")}
    assert {key: row.letter for key, row in served.items()} == {key: row.letter for key, row in local.items()}
    assert len({row.letter for row in local.values()}) > 1
    assert {key: (row.prompt_hash, row.frames) for key, row in served.items()} == {
        key: (row.prompt_hash, row.frames) for key, row in local.items()
    }


class OwnStudent:
    """Answers requests with our own student: pixels and prompt come from the request alone."""

    def __init__(self, config: EvaluateConfig) -> None:
        self.lock = threading.Lock()
        kind = STUDENTS.of(MODEL)
        self.processor, self.student = kind.processor(MODEL), kind.load(MODEL, config.checkpoint)
        letters = list(letter_ids(self.processor).values())
        self.answerer = Answerer(self.student, letters=letters, stop_at_first_letter=True, sampling=None)
        # The noise of token merging is seeded by the name of a video, which no request has: found by its frames.
        self.names: dict[str, tuple[str, ClipFacts]] = {}
        for video in read_benchmark(config.benchmark).videos:
            assert video.path is not None
            found = read_frames(video.path, self.processor.frames)
            facts = ClipFacts(tuple(found.indices), found.fps, found.num_frames, found.width, found.height)
            self.names[fingerprint(found.frames.tobytes().hex())] = (video.clip_key("demo"), facts)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        images = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in pictures_of(body)]
        clip = None
        with self.lock:
            if images:
                frames = np.stack([np.asarray(image.convert("RGB")) for image in images])
                key, facts = self.names[fingerprint(frames.tobytes().hex())]
                pixels = ClipTensors(key, facts, self.processor.pixels(frames, facts), are_features=False)
                clip = self.student.features([pixels])[0]
            prompt = self.processor.question(text_of(body), clip)
            encoded = EncodedPrompt(prompt.ids, "clip", "one", body["max_tokens"], 4, 0)
            (generated,) = self.answerer.answer([encoded], {"clip": clip})
        return choice(self.processor.decode(generated.ids))
