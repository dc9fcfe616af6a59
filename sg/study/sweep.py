"""Sweeps: the jobs that a study needs, the runs that they stand for, and the results of failed ones."""

import contextlib
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from sg.artefacts.arms import ARM_KINDS, EQUAL_STEPS, EQUAL_STEPS_SERIES, HEADLINE, LARGEST
from sg.artefacts.result import FAILED, RESULT_FILE, RunResult, read_result, write_result
from sg.core.commands import invocation, typed
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.places.settings import receive
from sg.core.scales import parse_scale, scale_label
from sg.study.config import TrainConfig
from sg.study.core_counts import asked_scale, caption_draws
from sg.study.planning.machine import check_devices, check_launcher, is_cluster
from sg.study.registration import register_studies

SCALE, CONTROL, CONTROL_SCALE, SEED = "data.scale", "data.control", "data.control_scale", "seed"

_studies: list[Path] = []


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that a sweep will make: its study, name, folder and overrides."""

    study: str
    name: str
    folder: Path
    overrides: list[str]


def studies_of_this_process() -> list[Path]:
    """Take the folders of the studies that sweeps of this process belong to, in the order of their first job.

    They are forgotten, so that a later command of this process does not report them again.
    """
    studies = list(_studies)
    _studies.clear()
    return studies


def settled_job(job: Sequence[str], config: DictConfig) -> list[str]:
    """The overrides of a job with scale, control and seed as its composed `config` has them.

    The same value can be written in many ways: `++data.scale=50k`, `data.scale="50k"`, `data={scale:50k}`, `seed=00`.

    Raises:
        ConfigError: the settings of the job are wrong.
    """
    typed(config, TrainConfig)
    keys = [item.split("=", 1)[0].lstrip("+") for item in job]
    values = {SCALE: config.data.scale, CONTROL: config.data.control}
    values |= {CONTROL_SCALE: config.data.control_scale} if CONTROL_SCALE in keys else {}
    settled = [
        f"{key}={config.seed}" if key == SEED else item
        for key, item in zip(keys, job, strict=True)
        if key not in (SCALE, CONTROL, CONTROL_SCALE)
    ]
    return settled + [f"{key}={value}" for key, value in values.items()]


def complete_jobs(jobs: Sequence[Sequence[str]], controls: Sequence[str]) -> list[list[str]]:
    """The jobs of a sweep without repetitions, together with the baseline and the control runs that a study needs.

    Jobs are lists of `key=value`, as `settled_job` returns them. Jobs that differ only in scale and control form a
    series. A series with a scale above 0 gets a job with scale 0, and the jobs of every control, unless it has them.
    `sg.artefacts.arms` says at which scales a control is added. The equal-step control takes the steps of the series'
    largest scale.
    """
    series: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for job in jobs:
        settings = dict(item.split("=", 1) for item in job)
        rest = tuple(f"{key}={value}" for key, value in settings.items() if key not in (SCALE, CONTROL, CONTROL_SCALE))
        series.setdefault(rest, []).append(settings)
    complete: list[list[str]] = []
    for rest, members in series.items():
        listed = [(m[SCALE], m.get(CONTROL, HEADLINE), m.get(CONTROL_SCALE)) for m in members]
        has_controls = any(control != HEADLINE for _, control, _ in listed)
        for scale, control, control_scale in _wanted(listed, controls):
            extra = [f"{CONTROL}={control}"] if has_controls or control != HEADLINE else []
            extra += [f"{CONTROL_SCALE}={control_scale}"] if control_scale is not None else []
            complete.append([*rest, f"{SCALE}={scale}", *extra])
    return complete


def _number(scale: str) -> float:
    number = parse_scale(scale)
    return float("inf") if number is None else number


def _wanted(
    members: Sequence[tuple[str, str, str | None]], controls: Sequence[str]
) -> list[tuple[str, str, str | None]]:
    """(scale, control, control_scale) of each run of a series: an added baseline, the listed runs, added controls."""
    headline = {_number(scale): scale for scale, control, _ in members if control == HEADLINE}
    above = sorted(number for number in headline if number > 0)
    wanted: list[tuple[str, str, str | None]] = []
    if above and 0 not in headline:
        wanted.append(("0", HEADLINE, None))
    seen: set[tuple[float, str]] = set()
    for scale, control, control_scale in members:
        key = (_number(scale), control)
        if key not in seen:
            seen.add(key)
            wanted.append((scale, control, control_scale))
    for control in controls if above else ():
        name = EQUAL_STEPS if control == EQUAL_STEPS_SERIES else control
        if name != EQUAL_STEPS or len(above) > 1:  # its steps are those of a larger scale
            for number in _scales_of(control, above):
                if (number, name) not in seen:
                    seen.add((number, name))
                    wanted.append((headline[number], name, headline[above[-1]] if name == EQUAL_STEPS else None))
    return wanted


def _scales_of(control: str, above: Sequence[float]) -> Sequence[float]:
    """The scales at which a sweep over the scales `above` (rising) adds a control."""
    if control == EQUAL_STEPS_SERIES:
        return above[:-1]
    return above[-1:] if ARM_KINDS[control].at == LARGEST else above[:1]


def planned_run(config: DictConfig, overrides: list[str]) -> PlannedRun:
    """The run of one job, from its composed `config`, in the folder that `hydra.sweep` names."""
    folder = (Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)).absolute()
    return PlannedRun(folder.parent.name, folder.name, folder, overrides)


def longest_first(configs: Sequence[DictConfig]) -> list[int]:
    """Return the places of the jobs by falling length of their caption stage; of equal ones, the smaller core first.

    When several jobs run at a time, the longest ones must not be left alone at the end.
    """
    lengths = []
    for config in (typed(config, TrainConfig) for config in configs):
        draws = caption_draws(config, None)
        lengths.append((-math.inf if draws is None else -draws, asked_scale(config.data)))
    return sorted(range(len(configs)), key=lengths.__getitem__)


def begin_sweep(configs: Sequence[DictConfig], overrides: Sequence[list[str]]) -> bool:
    """Check every job of a sweep before the first one starts, and record its studies.

    Returns:
        False after a plan (`dry_run=true`) or an explanation (`why=true`): there is nothing to run.

    Raises:
        ConfigError: a job's settings are wrong, this machine lacks its devices, or the study cannot be registered;
            nothing has been started.
        MissingInputError: the plan of a dry run names something that does not exist.
    """
    from sg.study.planning.plan import check_run, print_plan, refuse_missing
    from sg.study.planning.rehearse import print_rehearsal
    from sg.study.planning.unused import refuse_unused
    from sg.study.planning.why import print_why

    checked = [typed(config, TrainConfig) for config in configs]
    receive()
    for run in checked:
        check_run(run)
    refuse_unused(checked, [word for config in configs for word in config.hydra.overrides.task])
    planned = [planned_run(config, job) for config, job in zip(configs, overrides, strict=True)]
    _refuse_shared_folders(planned)
    if any(run.why for run in checked):
        print_why(checked)
        return False
    if any(run.dry_run for run in checked):
        refuse_missing(print_plan(checked, is_cluster(str(configs[0].hydra.launcher._target_))))
        return False
    if any(run.rehearse for run in checked):
        print_rehearsal(max(checked, key=lambda run: run.trainer.world_size))
        return False
    for config, run in zip(configs, checked, strict=True):
        launcher = str(config.hydra.launcher._target_)
        check_launcher(launcher)
        if not is_cluster(launcher):  # jobs on a cluster look for their devices themselves
            check_devices(run.trainer.accelerator, run.trainer.devices)
    runs: dict[Path, list[TrainConfig]] = {}
    for plan, run in zip(planned, checked, strict=True):
        runs.setdefault(plan.folder.parent, []).append(run)
    if any(run.register for run in checked):
        register_studies(runs)
    _studies.extend(folder for folder in runs if folder not in _studies)
    return True


def _refuse_shared_folders(runs: Sequence[PlannedRun]) -> None:
    """Raise ConfigError if two jobs have one folder, where each would take the other's result for its own."""
    first: dict[Path, PlannedRun] = {}
    for run in runs:
        other = first.setdefault(run.folder, run)
        if other is not run:
            differing = ", ".join(sorted(set(other.overrides) ^ set(run.overrides)))
            raise ConfigError(
                f"Two jobs of this sweep have one folder, {run.folder}, and differ in {differing}: sweep over settings "
                "that change a result, or give each job a name=NAME or a hydra.sweep.dir of its own."
            )


def forget_folder(folder: Path, written_by_hydra: set[str], runs: Path) -> None:
    """Remove the folder of a run or a sweep that does not start, unless it has other entries than these.

    Empty folders above it are removed too, up to the folder `runs` of all studies.
    """
    if not folder.is_dir() or not {path.name for path in folder.iterdir()} <= written_by_hydra:
        return
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        for above in folder.parents:
            if not above.is_relative_to(runs):
                break
            above.rmdir()


def forget_failure(folder: Path) -> None:
    """Remove the result of an earlier, failed run in `folder`: a failed result found later then belongs to this run."""
    with contextlib.suppress(MissingInputError, DataError):
        if read_result(folder).status == FAILED:
            (folder / RESULT_FILE).unlink()


def note_failed_run(folder: Path, failed: RunResult) -> RunResult:
    """Write `failed` to `folder` unless it holds a result; return whichever result the folder then holds."""
    try:
        return read_result(folder)
    except (MissingInputError, DataError):
        write_result(folder, failed)
        return failed


def has_result(run: PlannedRun) -> bool:
    """True if the folder of the run holds a finished result."""
    try:
        return read_result(run.folder).is_finished
    except (MissingInputError, DataError):
        return False


def note_failure(run: PlannedRun, config: DictConfig, reason: str) -> str:
    """Write a failed result for a job that ended without one (a crash, a kill), and return the reason to show."""
    control = str(config.data.control)
    scale = asked_scale(typed(config, TrainConfig).data)
    failed = RunResult(
        run=run.name,
        study=run.study,
        scale=scale,
        scale_label=scale_label(scale),
        seed=int(config.seed),
        control=None if control == HEADLINE else control,
        status=FAILED,
        reason=reason,
        benchmark=str(config.benchmark.name),
        command=invocation(),
    )
    noted = note_failed_run(run.folder, failed)
    return noted.reason if noted.status == FAILED else reason
