"""2,700 questions to a faulty server, 5 SIGKILLs: is every question one row, paid once, and the file as undisturbed?

    python -m benchmarks.evaluation.served_kills [--videos 900] [--kills 5]

Three questions per video. A first run asks a server without faults. A second one asks a server that answers a quarter
of all first requests with a fault (429, 500, a page of HTML, a reset connection, 2 s late, an empty body), and a few
with the answer of another model, which stops the command. It is killed at random moments and repeated until it ends. In
both runs the server refuses 1 in 50 questions. Answers that are paid for twice are at most those in flight at a kill,
and those of the other model.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sg.artefacts.predictions import read_predictions
from sg.caption.ledger import reading
from sg.core.errors import ExitCode
from tests.study.commands import ROOT, environment, overrides
from tests.study.served.server import Server, choice, letter_for, number_of, serving, text_of
from tests.study.served.test_served import questions_folder

CONCURRENCY = 16
KINDS = ("429", "500", "html", "reset", "slow", "empty")
FAULTS = (*KINDS * 38, "model", *("",) * 683)
"""Of 912 questions 228 have a fault, one of them the answer of another model."""


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """A letter that follows from the question; 1 in 50 is refused, whenever it is asked."""
    is_refused = number_of(text_of(body) + "refused") % 50 == 0
    return choice(None, "content_filter") if is_refused else choice(letter_for(body))


def command(folder: Path, url: str, output: str) -> list[str]:
    """The command of a user."""
    words = ["evaluate.py", f"served={url}", "model.name=org/model", "benchmark=custom", f"output={folder / output}"]
    words += [f"benchmark.folder={folder / 'own'}", "benchmark.answering.probes=[]", "server.logprobs=0"]
    words += [f"server.max_concurrency={CONCURRENCY}", "server.frames=2", "server.retry.backoff_s=0.05"]
    return [sys.executable, *words, *overrides(folder)]


def run_until(words: list[str], is_time: Callable[[], bool], log: Path) -> int:
    """Run a command and kill it when `is_time`; returns its exit code."""
    with log.open("ab") as stream:
        child = subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=stream, stderr=stream)
        while child.poll() is None:
            if is_time():
                child.kill()
                break
            time.sleep(0.01)
        return child.wait()


def disturbed(folder: Path, server: Server, questions: int, kills: int, draw: random.Random) -> Counter[str]:
    """Repeat the command until it ends, killed at random shares of the answers; returns how its runs ended."""
    at = [questions * (number + draw.random()) / kills for number in range(kills)]
    ends: Counter[str] = Counter()
    while True:
        code = run_until(
            command(folder, server.url, "disturbed"), lambda: bool(at) and len(server.paid) >= at[0], folder / "log"
        )
        names = {0: "ended", -9: "killed", ExitCode.MODEL_DRIFT.value: "stopped by another model"}
        ends[names.get(code, f"exit code {code}")] += 1
        if code == -9:
            at.pop(0)
        elif code != ExitCode.MODEL_DRIFT.value:
            return ends


def report(folder: Path, server: Server, ends: Counter[str], questions: int, kills: int) -> bool:
    """Print what happened; returns whether it is what should happen."""
    calm, path = (folder / name / "predictions.jsonl" for name in ("undisturbed", "disturbed"))
    same, rows = calm.read_bytes() == path.read_bytes(), read_predictions(path)
    with reading.open_for_reading(folder / "disturbed" / "ledger.sqlite") as db:
        lost = reading.lost_requests(db)
        (still_open,) = db.execute("SELECT COUNT(*) FROM attempt WHERE state='open'").fetchone()
    faults = Counter(fault for key in server.tries if (fault := server.fault(key)))
    twice, others = sum(server.paid.values()) - len(server.paid), faults["model"]
    print(f"runs of the command     {dict(ends)}")
    print(f"rows                    {len(rows):,} of {len({row.key for row in rows}):,} questions (of {questions:,})")
    print(f"rows by status          {dict(Counter(row.status for row in rows))}")
    print(f"faults of the server    {dict(faults)}, {len(server.requests):,} requests")
    print(f"paid for twice          {twice} (at most {kills} x {CONCURRENCY} in flight + {others} of another model)")
    print(f"lost in flight          {lost} (the ledger's own count), still open: {still_open}")
    print(f"same file               {same}")
    once = len(rows) == len({row.key for row in rows}) == questions == len(server.paid)
    return same and once and twice <= lost + others <= kills * CONCURRENCY + others and not still_open


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=900)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    questions, folder = 3 * options.videos, Path(tempfile.mkdtemp(prefix="served-kills-"))
    began = time.monotonic()
    try:
        questions_folder(folder / "own", options.videos, per_video=3)
        with serving(Server(answer)) as server:
            if run_until(command(folder, server.url, "undisturbed"), lambda: False, folder / "log"):
                raise SystemExit((folder / "log").read_text()[-2000:])
        calm_s, began = time.monotonic() - began, time.monotonic()
        with serving(Server(answer, faulty=True, faults=FAULTS, slow_s=2.0)) as server:
            ends = disturbed(folder, server, questions, options.kills, random.Random(options.seed))
        good = report(folder, server, ends, questions, options.kills)
        if not good:
            print((folder / "log").read_text()[-3000:])
    finally:
        shutil.rmtree(folder)
    print(f"{'PASSED' if good else 'FAILED'}: undisturbed {calm_s:.0f} s, disturbed {time.monotonic() - began:.0f} s")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
