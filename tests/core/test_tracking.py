"""A run is logged offline when W&B cannot be reached or refuses the key."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sg.core import tracking
from sg.core.tracking import FINISH_TIMEOUT_S, INIT_TIMEOUT_S, LoggerConfig, Tracker

PROGRAM = """
import logging, pathlib, sys
import sg.core.tracking
from sg.core.tracking import LoggerConfig, Tracker
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
sg.core.tracking.INIT_TIMEOUT_S = 3
folder = pathlib.Path(sys.argv[1])
for name in ("first", "second"):
    with Tracker(LoggerConfig(), folder / name, name=name, group="g", job_type="train", settings={}) as tracker:
        tracker.log({"train/loss": 1.5})
"""


class Service(http.server.BaseHTTPRequestHandler):
    """A service that refuses every key; with `takes_runs` one that takes runs."""

    takes_runs = False

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.takes_runs:
            self.send_error(401)
            return
        project = {"id": "p", "name": "sharegemini", "entity": {"id": "e", "name": "me"}}
        name = json.loads(asked)["variables"].get("name", "r") if self.path == "/graphql" else "r"
        bucket = {"id": "b", "name": name, "displayName": "r", "config": "{}", "project": project}
        answer = json.dumps({"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def log_message(self, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a service that refuses every key."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def unreachable() -> str:
    """The address of a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("service", ["unreachable", "refusing"])
def test_a_run_with_a_key_is_logged_offline_if_the_service_does_not_take_it(
    service: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment |= {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": request.getfixturevalue(service)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if "offline" in line]
    assert len(lines) == 2  # one per run
    assert all("so this run is logged offline; publish it with: wandb sync" in line for line in lines)
    assert not any("no key" in line for line in lines)
    assert "Traceback" not in done.stdout + done.stderr
    for name in ("first", "second"):
        assert len(list((tmp_path / name / "wandb").glob("offline-run-*/*.wandb"))) == 1
        assert "train/loss,1.5" in (tmp_path / name / "metrics.csv").read_text()
    # The second run does not wait for the service again, and runs wait for seconds.
    assert not list((tmp_path / "second" / "wandb").glob("run-*"))
    assert INIT_TIMEOUT_S <= 15


def test_a_run_ends_within_its_limit_if_the_network_goes_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert FINISH_TIMEOUT_S <= 300
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(Service, "takes_runs", True)
    monkeypatch.setattr(tracking, "FINISH_TIMEOUT_S", 2)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    with Tracker(LoggerConfig(), tmp_path, name="n", group="g", job_type="train", settings={}) as tracker:
        server.shutdown()
        server.server_close()
        thread.join()
        tracker.log({"train/loss": 1.5})
    (folder,) = (tmp_path / "wandb").glob("run-*")
    # Whether the service of W&B notices the end of the network within the limit differs between runs.
    warned = [record.getMessage() for record in caplog.records if "did not end within" in record.getMessage()]
    assert all(f"2 s; complete it with: wandb sync {folder}" in line for line in warned)
    assert list(folder.glob("*.wandb"))
    assert "train/loss,1.5" in (tmp_path / "metrics.csv").read_text()


DYING_SERVICE = """
import logging, os, pathlib, signal, subprocess, sys, time
from sg.core.tracking import LoggerConfig, Tracker
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
folder = pathlib.Path(sys.argv[1])
for name in ("first", "second"):
    with Tracker(
        LoggerConfig(mode="offline"), folder / name, name=name, group="g", job_type="train", settings={}
    ) as tracker:
        if name == "first":
            children = subprocess.run(
                ["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="], capture_output=True, text=True, check=True
            ).stdout
            (service,) = [int(line.split()[0]) for line in children.splitlines() if "wandb-core" in line]
            os.kill(service, signal.SIGKILL)
            os.waitpid(service, 0)
        tracker.log({"train/loss": 1.5})
        tracker.summary({"score": 2.5})
        tracker.table("rows", ["a"], [[1]])
print("the job ended")
"""


def test_a_job_goes_on_if_the_process_of_wandb_dies(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-c", DYING_SERVICE, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the job ended" in done.stdout
    for name, sentence in (("first", "W&B: its process ended"), ("second", "W&B: it cannot start")):
        assert sentence in done.stdout
        written = (tmp_path / name / "metrics.csv").read_text()
        assert "train/loss,1.5" in written and "score,2.5" in written


ENDED_TOGETHER = """
import os, pathlib, signal, subprocess, sys, threading
from sg.core.tracking import LoggerConfig, Tracker
folder = pathlib.Path(sys.argv[1])
with Tracker(LoggerConfig(mode="offline"), folder, name="run", group="g", job_type="train", settings={}):
    children = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="], capture_output=True, text=True, check=True
    ).stdout
    (service,) = [int(line.split()[0]) for line in children.splitlines() if "wandb-core" in line]
    os.kill(service, signal.SIGSTOP)
    threading.Timer(2, os.kill, (service, signal.SIGKILL)).start()
    sys.exit(7)
"""


def test_a_process_of_wandb_that_dies_while_the_run_ends_does_not_hide_why_it_ends(tmp_path: Path) -> None:
    # Slurm sends its signals to all processes of a job. The job is then queued again only if it ends as submitit says.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    command = [sys.executable, "-c", ENDED_TOGETHER, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "W&B: its process ended" in done.stderr
