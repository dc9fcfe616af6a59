from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from hydra_plugins.sg_launcher.process_launcher import ProcessLauncher
from sg.artefacts.result import FAILED, RESULT_FILE, RunResult, read_result, write_result
from sg.core.layout import CONFIG_FOLDER
from sg.study.sweep import PlannedRun, complete_jobs, forget_failure, longest_first, note_failed_run


def scales(jobs: list[list[str]]) -> list[str]:
    return [" ".join(item.removeprefix("data.") for item in job) for job in jobs]


def listed(*values: str, rest: tuple[str, ...] = ()) -> list[list[str]]:
    return [[*rest, f"data.scale={value}"] for value in values]


def test_a_sweep_gets_its_baseline_and_the_control_at_its_smallest_scale() -> None:
    jobs = complete_jobs(listed("50k", "100k", "530k"), ["equal_steps"])
    assert scales(jobs) == [
        "scale=0", "scale=50k", "scale=100k", "scale=530k", "scale=50k control=equal_steps control_scale=530k",
    ]  # fmt: skip


def test_listed_runs_are_not_added_again() -> None:
    jobs = complete_jobs(listed("0", "50k", "50000", "100k"), [])
    assert scales(jobs) == ["scale=0", "scale=50k", "scale=100k"]


def test_every_seed_gets_its_own_baseline_and_control() -> None:
    jobs = [[f"seed={seed}", f"data.scale={scale}"] for seed in (0, 1) for scale in ("50k", "100k")]
    complete = complete_jobs(jobs, ["equal_steps"])
    assert len(complete) == 8
    assert sum("data.scale=0" in job for job in complete) == 2
    assert sum("data.control=equal_steps" in job for job in complete) == 2
    assert {job[0] for job in complete} == {"seed=0", "seed=1"}


def test_a_single_scale_gets_the_controls_that_need_no_other_scale() -> None:
    assert scales(complete_jobs(listed("50k"), ["random", "equal_steps"])) == [
        "scale=0", "scale=50k", "scale=50k control=random"
    ]  # fmt: skip
    assert scales(complete_jobs(listed("50k"), ["equal_steps"])) == ["scale=0", "scale=50k"]
    assert scales(complete_jobs(listed("0"), ["equal_steps"])) == ["scale=0"]


def test_every_series_of_one_scale_gets_its_baseline() -> None:
    jobs = complete_jobs([["seed=0", "data.scale=100k"], ["seed=1", "data.scale=100k"]], ["equal_steps"])
    assert scales(jobs) == ["seed=0 scale=0", "seed=0 scale=100k", "seed=1 scale=0", "seed=1 scale=100k"]


def test_listed_controls_stay_and_random_needs_no_target() -> None:
    jobs = complete_jobs(
        [["data.scale=50k", "data.control=random"], ["data.scale=50k"], ["data.scale=all"]],
        ["random", "equal_steps"],
    )
    assert scales(jobs) == [
        "scale=0 control=none",
        "scale=50k control=random",
        "scale=50k control=none",
        "scale=all control=none",
        "scale=50k control=equal_steps control_scale=all",
    ]


def test_arms_without_true_captions_are_added_at_the_largest_scale() -> None:
    jobs = complete_jobs(listed("50k", "100k"), ["shuffled_captions", "instruct_steps"])
    assert scales(jobs)[-2:] == ["scale=100k control=shuffled_captions", "scale=100k control=instruct_steps"]


def test_the_equal_step_series_has_every_scale_below_the_largest_once() -> None:
    jobs = complete_jobs(listed("50k", "100k", "200k"), ["equal_steps", "equal_steps_series"])
    assert [job for job in scales(jobs) if "control=" in job] == [
        "scale=50k control=equal_steps control_scale=200k",
        "scale=100k control=equal_steps control_scale=200k",
    ]


def result(**values: object) -> RunResult:
    return RunResult(**({"run": "50k-seed0", "study": "s", "scale": 50_000, "scale_label": "50k", "seed": 0} | values))  # type: ignore[arg-type]


def test_a_failure_is_recorded_but_never_replaces_a_finished_result(tmp_path: Path) -> None:
    note_failed_run(tmp_path / "a", result(status=FAILED, reason="killed by signal 9"))
    assert read_result(tmp_path / "a").reason == "killed by signal 9"
    write_result(tmp_path / "b", result())
    note_failed_run(tmp_path / "b", result(status=FAILED, reason="killed by signal 9"))
    assert read_result(tmp_path / "b").is_finished


def test_a_starting_run_removes_only_an_earlier_failure(tmp_path: Path) -> None:
    write_result(tmp_path / "a", result(status=FAILED, reason="disk full"))
    write_result(tmp_path / "b", result())
    for name in ("a", "b", "none"):
        forget_failure(tmp_path / name)
    assert not (tmp_path / "a" / RESULT_FILE).exists()
    assert read_result(tmp_path / "b").is_finished


def test_the_longest_jobs_start_first_and_of_equal_ones_the_smaller_core() -> None:
    arms = [("0", "none"), ("50k", "none"), ("530k", "none"), ("50k", "equal_steps"), ("100k", "none"), ("all", "none")]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        configs = [
            compose("train", [f"data.scale={scale}", f"data.control={control}", "data.control_scale=530k"])
            for scale, control in arms
        ]
    assert [arms[place] for place in longest_first(configs)] == [
        ("all", "none"), ("50k", "equal_steps"), ("530k", "none"), ("100k", "none"), ("50k", "none"), ("0", "none"),
    ]  # fmt: skip


def test_the_launcher_starts_the_longest_jobs_first_and_returns_all_in_the_order_of_the_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []

    def run(self: ProcessLauncher, run: PlannedRun, config: DictConfig) -> JobReturn:
        started.append(run.name)
        return JobReturn(overrides=run.overrides)

    monkeypatch.setattr(ProcessLauncher, "_run", run)
    jobs = [[f"data.scale={scale}", "data.control=none"] for scale in ("0", "50k", "530k")]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        configs = {tuple(job): compose("train", job, return_hydra_config=True) for job in jobs}
    launcher = ProcessLauncher(num_jobs=2)
    loader = SimpleNamespace(load_sweep_config=lambda config, job: configs[tuple(job)])
    launcher.hydra_context, launcher.config = SimpleNamespace(config_loader=loader), configs[tuple(jobs[0])]  # type: ignore[assignment]
    assert [job.overrides for job in launcher.launch(jobs, 0)] == jobs
    assert set(started[:2]) == {"530k-seed0", "50k-seed0"}
    assert started[2] == "0-seed0"
