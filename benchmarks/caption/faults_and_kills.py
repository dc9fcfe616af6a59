"""5,000 videos, 15 % faults of mixed kinds, 20 poisoned answers and 10 SIGKILLs: is every video captioned, once?

    python -m benchmarks.caption.faults_and_kills

Every fault hits the first request of its video only, and none of them says that the video is bad, so every video must
end with a caption. Answers that are paid for twice are at most those in flight at a kill. Some poisoned answers contain
the API key: it must be in no file. 5,000 videos take about 3 minutes on two idle cores.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.caption.hundred_thousand import CONCURRENCY, run_with_kills
from sg.caption.ledger import reading
from tests.caption.hosted.builder import KEY, data_folder
from tests.caption.hosted.fake_gemini.faults import COMMON, POISONED
from tests.caption.hosted.fake_gemini.forms import ANSWERS, ERRORS
from tests.caption.hosted.fake_gemini.running import as_process, summary
from tests.caption.hosted.test_secrets import files_with_the_key

FAULTS = [
    *(name for name in COMMON if name != "blocked"),
    *(name for name in ERRORS if not name.startswith(("400", "413", "422"))),
    *(name for name in ANSWERS if not name.startswith(("block_", "finish_safety", "finish_image"))),
]
POISON = [*(name for name in POISONED if name != "list_feedback"), "ok_echo", "text_of_megabytes", "ok_usage_millions"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--poisoned", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, began = random.Random(options.seed), time.monotonic()
    names = [f"v{number}" for number in range(options.videos)]
    poisoned = draw.sample(names, options.poisoned)
    script = {name: [POISON[number % len(POISON)]] for number, name in enumerate(poisoned)}
    plan = {"script": script, "rate": 0.15, "kinds": FAULTS, "drawn_tries": 1}
    folder = Path(tempfile.mkdtemp(prefix="faults-and-kills-"))
    try:
        data_folder(folder, names)
        with as_process() as url:
            urllib.request.urlopen(f"{url}/_plan", data=json.dumps(plan).encode()).close()
            run_with_kills(folder, url, options.videos, options.kills, draw)
            good = report(folder, summary(url), options.videos, options.kills)
    finally:
        shutil.rmtree(folder)
    print(f"{'PASSED' if good else 'FAILED'} in {time.monotonic() - began:.0f} s")
    raise SystemExit(0 if good else 1)


def report(folder: Path, server: dict[str, dict[str, int]], videos: int, kills: int) -> bool:
    """Print what happened; returns whether it is what should happen."""
    with reading.open_for_reading(folder / "captions" / "gemini" / "ledger.sqlite") as db:
        states = dict(db.execute("SELECT state, COUNT(*) FROM task GROUP BY state").fetchall())
        usd, lost = reading.spent_usd(db), reading.lost_requests(db)
        (open_requests,) = db.execute("SELECT COUNT(*) FROM attempt WHERE state='open'").fetchone()
    leaks = files_with_the_key(folder, KEY)
    second, faults = int(str(server["second_paid"])), sum(server["faults"].values())
    print(f"videos by state           {states}   (expected: {videos:,} succeeded)")
    print(f"faults sent               {faults:,} of {len(server['faults'])} kinds, {server['requests']} requests")
    print(f"answers paid for twice    {second}   (at most {kills} kills x {CONCURRENCY} in flight)")
    print(f"requests lost in flight   {lost}   (the ledger's own count), open: {open_requests}")
    print(f"spent                     ${usd:.2f}   (expected: about ${videos * 0.0008:.2f})")
    print(f"files with the key        {leaks or 'none'}")
    is_paid_once = second <= lost <= kills * CONCURRENCY and not open_requests and usd < videos * 0.0016
    return states == {"succeeded": videos} and is_paid_once and not leaks


if __name__ == "__main__":
    main()
