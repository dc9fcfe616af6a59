"""The commands of the README and the guides are valid, and the two pages that list things list all of them."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from sg.core.errors import ExitCode
from tests.study.commands import ROOT, SMALL_WORLD, overrides, run

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "experiments").glob("*/README.md")),
]


def commands(page: Path) -> list[str]:
    """Command lines of a page's code blocks, as `python` or `make` commands, without comments and pipes."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^(?:    |\t)(\S.*)$", text, flags=re.MULTILINE)
    lines = [" ".join(re.split(r"  #| \| ", line)[0].split()) for line in blocks]
    lines = [re.sub(r"^sg (train|evaluate)\b", r"python \1.py", line) for line in lines]
    lines = [re.sub(r"^sg ([a-z])", r"python -m sg.\1", line) for line in lines]
    return [line for line in lines if line.startswith(("python ", "make "))]


ALL = sorted({command for page in PAGES for command in commands(page)})
ELSEWHERE = ("--help", "--config-dir my_config")
"""Training commands with these words are in other tests, the latter in test_extending.py."""
TRAIN = [
    command
    for command in ALL
    if command.startswith("python train.py") and not any(words in command for words in ELSEWHERE)
]
OF_REAL_DATA = r"data=folder|experiment=(scaling_webvid|scaling_student|sources_mix|captioners)"
"""Commands that have no demo world to make small."""
SEVERAL_SEEDS = r"experiment=(demo_|curation_baselines|captioners)(?!.*\bseed=)"
"""Commands whose plan has dozens of runs; the plan of one seed has all their kinds."""


def filled(command: str, folder: Path) -> list[str]:
    """The words of a README command with its capitals (DIR, FILE) and its bucket replaced by things in `folder`."""
    (folder / "clips").mkdir(exist_ok=True)
    (folder / "captions.csv").write_text("video,caption\n", encoding="utf-8")
    (folder / "lab" / "videos").mkdir(parents=True, exist_ok=True)
    (folder / "lab" / "captions.jsonl").write_text('{"video": "a.mp4", "caption": "A dog"}\n', encoding="utf-8")
    command = command.replace("s3://lab", f"file://{folder}/lab")
    words = shlex.split(command.replace("DIR", str(folder / "clips")).replace("FILE", str(folder / "captions.csv")))
    return words[1:]


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAIN)
def test_a_training_command_of_the_pages_has_a_plan(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = [] if re.search(OF_REAL_DATA, command) else SMALL_WORLD
    small = [*small, "seed=0"] if re.search(SEVERAL_SEEDS, command) else small
    monkeypatch.setenv("SG_CACHE", str(tmp_path / "cache"))
    done = run([*filled(command, tmp_path), *small, *overrides(tmp_path), "dry_run=true"])
    is_missing = bool(re.search(r'^missing: |"missing": \[\s*"', done.stdout, flags=re.MULTILINE))
    assert done.returncode == (ExitCode.MISSING if is_missing else ExitCode.OK), done.stderr
    shown = "stage instruct" if "why=true" in command else '"kind": "plan"' if "format=json" in command else "Plan"
    assert shown in done.stdout


def test_every_other_command_is_one_that_a_test_runs() -> None:
    covered = (
        r"make (setup|demo|test|lint|assets|test-fast)",
        r"python train\.py --help",
        r"python (-m sg\.|evaluate\.py ).*",  # test_page_commands.py
        r"python \S+ --config-dir my_config .*",  # test_extending.py
        r"python -m venv legacy .*",
        r"python experiments/demo_adaptive/study\.py .*",  # test_experiments.py
    )
    others = set(ALL) - set(TRAIN)
    assert [command for command in others if not any(re.fullmatch(pattern, command) for pattern in covered)] == []


def test_the_two_commands_of_the_readme_are_the_make_targets() -> None:
    def shown(target: str) -> str:
        return subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "train.py -m data.scale=50k,100k,200k,400k,530k" in shown("demo")
    assert "-m pytest" in shown("test")
    assert {"make demo", "make test"} <= set(ALL)


def test_the_readme_names_the_environment_before_the_first_command_that_needs_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 0 < readme.index("source .venv/bin/activate") < readme.index("\n    python ")


def test_no_page_trains_all_weights_of_the_7b_model_without_sharding() -> None:
    large = [command for command in ALL if re.search(r"model=chat_univi_(7b|13b)|experiment=scaling_webvid", command)]
    assert large and [command for command in large if "trainer=ddp" in command and "peft=" not in command] == []


def test_the_readme_names_every_guide() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    guides = [path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md")]
    assert [str(guide) for guide in guides if f"({guide})" not in readme] == []


def test_the_architecture_page_has_every_folder_of_the_code() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "sg").rglob("__init__.py")} - {Path("sg")}
    assert [str(folder) for folder in sorted(folders) if f"`{folder}`" not in text] == []
    assert [name for name in re.findall(r"`(sg/[\w/]+)`", text) if not (ROOT / name).exists()] == []


def test_every_setting_of_the_launchers_named_in_the_readme_exists() -> None:
    named = re.findall(r"launcher=(\w+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {f"{name}.yaml" for name in named} == {path.name for path in (ROOT / "conf" / "launcher").glob("*.yaml")}
