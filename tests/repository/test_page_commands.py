"""Every command of the pages, and of the heads of the configs, runs on real files.

`test_readme.py` makes the plan of every `train.py` command, and `test_extending.py` runs the commands of its page. Here
the cheap `train.py` commands run, and a command ends with 0, or with the sentence about what only a user has: a key,
weights, a published dataset.
"""

import importlib
import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.result import PREDICTIONS_FILE, read_result
from sg.caption.judge.run import judge_captions
from sg.caption.local.demo import DemoCaptionerConfig
from sg.cli import COMMANDS
from sg.core.errors import ExitCode
from sg.core.tracking import LoggerConfig
from sg.demo.build import build_demo_world
from sg.models.chat_univi.build import build_model
from sg.models.chat_univi.settings import ModelConfig
from sg.study.main import main as train
from sg.video.writer import write_video
from tests.report.ladder.builder import write_member
from tests.report.study_builder import write_study
from tests.repository.test_configs import composed
from tests.repository.test_readme import ALL, TRAIN
from tests.study.commands import ROOT, SMALL_WORLD, overrides

CONFIGS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "conf").rglob("*.yaml")))
HEADS = re.findall(r"^# +(python .*)$", re.sub(r"\\\n# *", "", CONFIGS), flags=re.MULTILINE)
OF_CONFIGS = {" ".join(re.split(r"  +", line)[0].split()) for line in HEADS}
PROGRAMS = {f"python -m sg.{name}": module for name, (module, _) in COMMANDS.items()}  # written as `sg NAME`
PROGRAMS |= {f"python -m {module.removesuffix('.__main__')}": module for module, _ in COMMANDS.values()}
PROGRAMS |= {"python evaluate.py": "sg.study.evaluation"}
RUN = sorted(
    command
    for command in {re.split(r" \| ", line)[0] for line in {*ALL, *OF_CONFIGS}}
    if re.match(r"python (-m sg\.|evaluate\.py)", command) and "--config-dir" not in command
)

LACKING = {
    r"caption (status|audit|forget) ": (ExitCode.MISSING, "There is no ledger"),
    r"caption export ": (ExitCode.MISSING, "no captions at"),
    r"caption import ": (ExitCode.MISSING, "There is no published caption file"),
    r"caption judge .*source=": (ExitCode.MISSING, "no captions at"),
    r"caption judge .*alignment=": (ExitCode.MISSING, "not OWNER/REPOSITORY on the hub"),
    r"caption sheet .*source=": (ExitCode.USAGE, "cannot be read"),
    r"caption prices ": (ExitCode.USAGE, "should be litellm's price list"),
    r"captioner=hf": (ExitCode.MISSING, "could not be obtained"),
    r"caption doctor |i_have_rights=true": (ExitCode.USAGE, "GEMINI_API_KEY"),
    r"curate data=webvid ": (ExitCode.MISSING, "data.videos=DIR"),
    r"curate data=folder ": (ExitCode.MISSING, "There are no vectors"),
    r"embedder=internvideo2_clip_s": (ExitCode.MISSING, "could not be obtained"),
    r"embedder=efficientnet_lite0": (ExitCode.MISSING, "real-clips"),
    r"doctor model=chat_univi_7b_v15": (ExitCode.MISSING, "missing for a study with these settings"),
    r"hub\.push ": (ExitCode.MISSING, "There is no artefact"),
    r"hub\.pull ": (ExitCode.FAILED, "The transfer of OWNER/NAME failed"),
    r"report cards .*run=": (ExitCode.USAGE, "is not a finished run"),
    r"report gallery ": (ExitCode.MISSING, "There is no merge forest"),
    r"report dashboard .*publish=true": (ExitCode.USAGE, "W&B key"),
    r"report dashboard ": (ExitCode.USAGE, "logged nothing that a dashboard shows"),
    r"sources data=(hdvila|internvid|kinetics400) ": (ExitCode.FAILED, "belongs to an annotated video"),
    r"sources data=webvid .*annotations=null": (ExitCode.MISSING, "There are no annotations"),
    r"sources data=mix ": (ExitCode.MISSING, "scan data.sources."),
    r"sources data=sharegemini ": (ExitCode.MISSING, "There is no name map"),
    r"benchmark=\[?video_mme": (ExitCode.MISSING, "hf download"),
    r"push path=": (ExitCode.MISSING, "There is no artefact"),
    r"pull repo=": (ExitCode.FAILED, "The transfer of OWNER/NAME failed"),
    r"export predictions=": (ExitCode.MISSING, "has no tables"),
    r"evaluate\.py merge=": (ExitCode.MISSING, "There are no answers of shards"),
}
"""How a command may end where its user has more than this test: a key, weights, a published dataset, a W&B account."""
JUDGED = "work/demo-w0-1/captions/demo/judged-facts.parquet"
ONLY_COMPOSED = r"engine=ray|shards=|data=demo_mix|served="
"""Commands that take minutes, start a cluster or need a server; the tests of their steps run them."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the capitals of a command stand for, by the setting in front of them."""
    folder = tmp_path_factory.mktemp("pages")
    clips = folder / "clips"
    clips.mkdir()
    for number in range(3):
        write_video(clips / f"{number}.mp4", np.full((8, 64, 64, 3), 80 * number, np.uint8), 1)
    model = ModelConfig(
        name="tiny", language_model="sg/demo/assets/language_model", vision_tower="sg/demo/assets/vision_tower",
        system_prompt="", spatial_clusters=[8, 4, 2], temporal_cluster_rate=1 / 8,
    )  # fmt: skip
    build_model(model).save_pretrained(folder / "checkpoint")
    write_study(folder / "study", videos=12, seeds=2)
    answers = [folder / "A.jsonl", folder / "B.jsonl"]
    for found, copy in zip(sorted((folder / "study").glob(f"*/{PREDICTIONS_FILE}")), answers, strict=False):
        copy.write_bytes(found.read_bytes())
    rows = "".join(f"{number},{number}.mp4,A grey clip {number}\n" for number in range(3))
    (folder / "captions.csv").write_text(f"videoid,video,name\n{rows}", encoding="utf-8")
    (folder / "empty").mkdir()
    (folder / "ids.txt").write_text("other\n", encoding="utf-8")
    build_demo_world(composed("data=demo", *SMALL_WORLD).data.world, folder / "work" / "demo-w0-1")
    (folder / "work" / "demo-w0-10").symlink_to("demo-w0-1")  # evaluate.py looks where `make demo` puts its world
    world = composed("data=demo", *SMALL_WORLD, f"paths.work={folder / 'work'}").data
    judge_captions(world, DemoCaptionerConfig(), None, LoggerConfig(kind="csv"))
    for model in ("narrow", "tiny", "wide"):
        write_member(folder / model, model, scales=(50_000,), seeds=(0,))
    names = {
        "STUDY_A": "narrow", "STUDY_B": "tiny", "STUDY_C": "wide",
        "data.videos": "clips", "data.captions": "captions.csv", "data.annotations": "captions.csv",
        "ids": "ids.txt", "out": "sheet.html",
        "checkpoint": "checkpoint", "captioner.checkpoint": "checkpoint", "video": "clips/1.mp4", "study": "study",
        "predictions": "A.jsonl", "A.jsonl": "A.jsonl", "B.jsonl": "B.jsonl", "output": "output", "merge": "empty",
        "alignment": "none", "curator.judged": JUDGED, "captioner.judged": JUDGED,
        "data.long_videos": "empty", "data.name_map": "none", "": "",
    }  # fmt: skip
    return {key: str(folder / name) for key, name in names.items()}


def filled(command: str, places: dict[str, str]) -> list[str]:
    """The words of a command after `python`, with the user's files and folders, and a small demo world."""
    words = shlex.split(command.removesuffix("\\"), comments=True)[1:]
    for index, word in enumerate(words):
        key, has_value, value = word.partition("=")
        if word in places:
            words[index] = places[word]
        elif key in places and has_value and value != "null":
            words[index] = f"{key}={places[key]}"
    if "sg.export" in words:  # into a folder that does not exist yet
        words = [f"out={places['']}/export-{abs(hash(command))}" if word.startswith("out=") else word for word in words]
    if "data=demo" in words and "sg.curate" in words and "captioner=" not in command:
        words.append("captioner=demo")  # another command has put judged captions beside them
    if "captioner.base_url" in command or "captioner.servers" in command:
        words.append("dry_run=true")  # there is no server
    if "sg.report" not in words:
        words += [f"paths.work={places['']}/work", f"paths.runs={places['']}/runs"]
        words += SMALL_WORLD if "data=demo" in words else []
    return words


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_a_command_of_the_pages_runs(
    command: str, places: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = filled(command, places)
    program = " ".join(["python", *words[: 2 if words[0] == "-m" else 1]])
    words = words[len(program.split()) - 1 :] + (["--cfg", "job"] if re.search(ONLY_COMPOSED, command) else [])
    monkeypatch.setattr(sys, "argv", ["sg", *words])
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    code: object = ExitCode.OK
    try:
        importlib.import_module(PROGRAMS[program]).main()
    except SystemExit as end:
        code = end.code
    shown = capsys.readouterr()
    wanted, sentence = next((end for pattern, end in LACKING.items() if re.search(pattern, command)), (ExitCode.OK, ""))
    assert code in (ExitCode.OK, wanted), shown.err
    assert code == ExitCode.OK or sentence in shown.out + shown.err


@pytest.fixture(scope="module")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the training commands keep their files, so that they share a world and stages."""
    return tmp_path_factory.mktemp("training")


CHEAP = {
    "python train.py": {"530k-seed0"},
    "python train.py data.scale=75k seed=1": {"75k-seed1"},
    "python train.py -m curator=random data.scale=50k,530k": {
        "0-seed0",
        "50k-seed0",
        "530k-seed0",
        "50k-equal_steps-530k-seed0",
    },
}
"""Training commands of the pages, and the runs that they make: one run, another seed, and a sweep in one process."""


@pytest.mark.slow
@pytest.mark.parametrize("command", CHEAP)
def test_a_cheap_training_command_of_the_pages_runs(
    command: str, small_study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command in TRAIN
    words = [*command.split()[2:], *SMALL_WORLD, *overrides(small_study), "logger=csv", "launcher=local"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    known = set((small_study / "runs").glob("*/*/result.json"))
    train()
    made = set((small_study / "runs").glob("*/*/result.json")) - known
    assert {path.parent.name for path in made} == CHEAP[command]
    assert all(read_result(path.parent).is_finished for path in made)
    assert ("Report: " in capsys.readouterr().out) is ("-m" in words)


def test_every_sentence_about_what_a_user_lacks_belongs_to_a_command() -> None:
    assert [pattern for pattern in LACKING if not any(re.search(pattern, command) for command in RUN)] == []
