"""The wheel: it holds what the commands need, and they run from an empty folder without the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import sg
from sg.cli import COMMANDS
from tests.study.commands import ROOT, SMALL_STUDY, environment

pytestmark = pytest.mark.slow
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked files, so that nothing is left in the clone."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in ("conf", "experiments", "hydra_plugins", "sg"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "conf" / "paths" / "local.yaml").write_text("work: /only/here\n", encoding="utf-8")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-C", str(copy)]
    for words in (["init", "--quiet"], ["add", "conf"], ["commit", "--quiet", "--message=copy"]):
        subprocess.run([*git, *words], check=True)
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(copy)]
    subprocess.run(build, check=True, timeout=300)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment with the wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    # A line with a path is added to sys.path, but the .pth files there are not read: an editable install stays hidden.
    (packages / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    subprocess.run([*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], check=True)
    return folder / "bin"


def run_in(
    folder: Path, program: Path, *words: str, code: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run an installed program in `folder`, without this repository on the path."""
    variables = {**environment(), **variables}
    variables.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(program), *words], cwd=folder, env=variables, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_the_wheel_holds_configs_plugins_and_assets_and_no_machine_s_folders(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        commit = archive.read("sg/COMMIT").decode()
    shipped = {f"sg/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml") if path.name != "local.yaml"}
    assert shipped <= names
    assert re.fullmatch(r"[0-9a-f]{12}", commit)
    assert "sg/conf/paths/local.yaml" not in names
    assert "hydra_plugins/sg_launcher/process_launcher.py" in names
    assert "sg/experiments/scaling_webvid/published.csv" in names
    assets = {path for path in (ROOT / "sg").rglob("*") if path.suffix in (".safetensors", ".model", ".j2", ".html")}
    assert {str(path.relative_to(ROOT)) for path in assets} <= names
    assert {name.split("/")[0] for name in names} == {"sg", "hydra_plugins", f"sharegemini-{sg.__version__}.dist-info"}


def test_the_console_command_names_its_version_and_its_commands(installed: Path, tmp_path: Path) -> None:
    assert run_in(tmp_path, installed / "sg", "--version").stdout == f"sg {sg.__version__}\n"
    assert all(f"\n  {name} " in run_in(tmp_path, installed / "sg", "--help").stdout for name in COMMANDS)
    for name in COMMANDS:
        shown = run_in(tmp_path, installed / "sg", name, "--help").stdout
        assert "--cfg job" in shown and "python train.py" not in shown
    assert list(tmp_path.iterdir()) == []


def test_an_installed_package_knows_the_commit_that_it_was_built_from(installed: Path, tmp_path: Path) -> None:
    words = ("-c", "from sg.core.identity import code_version; print(code_version()['commit'])")
    assert re.fullmatch(r"[0-9a-f]{12}", run_in(tmp_path, installed / "python", *words).stdout.strip())


def test_a_sweep_runs_its_children_in_an_empty_folder_and_writes_there(installed: Path, tmp_path: Path) -> None:
    run_in(tmp_path, installed / "sg", "train", "-m", "data.scale=0", "logger=csv", *SMALL_STUDY)
    (result,) = (tmp_path / "runs").glob("*/*/result.json")
    content = json.loads(result.read_text(encoding="utf-8"))
    assert content["status"] == "finished"
    assert content["command"].startswith("sg train ")
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "work"}


def test_the_doctor_prints_json_alone(installed: Path, tmp_path: Path) -> None:
    record = json.loads(run_in(tmp_path, installed / "sg", "doctor", "format=json").stdout)
    assert (record["kind"], record["lacking"]) == ("doctor", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_user_s_own_config_folder_works_without_a_clone(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "small.yaml").write_text(
        "defaults:\n  - tiny\n  - _self_\nname: small\n", encoding="utf-8"
    )
    stages = [f"stage@stage.{name}=tiny/{name}" for name in ("align", "caption", "instruct")]
    words = ["--config-dir", "mine", "model=small", *stages, "data.scale=0", "dry_run=true", "format=json"]
    record = json.loads(run_in(tmp_path, installed / "sg", "train", *words).stdout)
    assert [stage["stage"] for stage in record["stages"]] == ["align", "instruct"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_tab_completion_offers_subcommands_and_options(installed: Path, tmp_path: Path) -> None:
    def offered(line: str) -> list[str]:
        return run_in(tmp_path, installed / "sg", "-sc", "query=bash", COMP_LINE=line).stdout.split()

    assert offered("sg tr") == list(COMMANDS)
    assert "model=tiny" in offered("sg train model=")
    assert "curator=semdedup" in offered("sg curate data=demo curator=s")
    rule = run_in(tmp_path, installed / "sg", "-sc", "install=bash").stdout
    assert rule.rstrip().endswith("hydra_bash_completion sg")
    bash = shutil.which("bash")
    if bash is None:
        return
    script = (
        f"{rule}\nCOMP_LINE='sg train launcher='; COMP_POINT=18; COMP_CWORD=2; hydra_bash_completion\n"
        'echo "${COMPREPLY[@]}"'
    )
    path = f"{installed}{os.pathsep}{os.environ['PATH']}"
    assert "launcher=process" in run_in(tmp_path, Path(bash), "-c", script, PATH=path).stdout
