"""The registered contrast of a study: its result by the registered rule, what was added to it, and what is missing."""

from dataclasses import dataclass, field, replace

from sg.artefacts.arms import REGISTRATION_FILE, Registration, read_registration
from sg.report.numbers.estimates import Estimate, difference, seed_noise
from sg.report.numbers.study import Arm, Study, contrast_arms


@dataclass(frozen=True, slots=True)
class RegisteredResult:
    """What a study registered, and what came of it.

    Attributes:
        difference: the primary contrast over the registered arms and seeds; None if its runs are not finished.
        pair: labels of its two arms.
        added: finished runs that were not registered, as `ARM seed N`.
        missing: registered runs without a result.
        changed: finished runs that recorded another registration when they began, and registered runs that recorded
            none: the file was written or changed afterwards, so nothing counts as registered.
    """

    registration: Registration
    difference: Estimate | None
    pair: list[str]
    added: list[str]
    missing: list[str]
    changed: list[str] = field(default_factory=list)


def registered_result(study: Study) -> RegisteredResult | None:
    """Return the result of the study's registration; None if it has none; DataError if the registration is damaged."""
    registration = read_registration(study.folder)
    if registration is None:
        return None
    arms = {arm.name: arm for arm in (*study.headline, *study.controls)}
    recorded = {(name, run.seed): run.registration for name, arm in arms.items() for run in arm.runs}
    finished = set(recorded)
    planned = {(name, seed) for name in registration.arms for seed in registration.seeds}
    order = {name: place for place, name in enumerate([*registration.arms, *arms])}

    def names(runs: set[tuple[str, int]]) -> list[str]:
        return [f"{name} seed {seed}" for name, seed in sorted(runs, key=lambda run: (order[run[0]], run[1]))]

    only = _registered_part(study, registration)
    pair = contrast_arms(only).get(registration.contrast)
    return RegisteredResult(
        registration=registration,
        difference=None if pair is None else _difference(only, registration, *pair),
        pair=[] if pair is None else [arm.label for arm in pair],
        added=names(finished - planned),
        missing=names(planned - finished),
        changed=names(
            {run for run, own in recorded.items() if own != registration.fingerprint and (own or run in planned)}
        ),
    )


def lost_registration(study: Study) -> list[str]:
    """A note if runs recorded a registration that does not exist any more."""
    runs = [run.run for run in study.runs if run.registration]
    if not runs or read_registration(study.folder) is not None:
        return []
    return [f"{REGISTRATION_FILE}, which {len(runs)} runs such as {runs[0]} recorded when they began, is missing."]


def _registered_part(study: Study, registration: Registration) -> Study:
    """The study with its registered arms only."""

    def kept(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        return tuple(arm for arm in arms if arm.name in registration.arms)

    return replace(study, headline=kept(study.headline), controls=kept(study.controls))


def _difference(study: Study, registration: Registration, first: Arm, second: Arm) -> Estimate | None:
    """The contrast over the registered seeds, with the seed noise of the registered runs."""
    scores = study.scores(registration.setting, study.questions.mask("overall")).by_name
    kept = {
        name: score.over(seeds)
        for name, score in scores.items()
        if (seeds := [seed for seed in score.seeds if seed in registration.seeds])
    }
    if first.name not in kept or second.name not in kept:
        return None
    return difference(kept[first.name], kept[second.name], seed_noise(list(kept.values())))
