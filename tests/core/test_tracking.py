"""A run is logged offline when W&B cannot be reached or refuses the key."""

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sg.core.tracking import INIT_TIMEOUT_S

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


@pytest.fixture
def refusing() -> Iterator[str]:
    """A service that refuses every key."""

    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_error(401)

        do_GET = do_POST

        def log_message(self, *args: object) -> None:
            """Print nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
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
