"""A whole sweep on a small world: its output and files, then repeated, killed, and run again."""

import csv
import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sg.artefacts.result import read_result
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.report.wandb.panels import available_sections, keys_of, logged_keys, plan_sections
from tests.s3 import emulator
from tests.study.commands import SMALL_STUDY, overrides, run, run_until, study_folder
from tests.wandb_file import read_offline_run

SWEEP = ["train.py", "-m", "data.scale=100k,530k", *SMALL_STUDY]
RUNS = ["0-seed0", "100k-equal_steps-530k-seed0", "100k-seed0", "530k-seed0"]

pytestmark = pytest.mark.slow


def table(folder: Path) -> list[dict[str, str]]:
    with (study_folder(folder) / "report" / "tables.csv").open() as stream:
        return list(csv.DictReader(stream))


def rows_of_both(folder: Path) -> list[dict[str, str]]:
    """The rows of the baseline and of 530k, without columns that depend on other rows of the study."""
    rows = [row for row in table(folder) if row["scale_label"] in ("0", "530k") and not row["control"]]
    return [{name: value for name, value in row.items() if name not in ("study", "delta_p_holm")} for row in rows]


def responses(folder: Path, name: str) -> list[str]:
    with (study_folder(folder) / name / "predictions.jsonl").open() as stream:
        return sorted(f"{row['question_id']} {row['setting']} {row['response']}" for row in map(json.loads, stream))


def results(folder: Path) -> dict[str, bytes | str]:
    """Weights, tokens, videos and tables below `folder`.

    Tables are without what differs from machine to machine: headers, which name places, and times of files. Tokens are
    those of each clip: their order in the files depends on which job of a sweep encodes first.
    """
    tokens = folder / "work" / "visual_tokens"
    files = [path for path in (folder / "work").rglob("*") if path.suffix in (".safetensors", ".mp4", ".parquet")]
    found = {path.relative_to(folder).as_posix(): _content(path) for path in files if tokens not in path.parents}
    for path in tokens.glob("*/visual_tokens.json"):
        store = VisualTokenStore(path.parent)
        found |= {f"tokens/{path.parent.name}/{key}": _tokens(store, key) for key in store}
    return found


def _tokens(store: VisualTokenStore, key: str) -> str:
    tensors = {name: tensor.flatten().tolist() for name, tensor in store.tensors(key).items()}
    return f"{store.facts(key)} {tensors}"


def _content(path: Path) -> bytes | str:
    if path.suffix != ".parquet":
        return path.read_bytes()
    table = pq.read_table(path).replace_schema_metadata(None)
    own = [name for name in table.column_names if name in ("created_at", "file_stamp")]
    return str(table.drop_columns(own).to_pylist())


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """An undisturbed sweep: its folder, and the finished process."""
    folder = tmp_path_factory.mktemp("calm")
    return folder, run([*SWEEP, *overrides(folder)])


def test_the_sweep_finishes_with_baseline_scales_and_control(
    calm: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = calm
    assert done.returncode == 0, done.stdout + done.stderr
    study = study_folder(folder)
    assert sorted(path.parent.name for path in study.glob("*/result.json")) == RUNS
    results = {name: read_result(study / name) for name in RUNS}
    assert all(result.is_finished for result in results.values())
    assert results["100k-seed0"].num_captions == 100
    assert results["100k-equal_steps-530k-seed0"].steps["caption"] == results["530k-seed0"].steps["caption"]
    assert "caption" not in results["0-seed0"].stages
    losses = {name: result.held_out for name, result in results.items()}
    assert {loss.captions for loss in losses.values() if loss is not None} == {8}
    assert len({loss.content for loss in losses.values() if loss is not None}) == len(RUNS)
    settings = {"without_subtitles", "with_subtitles", "zeroed_video", "swapped_video"}
    assert all(set(result.scores) == settings for result in results.values())


def test_align_and_the_visual_tokens_are_made_once(calm: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = calm
    stages = sorted(path.name.split("-")[0] for path in (folder / "work" / "stages").iterdir() if path.is_dir())
    assert stages == ["align", *["caption"] * 3, *["instruct"] * 4]
    assert len(list((folder / "work" / "visual_tokens").glob("*/visual_tokens.json"))) == 1


def test_the_report_shows_both_settings_with_intervals_controls_and_probes(
    calm: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = calm
    report = study_folder(folder) / "report"
    for name in ("tables.csv", "report.md", "index.html"):
        assert (report / name).stat().st_size > 0
    assert list((report / "figures").glob("*.png"))
    for word in ("without subtitles", "with subtitles", "100k", "530k", "equal"):
        assert word in done.stdout
    assert str(report / "index.html") in done.stdout


def test_the_offline_wandb_files_hold_the_scores_of_every_run_and_of_the_summary(
    calm: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = calm
    study = study_folder(folder)
    for name in [*RUNS, "report"]:
        (file,) = (study / name).glob("wandb/offline-run-*/run-*.wandb")
        shown = read_offline_run(file)
        assert "demo/without_subtitles/overall" in shown
        assert "demo/with_subtitles/overall" in shown


def test_a_repeated_command_reuses_every_run(calm: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = calm
    before = table(folder)
    made = {path: path.stat().st_mtime_ns for path in (folder / "work" / "stages").glob("*/stage.json")}
    again = run([*SWEEP, *overrides(folder)])
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("finished before, its result is reused") == len(RUNS)
    assert {path: path.stat().st_mtime_ns for path in (folder / "work" / "stages").glob("*/stage.json")} == made
    assert table(folder) == before
    why = run([*SWEEP, "why=true", "format=json", *overrides(folder)])
    assert why.returncode == 0, why.stderr
    runs = json.loads(why.stdout)["runs"]
    assert sorted(found["run"] for found in runs) == RUNS
    assert {step["action"] for found in runs for step in found["steps"]} == {"reused"}


def test_another_scale_joins_the_study_and_a_dry_run_prints_its_stages(
    calm: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = calm
    plan = run(["train.py", "data.scale=75k", "dry_run=true", *SMALL_STUDY, *overrides(folder)])
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.count("75k-seed0") == 3
    assert "reuse" in plan.stdout
    assert "train" in plan.stdout
    assert not (study_folder(folder) / "75k-seed0" / "result.json").exists()


def test_a_sweep_in_a_bucket_that_moves_from_machine_to_machine_has_the_files_of_an_undisturbed_one(
    calm: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines, each with its own cache folder and host name, share an S3 emulator only. The first is killed."""
    s3fs, (folder, _) = pytest.importorskip("s3fs"), calm
    places = [f"paths.{name}=s3://bucket/{name}" for name in ("work", "runs")]
    command = ["train.py", "-m", "data.scale=530k", *SMALL_STUDY, *places]
    with emulator():
        monkeypatch.setenv("SG_LEASE_S", "4")
        monkeypatch.setenv("SG_CACHE", str(tmp_path / "a"))
        run_until(command, r"stage caption: \d+ steps", host="machine-a")
        monkeypatch.setenv("SG_CACHE", str(tmp_path / "b"))
        done = run(command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "stage align: reused" in done.stdout
        bucket = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        bucket.get("bucket", str(tmp_path / "bucket"), recursive=True)
    moved = tmp_path / "bucket"
    assert rows_of_both(moved) == rows_of_both(folder) != []
    for name in ("0-seed0", "530k-seed0"):
        assert responses(moved, name) == responses(folder, name)
    found, expected = results(moved), results(folder)
    assert {Path(name).suffix for name in found} >= {".safetensors", ".mp4", ".parquet"}
    assert {name: content == expected.get(name) for name, content in found.items()} == dict.fromkeys(found, True)


def test_the_checkpoint_of_a_run_is_evaluated_alone_to_the_same_scores(
    calm: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = calm
    result = read_result(study_folder(folder) / "530k-seed0")
    checkpoint = folder / "work" / "stages" / f"instruct-{result.stages['instruct'].fingerprint}"
    world = folder / "work" / "demo-w0-1"
    done = run(
        [
            "evaluate.py",
            f"checkpoint={checkpoint}",
            f"paths.demo_world={world}",
            *overrides(folder),
            f"output={folder / 'alone'}",
        ]
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "alone" / "scores.json").read_text())["scores"] == result.scores
    scored = run(["evaluate.py", f"predictions={folder / 'alone' / 'predictions.jsonl'}", *overrides(folder)])
    assert scored.returncode == 0, scored.stderr
    assert "without_subtitles" in scored.stdout


def test_the_dashboard_reads_only_keys_that_the_sweep_logged(
    calm: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = calm
    study = study_folder(folder)
    sections = available_sections("demo", logged_keys(study))
    assert [section.name for section in sections] == [section.name for section in plan_sections("demo")]
    files = [read_offline_run(file) for file in study.glob("*/wandb/offline-run-*/run-*.wandb")]
    assert len(files) > len(RUNS)  # one a run, one for each time that the report was written
    assert [key for key in keys_of(sections) if not any(key in content for content in files)] == []
    left_out = keys_of(plan_sections("demo")) - keys_of(sections)
    assert {key for key in left_out if not key.startswith(("demo/no_video", "train/"))} <= {"speed/mfu", "figures/map"}
    for kind in ("captions-demo", "forest-tome", "checkpoint-instruct-", "predictions-"):
        assert any(kind in content for content in files), kind
