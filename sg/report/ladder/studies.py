"""The studies of a ladder: which model and which choice each one is, and its scores on what all of them share."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sg.artefacts.predictions import OVERALL, SETTINGS
from sg.artefacts.result import STUDY_FILE
from sg.core.errors import ConfigError, DataError
from sg.core.files import read_json
from sg.core.identity import Identity, differences, recorded
from sg.report.numbers.held_out import HELD_OUT, Losses, loss_scores, read_losses, shared_videos
from sg.report.numbers.study import ArmScores, Study, read_study
from sg.report.wording import joined, plural

METRICS = (*SETTINGS, HELD_OUT)
NAMED_GROUPS = ("captioner", "curator", "data", "embedder")
"""Settings groups whose `name` says which choice was made."""
OF_THE_MODEL = ("stage", "trainer")
"""Settings groups that follow the model: its recipe and its machine. They are a choice only within one model."""


@dataclass(frozen=True, slots=True)
class Member:
    """One study of the ladder: a model, a choice, and its scores by metric on the items that all studies share.

    Attributes:
        weights: of the connector and the language model.
        choice: what it does otherwise than the others, such as `curator=random`; "" if all make the same choices.
    """

    study: Study
    model: str
    weights: int
    choice: str
    scores: Mapping[str, ArmScores]

    @property
    def label(self) -> str:
        """`tiny`, or `tiny, curator=random`."""
        return f"{self.model}, {self.choice}" if self.choice else self.model


@dataclass(frozen=True, slots=True)
class Ladder:
    """Studies by choice and then by size of the model; `notes` say what is not comparable."""

    members: tuple[Member, ...]
    notes: list[str] = field(default_factory=list)

    @property
    def choices(self) -> list[str]:
        """The choices, in order."""
        return list(dict.fromkeys(member.choice for member in self.members))

    @property
    def models(self) -> dict[str, int]:
        """Weights by model, smallest first."""
        return dict(sorted({member.model: member.weights for member in self.members}.items(), key=lambda item: item[1]))


def read_ladder(folders: Sequence[Path]) -> Ladder:
    """Read the studies in `folders`.

    Raises:
        ConfigError: there are fewer than two, or two of them are the same model and choice.
        MissingInputError, DataError: one is not a study with results, or they were asked different questions.
    """
    if len(set(folders)) < 2:
        raise ConfigError("A ladder takes two or more studies: python -m sg.report ladder runs/demo_scaling-*.")
    studies = [read_study(folder) for folder in folders]
    _check_questions(studies)
    records = [_record(study) for study in studies]
    notes = [f"{study.name}: {note}" for study in studies for note in (*study.notes, *_lost(study))]
    models = _model_names(studies, records)
    choices, more = _choices(studies, records, models)
    scores = _scores(studies, records, notes)
    names = [f"{model}, {choice}" for model, choice in zip(models, choices, strict=True)]
    for place, name in enumerate(names):
        if name in names[:place]:
            first = studies[names.index(name)].folder
            raise ConfigError(f"{first} and {studies[place].folder} are both {name.strip(', ')}: give one of them.")
    weights = [study.weights or 0 for study in studies]
    members = [Member(*own) for own in zip(studies, models, weights, choices, scores, strict=True)]
    return Ladder(tuple(sorted(members, key=lambda member: (member.choice, member.weights))), [*notes, *more])


def _lost(study: Study) -> list[str]:
    """Runs without a result, and the lack of a baseline."""
    failed = [run.run for run in study.runs if not run.is_finished]
    lost = [f"{plural(len(failed), 'run')} failed and not part of any number: {joined(failed)}."] if failed else []
    return [*lost, *([] if study.baseline else ["no run without captions finished, so it has no difference from one."])]


def _record(study: Study) -> Identity:
    path = study.folder / STUDY_FILE
    found = recorded(read_json(path)) if path.is_file() else None
    if found is None or study.weights is None:
        raise DataError(
            f"{study.folder} does not record its settings and the size of its model, as studies of older versions: "
            "repeat the study's command, which reuses all stages and answers."
        )
    return found


def _check_questions(studies: Sequence[Study]) -> None:
    first, *others = studies
    for other in others:
        one, two = first.questions, other.questions
        if other.benchmark != first.benchmark or one.ids != two.ids or (one.answers != two.answers).any():
            raise DataError(
                f"{first.folder} and {other.folder} were asked different questions, so their scores do not compare: "
                "choose studies with one benchmark."
            )


def _model_names(studies: Sequence[Study], records: Sequence[Identity]) -> list[str]:
    """The name of each study's model; ConfigError if two different models have one name."""
    known: dict[str, tuple[Any, Study]] = {}
    for study, record in zip(studies, records, strict=True):
        model = record.settings["model"], record.inputs["model"]
        other, before = known.setdefault(study.model, (model, study))
        if other != model:
            raise ConfigError(
                f"{before.folder} and {study.folder} train different models with the name {study.model}: give one of "
                "them its own model.name."
            )
    return [study.model for study in studies]


def _choices(
    studies: Sequence[Study], records: Sequence[Identity], models: Sequence[str]
) -> tuple[list[str], list[str]]:
    """What each study does otherwise than the others, besides its model; and notes on recipes that follow the model."""
    changes = [{change.key: change for change in differences(records[0], record)} for record in records]
    keys = sorted({key for found in changes for key in found if key.startswith("settings.")})
    of_group: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for key in keys:
        before = next(found[key].before for found in changes if key in found)
        values = [str(found[key].now if key in found else before) for found in changes]
        of_group[key.split(".")[1]][key.removeprefix("settings.")] = values
    of_group.pop("model", None)
    labels: list[list[str]] = [[] for _ in studies]
    notes = []
    for group, by_key in of_group.items():
        rows = list(zip(*by_key.values(), strict=True))
        if group in OF_THE_MODEL and len(set(zip(models, rows, strict=True))) == len(set(models)) > 1:
            notes.append(f"The models differ also in {', '.join(by_key)}: a difference between them includes it.")
            continue
        names = [str((study.runs[0].config.get(group) or {}).get("name", "")) for study in studies]
        tells_apart = group in NAMED_GROUPS and len(set(zip(names, rows, strict=True))) == len(set(names))
        for label, name, row in zip(labels, names, rows, strict=True):
            label += [f"{group}={name}"] if tells_apart else [f"{k}={v}" for k, v in zip(by_key, row, strict=True)]
    return [", ".join(label) for label in labels], notes


def _scores(studies: Sequence[Study], records: Sequence[Identity], notes: list[str]) -> list[dict[str, ArmScores]]:
    """The scores of each study by metric. Losses are left out, with a note, if their captions or tokens differ."""
    scores = [
        {setting: study.scores(setting, study.questions.mask(OVERALL)) for setting in SETTINGS} for study in studies
    ]
    found = []
    for study in studies:
        losses, unread = read_losses(study)
        found.append(losses)
        notes += [f"{study.name}: {note}" for note in unread]
    videos = shared_videos(found)
    if not videos:
        notes.append("The studies share no held-out captions, so their losses do not compare.")
    elif len({record.inputs["held_out"] for record in records}) > 1 or not _same_tokens(found, videos):
        notes.append(
            "The held-out captions or their tokens differ between the studies, so their losses do not compare."
        )
    else:
        for own, losses in zip(scores, found, strict=True):
            own[HELD_OUT] = loss_scores(losses, videos)
    return scores


def _same_tokens(studies: Sequence[Mapping[str, Losses]], videos: Sequence[str]) -> bool:
    runs = [losses for found in studies for by_seed in found.values() for losses in by_seed.values()]
    tokens = np.array([[losses[video].tokens for video in videos] for losses in runs])
    return bool((tokens == tokens[0]).all())
