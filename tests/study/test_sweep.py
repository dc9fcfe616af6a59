from sg.study.sweep import complete_jobs


def scales(jobs: list[list[str]]) -> list[str]:
    return [" ".join(item.removeprefix("data.") for item in job) for job in jobs]


def listed(*values: str, rest: tuple[str, ...] = ()) -> list[list[str]]:
    return [[*rest, f"data.scale={value}"] for value in values]


def test_a_sweep_gets_its_baseline_and_the_control_at_its_smallest_scale() -> None:
    jobs = complete_jobs(listed("50k", "100k", "530k"), ["equal_steps"], "all")
    assert scales(jobs) == [
        "scale=0", "scale=50k", "scale=100k", "scale=530k", "scale=50k control=equal_steps control_scale=530k",
    ]  # fmt: skip


def test_what_the_user_listed_is_not_added_twice() -> None:
    jobs = complete_jobs(listed("0", "50k", "50000", "100k"), [], "all")
    assert scales(jobs) == ["scale=0", "scale=50k", "scale=100k"]


def test_every_seed_gets_its_own_baseline_and_control() -> None:
    jobs = [[f"seed={seed}", f"data.scale={scale}"] for seed in (0, 1) for scale in ("50k", "100k")]
    complete = complete_jobs(jobs, ["equal_steps"], "all")
    assert len(complete) == 8
    assert sum("data.scale=0" in job for job in complete) == 2
    assert sum("data.control=equal_steps" in job for job in complete) == 2
    assert {job[0] for job in complete} == {"seed=0", "seed=1"}


def test_one_scale_alone_has_nothing_to_control_for() -> None:
    assert scales(complete_jobs(listed("50k"), ["equal_steps"], "all")) == ["scale=0", "scale=50k"]
    assert scales(complete_jobs(listed("0"), ["equal_steps"], "all")) == ["scale=0"]


def test_a_sweep_over_something_else_keeps_the_default_scale() -> None:
    jobs = complete_jobs([["seed=0"], ["seed=1"]], ["equal_steps"], "100k")
    assert scales(jobs) == ["seed=0 scale=0", "seed=0 scale=100k", "seed=1 scale=0", "seed=1 scale=100k"]


def test_listed_controls_stay_and_random_needs_no_target() -> None:
    jobs = complete_jobs(
        [["data.scale=50k", "data.control=random"], ["data.scale=50k"], ["data.scale=all"]],
        ["random", "equal_steps"],
        "all",
    )
    assert scales(jobs) == [
        "scale=0",
        "scale=50k control=random",
        "scale=50k",
        "scale=all",
        "scale=50k control=equal_steps control_scale=all",
    ]
