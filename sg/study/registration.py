"""`register=true`: what a sweep sets out to show is written down before its first run, and then never changes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sg.artefacts.arms import (
    CAPTION_EFFECT,
    CONTROL,
    EQUAL_STEPS,
    HEADLINE,
    REGISTRATION_FILE,
    SCALE_EFFECT,
    Registration,
    read_registration,
    write_registration,
)
from sg.artefacts.result import RESULT_FILE
from sg.core.errors import ConfigError
from sg.core.identity import code_version
from sg.core.scales import scale_label
from sg.study.config import TrainConfig
from sg.study.core_counts import asked_scale


def register_studies(studies: Mapping[Path, Sequence[TrainConfig]]) -> None:
    """Register the runs of a sweep in the folder of each study that they belong to.

    Raises:
        ConfigError: a study holds runs already, lacks an arm of its contrast, or has registered something else.
    """
    registrations = {folder: registration_of(configs) for folder, configs in studies.items()}
    for folder, registration in registrations.items():
        _check(folder, registration)
    for folder, registration in registrations.items():
        if read_registration(folder) is None:
            write_registration(folder, registration)


def registration_of(configs: Sequence[TrainConfig]) -> Registration:
    """Return what the runs of one study would register.

    Raises:
        ConfigError: the sweep lacks an arm of the contrast, or its arms have different seeds.
    """
    primary = configs[0].primary
    seeds: dict[str, set[int]] = {}
    for config in configs:
        seeds.setdefault(arm_name(config), set()).add(config.seed)
    contrast = primary.contrast.replace("_", " ")
    trained = [arm for arm in seeds if "/" not in arm and arm != "0"]
    has_arms = {
        CAPTION_EFFECT: "0" in seeds and bool(trained),
        SCALE_EFFECT: len(trained) > 1,
        CONTROL: bool(trained) and any(arm.endswith(f"/{EQUAL_STEPS}") for arm in seeds),
    }
    if not has_arms[contrast]:
        raise ConfigError(
            f"primary.contrast={primary.contrast} cannot be registered: the sweep has only the arms "
            f"{', '.join(seeds)}. Register the whole sweep, such as -m data.scale=50k,530k seed=0,1,2 register=true."
        )
    uneven = [arm for arm in seeds if seeds[arm] != set.union(*seeds.values())]
    if uneven:
        raise ConfigError(f"register=true needs the same seeds for every arm: {uneven[0]} lacks some of them.")
    bound = primary.equivalence_points
    numbers = sorted(set.union(*seeds.values()))
    covered = "videos and training seeds" if len(numbers) > 1 else "videos (one seed: training again is not covered)"
    return Registration(
        contrast=contrast,
        metric="accuracy",
        benchmark=str(configs[0].benchmark.name),
        setting=primary.setting,
        arms=list(seeds),
        seeds=numbers,
        equivalence_points=bound,
        rule=(
            f"found if the 95 % interval over {covered} excludes 0 (two-sided 5 %, not corrected, because it is the "
            f"only primary contrast); equivalent if the true difference is within ±{bound:g} points (two one-sided "
            "tests at 5 %); otherwise neither"
        ),
        date=datetime.now(UTC).date().isoformat(),
        code=code_version(),
    )


def arm_name(config: TrainConfig) -> str:
    """Return the arm of a run as the report names it: `0`, `50k`, `50k/equal_steps`."""
    label, control = scale_label(asked_scale(config.data)), config.data.control
    return label if control == HEADLINE else f"{label}/{control}"


def check_registered(config: TrainConfig, study: Path) -> None:
    """Refuse a single run with `register=true` that the study in `study` has not registered.

    Raises:
        ConfigError: there is no registration, or the run is not part of it.
    """
    registration = read_registration(study)
    if registration is None:
        raise ConfigError(
            "register=true registers a whole sweep: add -m and all scales, such as -m data.scale=50k,530k seed=0,1,2."
        )
    if arm_name(config) not in registration.arms or config.seed not in registration.seeds:
        raise ConfigError(
            f"{study / REGISTRATION_FILE} does not contain {arm_name(config)} with seed {config.seed}, and a "
            "registration does not change: remove register=true, and the report names this run as added."
        )


def _check(folder: Path, registration: Registration) -> None:
    before = read_registration(folder)
    if before is None:
        results = sorted(folder.glob(f"*/{RESULT_FILE}"))
        if results:
            raise ConfigError(
                f"{folder} holds {len(results)} results already, the first of {results[0].parent.name}: a study is "
                "registered before its first run. Give the new study its own name (name=NAME), or remove register=true."
            )
        return
    changed = [key for key, value in registration.content.items() if before.content[key] != value]
    if changed:
        key = changed[0]
        raise ConfigError(
            f"{folder / REGISTRATION_FILE} has registered {key}={before.content[key]}, and this sweep has "
            f"{key}={registration.content[key]}: a registration does not change. Remove register=true to add runs, "
            "which the report names as added, or give the new study its own name (name=NAME)."
        )
