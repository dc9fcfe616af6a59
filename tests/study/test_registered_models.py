"""A registered sweep over two sizes of the model, on a small world: registration, reports and ladder."""

import json
import subprocess
from pathlib import Path

import pytest

from sg.artefacts.arms import REGISTRATION_FILE, read_registration
from sg.artefacts.result import read_result
from tests.study.commands import SMALL_WORLD, overrides, run

pytestmark = pytest.mark.slow

MODELS = ["tiny_narrow", "tiny"]
SWEEP = [
    "train.py",
    "-m",
    f"model={','.join(MODELS)}",
    "data.scale=50k",
    "controls=[]",
    "logger=csv",
    "launcher=local",
    *SMALL_WORLD,
]
Sweep = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A registered sweep: its folder, and the finished process."""
    folder = tmp_path_factory.mktemp("models")
    return folder, run([*SWEEP, "register=true", *overrides(folder)], timeout_s=1800)


def studies(folder: Path) -> dict[str, Path]:
    """The folder of each model's study."""
    runs = folder.glob("runs/*/50k-seed0")
    return {read_result(path).model: path.parent for path in runs}


def report_of(study: Path) -> str:
    done = run(["-m", "sg.report", f"study={study}", "logger=csv"])
    assert done.returncode == 0, done.stderr
    return (study / "report" / "report.md").read_text(encoding="utf-8")


def test_every_model_has_a_study_of_its_own_with_its_own_baseline(sweep: Sweep) -> None:
    folder, done = sweep
    assert done.returncode == 0, done.stdout + done.stderr
    found = studies(folder)
    assert set(found) == set(MODELS)
    for study in found.values():
        assert sorted(path.parent.name for path in study.glob("*/result.json")) == ["0-seed0", "50k-seed0"]
    sizes = {name: read_result(study / "0-seed0").weights or 0 for name, study in found.items()}
    assert 0 < 3 * sizes["tiny_narrow"] < sizes["tiny"]


def test_the_sweep_ends_with_the_ladder_of_both_models(sweep: Sweep) -> None:
    folder, done = sweep
    (ladder,) = folder.glob("runs/ladder-*")
    assert "# Ladder of 2 models" in done.stdout and str(ladder / "ladder.md") in done.stdout
    for model in MODELS:
        assert f"{model}: 50k (50) minus no captions" in done.stdout
    assert "it needs 3 sizes of the model and 3 numbers of captions, and these studies have 2 and 1" in done.stdout
    again = run(["-m", "sg.report", "ladder", *map(str, studies(folder).values())])
    assert again.returncode == 0 and "# Ladder of 2 models" in again.stdout


def test_the_study_is_registered_before_its_first_run_which_records_it(sweep: Sweep) -> None:
    folder, _ = sweep
    for study in studies(folder).values():
        plan = read_registration(study)
        assert plan is not None and (plan.arms, plan.seeds) == (["0", "50k"], [0])
        written = (study / REGISTRATION_FILE).stat().st_mtime_ns
        logs = [path.stat().st_mtime_ns for path in study.glob("*/.hydra/config.yaml")]
        assert len(logs) == 2 and written < min(logs)
        assert {read_result(path.parent).registration for path in study.glob("*/result.json")} == {plan.fingerprint}
        text = (study / "report" / "report.md").read_text(encoding="utf-8")
        assert f"Registered on {plan.date}, before the first run: caption effect in accuracy on demo" in text
        assert "Added after the registration" not in text


def test_the_same_command_resumes_and_another_registration_is_refused(sweep: Sweep) -> None:
    folder, _ = sweep
    again = run([*SWEEP, "register=true", *overrides(folder)])
    assert again.returncode == 0 and again.stdout.count("its result is reused") == 4
    other = run([*SWEEP, "register=true", "primary.setting=with_subtitles", *overrides(folder)])
    assert other.returncode == 2
    assert "has registered setting=without_subtitles" in other.stderr + other.stdout


def test_a_run_that_is_added_later_and_a_changed_registration_are_told(sweep: Sweep) -> None:
    folder, _ = sweep
    study = studies(folder)["tiny_narrow"]
    added = run(["train.py", "model=tiny_narrow", "data.scale=75k", "controls=[]", *SMALL_WORLD, *overrides(folder)])
    assert added.returncode == 0, added.stderr
    assert "Added after the registration, and therefore exploratory: 75k seed 0." in report_of(study)
    path = study / REGISTRATION_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("sg.crc32")  # as one who edits it on purpose
    path.write_text(json.dumps(content | {"setting": "with_subtitles"}), encoding="utf-8")
    text = report_of(study)
    assert "registration.json is not the one that 0 seed 0, 50k seed 0 and 75k seed 0 recorded when they began" in text
    assert "Registered on" not in text
