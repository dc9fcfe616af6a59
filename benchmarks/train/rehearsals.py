"""Rehearsals of real models on 8 and 16 devices that do not exist: memory by tracker and plan, and their time.

    python benchmarks/train/rehearsals.py                                        all cells, about 2 CPU minutes each
    python benchmarks/train/rehearsals.py --model qwen3_vl_4b --weights qlora    some of them

Each cell is one command, `python train.py experiment=... rehearse=true trainer.nodes=N trainer.devices=8`, and each of
its rows one stage. The results are in `benchmarks/train/README.md`.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).parents[2]
CHAT_UNIVI, STUDENT = "experiment=scaling_webvid", "experiment=scaling_student"
MODELS = {
    "chat_univi_7b_v15": CHAT_UNIVI, "chat_univi_13b": CHAT_UNIVI, "qwen3_vl_4b": STUDENT, "qwen2_5_vl_7b": STUDENT,
}  # fmt: skip
WEIGHTS = {
    "all": ["trainer=fsdp"],
    "lora": ["trainer=ddp", "stage.peft=lora"],
    "qlora": ["trainer=ddp", "stage.peft=qlora"],
}
GIB = 2**30


def rehearse(model: str, weights: str, nodes: int) -> list[str]:
    """The rows of one cell."""
    words = [f"model={model}", *WEIGHTS[weights], f"trainer.nodes={nodes}", "trainer.devices=8"]
    command = [sys.executable, "train.py", MODELS[model], *words, "rehearse=true", "format=json"]
    started = monotonic()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall, cpu = monotonic() - started, usage.ru_utime + usage.ru_stime
    if status:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    rows = []
    for stage in json.loads(text)["stages"]:
        peak, plan = stage["peak_bytes"] / GIB, stage["planned_bytes"] / GIB
        sizes = f"{peak:.2f} | {plan:.2f} | {100 * (plan / peak - 1):+.1f} %"
        rows.append(f"| {model} | {weights} | {nodes} x 8 | {stage['stage']} | {sizes} | {cpu:.0f} | {wall:.0f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--weights", choices=WEIGHTS, nargs="+", default=list(WEIGHTS))
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2])
    asked = parser.parse_args()
    print("| model | weights | devices | stage | tracker, GiB | plan, GiB | plan against tracker | CPU s | wall s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for model in asked.model:
        for weights in asked.weights:
            for nodes in asked.nodes:
                print("\n".join(rehearse(model, weights, nodes)), flush=True)


if __name__ == "__main__":
    main()
