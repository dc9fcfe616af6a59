"""The same tiny Qwen3-VL asked by lmms-eval and by `evaluate.py`: 60 videos x 3 questions x 2 settings, one core.

    python -m venv ENV && ENV/bin/pip install lmms-eval==0.7.3 "torch==2.13.0" torchvision decord qwen-vl-utils
    python -m benchmarks.evaluation.against_lmms_eval --python ENV/bin/python [--videos 60]

lmms-eval runs its own class `qwen3_vl` on a task of the form of its Video-MME, whose words and subtitles are those of
the demo world; both see 8 evenly spaced frames and answer in float32 (lmms-eval's bfloat16 is replaced, because
near-ties of rounding would differ). Each program is one process on one thread. "In all" is its whole CPU time, "start"
that of the same command with one video: imports, loading, and one video.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from sg.artefacts.answers import read_letter
from sg.artefacts.predictions import SETTINGS, read_predictions
from sg.demo.build import build_demo_world
from sg.demo.config import DemoWorldConfig
from tests.study.commands import ROOT

MODEL = ROOT / "sg" / "demo" / "assets" / "tiny_qwen3_vl"
FRAMES, TOKENS, SYSTEM, SIDE = 8, 8, "Look.", 1024
TASKS = {"without_subtitles": "plain", "with_subtitles": "subtitles"}

TASK = """dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {table}}}}}
task: {name}
test_split: test
output_type: generate_until
doc_to_visual: !function words.video
doc_to_text: !function words.{name}
doc_to_target: "answer"
generation_kwargs: {{max_new_tokens: {tokens}, temperature: 0, num_beams: 1, do_sample: false}}
process_results: !function words.results
metric_list: [{{metric: videomme_perception_score, aggregation: !function words.accuracy, higher_is_better: true}}]
lmms_eval_specific_kwargs: {{default: {{pre_prompt: "", post_prompt: ""}}}}
metadata: [{{version: 0.0}}]
"""

WORDS = """
import os, re
from lmms_eval.tasks.videomme.utils import videomme_doc_to_visual as video, videomme_process_results as results

SUBTITLES = os.path.join(os.environ["HF_HOME"], "videomme", "subtitle")


def plain(doc, lmms_eval_specific_kwargs=None):
    return "\\n".join([doc["question"], *doc["options"], "Answer:"])


def subtitles(doc, lmms_eval_specific_kwargs=None):
    path = os.path.join(SUBTITLES, doc["videoID"] + ".srt")
    blocks = open(path).read().strip().split("\\n\\n") if os.path.exists(path) else []
    lines = [" ".join(block.split("\\n")[2:]).strip() for block in blocks]
    return "\\n".join([*(["Subs:", *lines] if lines else []), plain(doc)])


def accuracy(found):
    return 100 * sum(one["score"] for one in found) / len(found)
"""

RUN = """
import torch

# A torchvision whose operators do not fit a CPU build of torch needs only the names of two; no box is filtered here.
operators = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        operators.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from lmms_eval.models.simple import qwen3_vl

torch.set_num_threads(1)
resolve = qwen3_vl._resolve_model_class

class InFloat32:
    def __init__(self, kind): self.kind = kind
    def from_pretrained(self, name, dtype, **more): return self.kind.from_pretrained(name, dtype=torch.float32, **more)

qwen3_vl._resolve_model_class = lambda *words: (InFloat32(resolve(*words)[0]), "dtype")
from lmms_eval.__main__ import cli_evaluate
cli_evaluate()
"""


def table_of(folder: Path, videos: int) -> Path:
    """The questions of the first videos of the benchmark, in a folder with all files."""
    part = folder.with_name(f"{folder.name}-{videos}")
    part.mkdir(exist_ok=True)
    for name in ("videos", "subtitle"):
        (part / name).unlink(missing_ok=True)
        (part / name).symlink_to(folder / name)
    table = pq.read_table(next(folder.glob("**/test-*.parquet")))
    pq.write_table(table.slice(0, 3 * videos), part / "test-00000-of-00001.parquet")
    return part


def cpu_s(words: list[str], log: Path, **more: str) -> float:
    """CPU seconds of a command, in all."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    settings = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    with log.open("w") as stream:
        code = subprocess.call(words, cwd=ROOT, env=os.environ | settings | more, stdout=stream, stderr=stream)
    if code:
        raise SystemExit(f"{words[:4]} ended with {code}:\n{log.read_text()[-4000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def theirs(python: str, benchmark: Path, folder: Path) -> tuple[float, dict[tuple[str, str], str]]:
    """CPU seconds of lmms-eval, and its responses by question and setting."""
    home, tasks = folder / "home", folder / "tasks"
    shutil.rmtree(folder, ignore_errors=True)
    (home / "videomme").mkdir(parents=True)
    tasks.mkdir()
    (home / "videomme" / "data").symlink_to(benchmark / "videos")
    (home / "videomme" / "subtitle").symlink_to(benchmark / "subtitle")
    for name in TASKS.values():
        table = benchmark / "test-00000-of-00001.parquet"
        (tasks / f"{name}.yaml").write_text(TASK.format(name=name, table=table, tokens=TOKENS))
    (tasks / "words.py").write_text(WORDS)
    (folder / "run.py").write_text(RUN)
    model = f"pretrained={MODEL},device=cpu,device_map=cpu,max_num_frames={FRAMES},min_pixels={SIDE},"
    words = [python, str(folder / "run.py"), "--model", "qwen3_vl", "--model_args", f"{model}system_prompt={SYSTEM}"]
    words += ["--tasks", ",".join(TASKS.values()), "--batch_size", "1", "--include_path", str(tasks), "--log_samples"]
    words += ["--output_path", str(folder / "logs")]
    seconds = cpu_s(words, folder / "log", HF_HOME=str(home), FORCE_QWENVL_VIDEO_READER="decord")
    answers = {}
    for setting, name in TASKS.items():
        (log,) = (folder / "logs").rglob(f"*_samples_{name}.jsonl")
        for line in log.read_text().splitlines():
            row = json.loads(line)
            text = row["filtered_resps"] if isinstance(row["filtered_resps"], str) else row["filtered_resps"][0]
            answers[row["videomme_perception_score"]["question_id"], setting] = text
    return seconds, answers


def ours(benchmark: Path, folder: Path) -> tuple[float, dict[tuple[str, str], str]]:
    """CPU seconds of `evaluate.py`, and its responses by question and setting."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    words = [sys.executable, "evaluate.py", f"checkpoint={MODEL}", "model=tiny_qwen3_vl", "benchmark=demo"]
    words += [f"benchmark.folder={benchmark}", "benchmark.answering.probes=[]", "benchmark.subtitles=transcript"]
    words += ["benchmark.answering.option_texts=false", f"benchmark.answering.max_new_tokens={TOKENS}"]
    words += [f"model.system_prompt={SYSTEM}", f"output={folder}", f"paths.work={folder / 'work'}"]
    words += [f"model.video={{fps:null,num_frames:{FRAMES},min_frames:null,max_frames:null}}"]
    seconds = cpu_s([*words, "trainer=cpu", f"paths.runs={folder / 'runs'}"], folder / "log")
    return seconds, {row.key: row.response for row in read_predictions(folder / "predictions.jsonl")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the interpreter of an environment with lmms-eval")
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "against-lmms-eval")
    options = parser.parse_args()
    out = options.out.resolve()
    world = DemoWorldConfig(videos_per_k=1, align_clips=1, instruct_clips=1, benchmark_videos=options.videos // 3)
    build_demo_world(world, out / "world")
    found: dict[str, dict[tuple[str, str], str]] = {}
    print(f"{'':12}{'questions':>10}{'CPU s in all':>14}{'start':>8}{'the rest':>10}")
    rest = {}
    for name in ("evaluate.py", "lmms-eval"):
        spent = []
        for videos in (1, options.videos):
            part = table_of(out / "world" / "benchmark", videos)
            place = out / f"{name}-{videos}"
            seconds, found[name] = ours(part, place) if name == "evaluate.py" else theirs(options.python, part, place)
            spent.append(seconds)
        rest[name] = spent[1] - spent[0]
        print(f"{name:12}{len(found[name]):10}{spent[1]:14.1f}{spent[0]:8.1f}{rest[name]:10.1f}", flush=True)
    one, other = found["evaluate.py"], found["lmms-eval"]
    for setting in SETTINGS:
        keys = [key for key in one if key[1] == setting]
        letters = sum(read_letter(one[key], "ABCD") == read_letter(other[key], "ABCD") for key in keys)
        texts = sum(one[key].strip() == other[key].strip() for key in keys)
        print(f"{setting}: {letters} of {len(keys)} letters and {texts} responses are equal")
    print(f"letters of evaluate.py: {dict(Counter(read_letter(text, 'ABCD') for text in one.values()))}")
    print(f"CPU time besides the start: {rest['lmms-eval'] / rest['evaluate.py']:.1f} times less with evaluate.py")


if __name__ == "__main__":
    main()
