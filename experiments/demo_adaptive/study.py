"""Buy the captions of demo worlds adaptively from a loopback service, then all of them, and compare both models.

    python experiments/demo_adaptive/study.py --work work/demo_adaptive --results experiments/demo_adaptive

Every core that was bought is in `cores.csv`, every decision in `decisions.md`. Finished cores are reused.
"""

import argparse
import csv
import json
import subprocess
import sys
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.caption.adaptive import WANTED as RATES
from benchmarks.caption.adaptive import difference, stop_at
from sg.artefacts.buying import BUYING_FILE, BoughtCore
from sg.artefacts.manifest import scan_manifest
from sg.artefacts.result import read_answers_of, read_result
from sg.caption.local.demo import DemoCaptioner, DemoCaptionerConfig
from sg.core.files import read_record, write_record, write_text
from sg.core.scales import scale_label

ROOT = Path(__file__).resolve().parents[2]
WORLDS, SEEDS = (35, 36), (0, 1)
PER_K = 2
WANTED = 0.0005
"""Least fall of the held-out loss, in nats per token, per dollar: the value of the example in docs/captioning.md."""
USD_PER_1000 = 1.10
"""`gemini_3_1_flash_lite`, clips of 18 s with sound: experiments/demo_captioners/README.md."""
PROMPT_TOKENS = 1000
PROMPT = """---
id: demo
version: 1
words: 2-400
---
# system
Describe the video.
# user
Describe the video.
# audio: silent
The clip is silent.
# audio: sound
The clip has sound.
# stricter
Describe the video.
"""


class Service(BaseHTTPRequestHandler):
    """A server with OpenAI's chat format that reads videos at their paths and knows the facts of `manifest`."""

    manifest: Path
    requests = 0

    def log_message(self, *words: Any) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        """Answer with the caption of the video."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        (url,) = [part["video_url"]["url"] for part in body["messages"][-1]["content"] if part["type"] == "video_url"]
        message = {"role": "assistant", "content": captions_of(self.manifest)[Path(url).name]}
        answer = {"id": "x", "model": body["model"], "choices": [{"message": message, "finish_reason": "stop"}]}
        answer["usage"] = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 100}
        data = json.dumps(answer).encode()
        Service.requests += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@cache
def captions_of(manifest: Path) -> dict[str, str]:
    """The captions without faults, by the name of the file."""
    captioner = DemoCaptioner(DemoCaptionerConfig())
    return {Path(row.path).name: captioner.write(row).caption for row in scan_manifest(manifest)}


def settings_of(work: Path, world: int) -> list[str]:
    """The settings of `train.py` that all commands share: the recipe of experiment=demo_captioners."""
    sizes = "videos_per_k: 2, align_clips: 200, instruct_clips: 200, benchmark_videos: 60"
    return [
        "model=tiny_narrow", "curator=random", "logger=csv", f"name=adaptive_w{world}", f"paths.work={work}/work",
        f"paths.runs={work}/runs", f"paths.demo_world={work}/world{world}",
        f"data.world={{world_seed: {world}, {sizes}}}", "stage.caption.epochs=2", "stage.instruct.epochs=3",
        "benchmark.answering.settings=[without_subtitles]", "benchmark.answering.probes=[]",
    ]  # fmt: skip


def buying(url: str, prompt: Path, seed: int, wanted: float) -> list[str]:
    """The settings of the captioner. A caption costs as much as the 500 captions that it stands for."""
    usd = USD_PER_1000 / PER_K * 1e6 / PROMPT_TOKENS
    price = f"{{input: {usd}, output: 0, source: experiments/demo_captioners, read_on: '2026-11-30'}}"
    return [
        "captioner=openai_compatible", f"captioner.base_url={url}", "captioner.transport=path",
        f"captioner.prompt={prompt}", f"captioner.name=service_s{seed}",
        "captioner.model.name=demo", "captioner.model.tokens_per_frame.unspecified=0",
        f"captioner.model.prices=[{price}]", f"captioner.assumed_prompt_tokens={PROMPT_TOKENS}",
        "captioner.budget_usd=2000", "captioner.max_duplicates=2000", "captioner.buy=adaptive",
        f"captioner.min_gain_per_usd={wanted:g}", "captioner.retry.deadline_s=120",
    ]  # fmt: skip


def buy(work: Path, url: str, world: int, seed: int, wanted: float) -> dict[str, Any]:
    """Buy and train until the rule stops; `buying.json` as it is then."""
    (work / "prompt.md").write_text(PROMPT, encoding="utf-8")
    Service.manifest = work / f"world{world}" / "manifest.parquet"
    settings = [*settings_of(work, world), f"seed={seed}", *buying(url, work / "prompt.md", seed, wanted)]
    subprocess.run([sys.executable, "train.py", *settings], cwd=ROOT, check=True)
    return read_record(work / f"world{world}" / "captions" / f"service_s{seed}" / BUYING_FILE)


def core_of(work: Path, world: int, seed: int, core: BoughtCore) -> dict[str, Any]:
    """A core with the answers of its model."""
    (folder,) = (work / "runs").glob(f"adaptive_w{world}-*-bought-{scale_label(core.scale)}/*seed{seed}")
    answers = [row for row in read_answers_of(folder, read_result(folder)) if row.setting == "without_subtitles"]
    return {
        "captions": core.captions, "usd": core.spent_usd, "loss": core.loss, "label": scale_label(core.scale),
        "nats": core.nats, "tokens": core.tokens, "right": [int(row.is_correct) for row in answers],
        "videos": [f"{world} {row.video_id}" for row in answers],
    }  # fmt: skip


def pair(work: Path, url: str, world: int, seed: int) -> dict[str, Any]:
    """What the rule bought in a world, and what buying all of it gives.

    Buying all of it continues the ledger of the rule, whose stop is then no longer in `buying.json`, but in a file of
    its own. With that file the pair is not made again.
    """
    path = work / f"stop-w{world}-s{seed}.json"
    if not path.is_file():
        before = Service.requests
        stopped = buy(work, url, world, seed, WANTED)
        asked = Service.requests - before
        buy(work, url, world, seed, 1e-12)
        kept = {name: stopped[name] for name in ("saved_usd", "why")}
        write_record(path, {"at": len(stopped["cores"]) - 1, "requests": [asked, Service.requests - before], **kept})
    cores = read_record(work / f"world{world}" / "captions" / f"service_s{seed}" / BUYING_FILE)["cores"]
    bought = [core_of(work, world, seed, BoughtCore(**core)) for core in cores]
    return {"world": world, "seed": seed, "cores": bought, **read_record(path)}


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    """Every core as a row."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["world", "seed", "scale", "captions", "usd", "loss", "accuracy", "bought_by_the_rule"])
        for row in rows:
            for number, core in enumerate(row["cores"]):
                values = [
                    f"{core['usd']:.2f}",
                    f"{core['loss']:.4f}",
                    f"{accuracy(core):.2f}",
                    int(number <= row["at"]),
                ]
                table.writerow([row["world"], row["seed"], core["label"], core["captions"], *values])


def accuracy(core: dict[str, Any]) -> float:
    """The share of right answers in %."""
    return 100 * float(np.mean(core["right"]))


def stop_line(row: dict[str, Any]) -> str:
    """A pair as a row of a table: where the rule stopped, against buying all."""
    core, whole = row["cores"][row["at"]], row["cores"][-1]
    value, half = difference(core, whole)
    share = row["saved_usd"] / (core["usd"] + row["saved_usd"])
    return (
        f"| {row['world']} | {row['seed']} | {core['label']} ({core['captions']}) | ${core['usd']:.2f} "
        f"| ${row['saved_usd']:.2f} ({100 * share:.0f} %) "
        f"| {accuracy(core):.1f}, {value:+.1f} [{value - half:+.1f}, {value + half:+.1f}] "
        f"| {core['loss']:.3f}, {core['loss'] - whole['loss']:+.3f} |"
    )


def rate_line(rows: list[dict[str, Any]], wanted: float) -> str:
    """A wanted gain as a row of a table: the stops by the recorded losses, all pairs together."""
    stops = [row["cores"][stop_at(row["cores"], wanted)] for row in rows]
    whole = [row["cores"][-1] for row in rows]
    value, half = difference(joined(stops), joined(whole))
    saved = 1 - np.mean([core["usd"] / everything["usd"] for core, everything in zip(stops, whole, strict=True)])
    loss = np.mean([core["loss"] - everything["loss"] for core, everything in zip(stops, whole, strict=True)])
    places = ", ".join(core["label"] for core in stops)
    change = f"{value:+.1f} [{value - half:+.1f}, {value + half:+.1f}]"
    return f"| {wanted:g} | {places} | {100 * saved:.0f} % | {change} | {loss:+.3f} |"


def joined(cores: list[dict[str, Any]]) -> dict[str, Any]:
    """The answers of several models as one: those about one video, of both seeds, are one cluster."""
    return {name: [value for core in cores for value in core[name]] for name in ("right", "videos")}


def write_decisions(rows: list[dict[str, Any]], path: Path) -> None:
    """The stops, what other wanted gains would have done, and the reasons."""
    lines = [
        "| World | Seed | Stopped at | Spent | Saved | Accuracy, minus all | Held-out loss, minus all |",
        "|---|---|---|---|---|---|---|",
        *map(stop_line, rows), "",
        "| Wanted nats per token per dollar | Stops | Saved | Accuracy, stopped minus all | Held-out loss |",
        "|---|---|---|---|---|",
        *(rate_line(rows, wanted) for wanted in RATES), "",
        *(f"* World {row['world']}, seed {row['seed']}: {row['why']}. {row['requests'][0]} requests to the stop, "
          f"{row['requests'][1]} with all." for row in rows),
    ]  # fmt: skip
    write_text(path, "\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    asked = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    work, url = asked.work.absolute(), f"http://127.0.0.1:{server.server_port}/v1"
    work.mkdir(parents=True, exist_ok=True)
    made = []
    for world in WORLDS:
        for seed in SEEDS:
            made.append(pair(work, url, world, seed))
            write_csv(made, asked.results / "cores.csv")
            write_decisions(made, asked.results / "decisions.md")
