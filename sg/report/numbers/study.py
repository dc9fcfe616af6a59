"""A study in memory: its runs, grouped into arms that differ in their seeds only, with the answers of each."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.answer_rules.calibration import LIKELIHOODS, Likelihood, likelihood
from sg.artefacts.arms import ARM_KINDS, CAPTION_EFFECT, CONTROL, EQUAL_STEPS, SCALE_EFFECT, arm_label
from sg.artefacts.predictions import OVERALL, SETTINGS
from sg.artefacts.result import FAILED, PREDICTIONS_FILE, RESULT_FILE, RunResult, read_answers_of, read_result
from sg.core.errors import DataError, MissingInputError
from sg.report.numbers.estimates import ArmScore, Estimate, Floats, Ints, arm_score, difference, seed_noise

UNKNOWN_SCALE = "?"
LOG_FILE = "run.log"
LOG_LENGTH = 200

_Facts = tuple[str, str, str, str, str, int]
"""A question's video, duration, right answer, task type, domain and number of options."""
_Answers = dict[str, dict[str, tuple[str, bool]]]
"""Setting -> question -> (letter, whether it is right); the letter is empty if no letter could be read."""
Likely = dict[tuple[str, str], list[Likelihood]]
"""(setting, a name in `LIKELIHOODS`) -> its questions."""


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions that at least one run was asked, sorted by id; arrays are [n]."""

    ids: tuple[str, ...]
    videos: Ints
    durations: NDArray[np.str_]
    answers: NDArray[np.str_]
    task_types: NDArray[np.str_]
    domains: NDArray[np.str_]
    num_options: Ints

    @property
    def chance(self) -> float:
        """Expected accuracy of guessing, in percent."""
        return float(100 * (1 / self.num_options).mean()) if len(self.num_options) else 0.0

    def mask(self, bucket: str) -> NDArray[np.bool_]:
        """[n] True for the questions of a duration bucket; all True for "overall"."""
        return np.ones(len(self.ids), dtype=bool) if bucket == OVERALL else self.durations == bucket


@dataclass(frozen=True, slots=True)
class Arm:
    """Runs that differ in their seed only. `correct[setting]` is [seeds, n]: 1, 0, or NaN for an unanswered question.

    `correct` has a row for each seed with answers in the setting (a probe may have been run for one seed only);
    `seeds[setting]` names them. `letters[setting]` counts the answered letters over all seeds; `likely` has the
    likelihoods of all seeds.
    """

    scale: int
    scale_label: str
    control: str | None
    runs: tuple[RunResult, ...]
    failed: tuple[RunResult, ...]
    correct: Mapping[str, Floats] = field(default_factory=dict)
    seeds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    letters: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    likely: Likely = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Unique name, such as `50k` or `50k/equal_steps`."""
        return f"{self.scale_label}/{self.control}" if self.control else self.scale_label

    @property
    def is_baseline(self) -> bool:
        """The arm without the caption stage."""
        return self.scale == 0 and self.control is None

    @property
    def label(self) -> str:
        """Name in tables: `no captions`, `50k (500)` with the captions used, `50k equal-step`, `100k random`."""
        if self.is_baseline:
            return "no captions"
        if self.control is not None:
            return arm_label(self.scale_label, self.control)
        return self.scale_label + (f" ({self.num_captions:,})" if self.num_captions not in (0, self.scale) else "")

    @property
    def num_captions(self) -> int:
        """Number of captions that training used; the largest of the seeds."""
        return max((run.num_captions for run in self.runs or self.failed), default=0)

    @property
    def caption_steps(self) -> int | None:
        """Optimiser steps of the caption stage; None if no run recorded them."""
        known = [run.steps["caption"] for run in self.runs if "caption" in run.steps]
        return max(known) if known else (0 if self.scale == 0 else None)


@dataclass(frozen=True, slots=True)
class Study:
    """All runs of a study. `headline` is the sweep by rising scale, baseline first; `controls` are the other arms."""

    name: str
    folder: Path
    benchmark: str
    questions: Questions
    headline: tuple[Arm, ...]
    controls: tuple[Arm, ...]
    runs: tuple[RunResult, ...]
    notes: tuple[str, ...]

    @property
    def model(self) -> str:
        """Name of the model that all runs train; "" if no run recorded it."""
        return next((run.model for run in self.runs if run.model), "")

    @property
    def weights(self) -> int | None:
        """Number of weights of its connector and language model; None if no run recorded it."""
        return next((run.weights for run in self.runs if run.weights is not None), None)

    @property
    def baseline(self) -> Arm | None:
        """The arm without captions, if at least one of its runs finished."""
        return next((arm for arm in self.headline if arm.is_baseline and arm.runs), None)

    @property
    def finished(self) -> tuple[Arm, ...]:
        """Headline arms with at least one finished run, by rising scale."""
        return tuple(arm for arm in self.headline if arm.runs)

    def score(self, arm: Arm, setting: str, bucket: str = OVERALL) -> ArmScore | None:
        """Score the answers of `arm` in a setting and bucket; None if it has none."""
        return self.score_of(arm, setting, self.questions.mask(bucket))

    def score_of(self, arm: Arm, setting: str, mask: NDArray[np.bool_]) -> ArmScore | None:
        """Score the answers of `arm` in a setting to the questions where `mask` [n] is True; None if it has none."""
        if setting not in arm.correct:
            return None
        return arm_score(arm.correct[setting][:, mask], self.questions.videos[mask], arm.seeds[setting])

    def scores(self, setting: str, mask: NDArray[np.bool_]) -> "ArmScores":
        """Score all arms on the questions where `mask` [n] is True."""
        found = {arm.name: self.score_of(arm, setting, mask) for arm in (*self.headline, *self.controls)}
        return ArmScores({name: score for name, score in found.items() if score is not None})


class ArmScores:
    """The scores of a study's arms on the same items in one metric, and the seed noise that all of them determine."""

    def __init__(self, by_name: Mapping[str, ArmScore]) -> None:
        self.by_name = by_name
        self.noise = seed_noise(list(by_name.values()))

    def difference(self, arm: Arm, other: Arm | None) -> Estimate | None:
        """Return `arm` minus `other`; None if one of them has no score or they share no seed."""
        if other is None or arm.name not in self.by_name or other.name not in self.by_name:
            return None
        return difference(self.by_name[arm.name], self.by_name[other.name], self.noise)


def contrast_arms(study: Study) -> dict[str, tuple[Arm, Arm]]:
    """The two arms of each planned contrast (`sg.artefacts.arms`) that the study has finished."""
    trained = [arm for arm in study.finished if arm.scale > 0]
    found: dict[str, tuple[Arm, Arm]] = {}
    if trained and study.baseline is not None:
        found[CAPTION_EFFECT] = trained[-1], study.baseline
    if len(trained) > 1:
        found[SCALE_EFFECT] = trained[-1], trained[0]
    control = next((arm for arm in study.controls if arm.control == EQUAL_STEPS and arm.runs), None)
    if trained and control is not None:
        found[CONTROL] = trained[-1], control
    return found


def read_study(folder: Path) -> Study:
    """Read the runs below `folder`; a run that failed or has no readable result is kept with its reason.

    Raises:
        MissingInputError: the folder does not exist or contains no run.
        DataError: the runs used different benchmarks or models, or contradict each other about a question.
    """
    check_study_folder(folder)
    notes: list[str] = []
    runs = _without_repeats([_read_run(path) for path in _run_folders(folder)], notes)
    benchmarks = _only("benchmarks", folder, [run.benchmark for run in runs if run.is_finished])
    _only("models", folder, [run.model for run in runs if run.is_finished])
    known: dict[str, _Facts] = {}
    likely: dict[str, Likely] = {run.run: {} for run in runs}
    answers = {
        run.run: _read_answers(folder / run.run, run, known, likely[run.run], notes) for run in runs if run.is_finished
    }
    questions = _questions(known)
    arms = _arms(runs, answers, likely, questions)
    return Study(
        name=folder.name,
        folder=folder,
        benchmark=benchmarks[0] if benchmarks else "",
        questions=questions,
        headline=tuple(arm for arm in arms if arm.control is None),
        controls=tuple(arm for arm in arms if arm.control is not None),
        runs=tuple(runs),
        notes=tuple(notes),
    )


def _only(kind: str, folder: Path, names: Iterable[str]) -> list[str]:
    """The one name among `names`; empty without any. Runs of several must not be averaged as seeds of one arm."""
    found = sorted(set(names) - {""})
    if len(found) > 1:
        raise DataError(
            f"{folder} mixes the {kind} {', '.join(found)}: put the runs of each into a folder of their own."
        )
    return found


def check_study_folder(folder: Path) -> None:
    """Raise MissingInputError if `folder` does not exist or contains no run."""
    if not folder.is_dir():
        raise MissingInputError(
            f"There is no study folder at {folder}: set study=FOLDER to the folder that contains the runs of a sweep."
        )
    if not _run_folders(folder):
        raise MissingInputError(f"{folder} contains no runs: run `python train.py -m data.scale=50k,100k` first.")


def _run_folders(folder: Path) -> list[Path]:
    """Sub-folders that are runs: they contain a result, or files that an interrupted run left."""
    traces = (RESULT_FILE, PREDICTIONS_FILE, ".hydra")
    return sorted(path for path in folder.iterdir() if path.is_dir() and any((path / name).exists() for name in traces))


def _read_run(path: Path) -> RunResult:
    """The result in `path` under the name of its folder, or a failed result with the reason why it cannot be read."""
    try:
        return replace(read_result(path), run=path.name)
    except MissingInputError:
        reason = f"left no result{_last_log_line(path)}; delete the folder if the run is not wanted"
    except DataError as error:
        reason = str(error)
    return RunResult(path.name, path.parent.name, 0, UNKNOWN_SCALE, 0, status=FAILED, reason=reason)


def _last_log_line(path: Path) -> str:
    """The last line of the log of a run without a result, in brackets; empty if there is no log."""
    file = path / LOG_FILE
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n") if file.is_file() else []
    written = [line.strip() for line in lines if line.strip()]
    return f" (last line of its log: {written[-1][:LOG_LENGTH]})" if written else ""


def _without_repeats(runs: Iterable[RunResult], notes: list[str]) -> list[RunResult]:
    """Runs with different (scale, control, seed). A second run with the same ones is left out, with a note.

    It differs in a setting that the tables do not show, and averaging the two as seeds would hide that.
    """
    seen: dict[tuple[int, str | None, int], RunResult] = {}
    kept = []
    for run in runs:
        key = (run.scale, run.control, run.seed)
        if run.is_finished and key in seen:
            notes.append(
                f"Run {run.run} is left out: it has the scale, control and seed of {seen[key].run}, but other "
                "settings. "
                "Run each setting as a study of its own."
            )
            continue
        if run.is_finished:
            seen[key] = run
        kept.append(run)
    return kept


def _read_answers(path: Path, run: RunResult, known: dict[str, _Facts], likely: Likely, notes: list[str]) -> _Answers:
    """The run's answers. `known` collects the questions of all runs, `likely` the likelihoods of this one.

    Raises:
        DataError: the run contradicts `known` about a question, so it was evaluated on another benchmark.
    """
    try:
        rows = read_answers_of(path, run)
    except (MissingInputError, DataError) as error:
        notes.append(f"The scores of run {run.run} have no intervals, because its answers cannot be read: {error}")
        return {}
    answers: _Answers = {}
    for row in rows:
        facts = (row.video_id, row.duration, row.answer, row.task_type, row.domain, row.num_options)
        if known.setdefault(row.question_id, facts) != facts:
            raise DataError(
                f"Question {row.question_id} has the video, duration, answer, task type, domain and number of options "
                f"{known[row.question_id]} in one run and {facts} in {run.run}: the runs were evaluated on different "
                "benchmarks. Put the runs of each benchmark into a folder of their own."
            )
        answers.setdefault(row.setting, {})[row.question_id] = (row.letter, row.is_correct)
        for of, values in LIKELIHOODS.items():
            if row.setting in SETTINGS and values(row):
                likely.setdefault((row.setting, of), []).append(likelihood(row, values(row)))
    return answers


def _questions(known: Mapping[str, _Facts]) -> Questions:
    ids = tuple(sorted(known))
    _, videos = np.unique([known[key][0] for key in ids], return_inverse=True)
    durations, answers, task_types, domains = (
        np.array([known[key][place] for key in ids], dtype=np.str_) for place in (1, 2, 3, 4)
    )
    num_options = np.array([known[key][5] for key in ids], dtype=np.int64)
    return Questions(ids, videos.astype(np.int64).reshape(-1), durations, answers, task_types, domains, num_options)


def _arms(
    runs: Iterable[RunResult], answers: Mapping[str, _Answers], likely: Mapping[str, Likely], questions: Questions
) -> list[Arm]:
    """Arms ordered by control (headline first), then scale; a run with an unknown scale is in no arm."""
    groups: dict[tuple[int, int], list[RunResult]] = {}
    for run in runs:
        if run.scale_label != UNKNOWN_SCALE:
            groups.setdefault(((None, *ARM_KINDS).index(run.control), run.scale), []).append(run)
    index = {question: position for position, question in enumerate(questions.ids)}
    return [_arm(sorted(groups[key], key=lambda run: run.seed), answers, likely, index) for key in sorted(groups)]


def _arm(
    members: list[RunResult], answers: Mapping[str, _Answers], likely: Mapping[str, Likely], index: Mapping[str, int]
) -> Arm:
    finished = tuple(run for run in members if run.is_finished)
    correct: dict[str, Floats] = {}
    seeds: dict[str, tuple[int, ...]] = {}
    letters: dict[str, Counter[str]] = {}
    for setting in sorted({setting for run in finished for setting in answers[run.run]}):
        asked = [run for run in finished if setting in answers[run.run]]
        seeds[setting] = tuple(run.seed for run in asked)
        correct[setting] = np.stack([_correct(answers[run.run][setting], index) for run in asked])
        letters[setting] = Counter(letter for run in asked for letter, _ in answers[run.run][setting].values())
    failed = tuple(run for run in members if not run.is_finished)
    pooled: Likely = {}
    for run in finished:
        for key, found in likely[run.run].items():
            pooled.setdefault(key, []).extend(found)
    first = members[0]
    return Arm(
        first.scale, first.scale_label, first.control, finished, failed, correct, seeds, letters, pooled
    )  # fmt: skip


def _correct(seed: Mapping[str, tuple[str, bool]], index: Mapping[str, int]) -> Floats:
    """[n] 1, 0, or NaN for a question that was not asked or not answered."""
    values = np.full(len(index), np.nan)
    for question, (letter, is_correct) in seed.items():
        if letter:
            values[index[question]] = float(is_correct)
    return values
