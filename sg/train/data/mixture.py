"""The samples of a stage: dialogs of several files with their weights, and the check of their media."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from sg.artefacts.dialogs import Dialog, count_placeholders, read_dialogs
from sg.core.errors import DataError, MissingInputError
from sg.core.fingerprints import is_unicode, text_seed
from sg.train.config import StageConfig
from sg.train.data.media import MISSING, Media
from sg.train.data.samples import TrainingItem, clips_of, drawn_items, items_of

log = logging.getLogger(__name__)


def mixed_items(stage: StageConfig, seed: int) -> list[TrainingItem]:
    """The samples of an epoch of `stage`: every source repeated by its weight, then a draw of `max_samples`.

    Raises:
        MissingInputError: a file of dialogs does not exist.
        DataError: a file does not contain dialogs.
    """
    items: list[TrainingItem] = []
    for number, source in enumerate(stage.sources):
        dialogs = _sound(read_dialogs(Path(source.dialogs)), source.dialogs)
        own = items_of(dialogs, Path(source.media), source.name)
        items.extend(_weighted(own, source.weight, text_seed("weight", stage.name, number, seed)))
    return drawn_items(items, stage.max_samples, text_seed("draw", stage.name, seed))


def _sound(dialogs: Sequence[Dialog], where: str) -> list[Dialog]:
    """The dialogs that can be trained on. The others are counted and logged before the stage starts."""
    problems = [dialog_problem(dialog) for dialog in dialogs]
    for problem, number in Counter(problem for problem in problems if problem is not None).items():
        log.warning("%s: %d of %d dialogs left out: %s", where, number, len(dialogs), problem)
    return [dialog for dialog, problem in zip(dialogs, problems, strict=True) if problem is None]


def dialog_problem(dialog: Dialog) -> str | None:
    """Why a dialog cannot be trained on, or None."""
    speakers = [turn.speaker for turn in dialog.turns]
    if speakers[:1] == ["gpt"]:  # LLaVA drops an answer without a question.
        speakers = speakers[1:]
    if len(speakers) < 2 or any(one == next_one for one, next_one in pairwise(speakers)):
        return "its turns do not alternate between human and gpt"
    placeholders = sum(count_placeholders(turn.text) for turn in dialog.turns if turn.speaker == "human")
    if dialog.media is not None and placeholders != 1:
        return "it has a media file, but not exactly one <image> or <video> in the turns of the human"
    if not all(is_unicode(text) for text in (dialog.dialog_id, dialog.media or "", *(t.text for t in dialog.turns))):
        return "its text is not Unicode (half of a surrogate pair)"
    return None


def _weighted(items: Sequence[TrainingItem], weight: float, seed: int) -> list[TrainingItem]:
    """All items repeated by the integer part of `weight`, then a seeded draw for its fraction; the order is kept."""
    whole = int(weight)
    extra = round((weight - whole) * len(items))
    drawn = sorted(np.random.default_rng(seed).permutation(len(items))[:extra]) if extra else []
    return [*(list(items) * whole), *(items[index] for index in drawn)]


def usable_items(
    stage: StageConfig, items: list[TrainingItem], media: Media, max_missing: float, is_strict: bool = True
) -> list[TrainingItem]:
    """The items whose media exist and can be read, as far as that is known.

    Args:
        max_missing: largest share of the items that may be left out.
        is_strict: False returns all items where more would have to be left out: for a plan.

    Raises:
        MissingInputError: more items would have to be left out; the message states how many, why, and which.
    """
    kept = [item for item in items if item.clip is None or item.clip.key not in media.problems]
    left_out = len(items) - len(kept)
    if not left_out:
        return items
    if left_out > max_missing * len(items):
        if not is_strict:
            return items
        share = -(-left_out * 1000 // len(items)) / 1000
        raise MissingInputError(
            f"Stage {stage.name}: {left_out:,} of {len(items):,} samples lack their media "
            f"({problem_summary(items, media.problems)}); get the files, or continue without those samples with "
            f"stage.max_missing={share:g}."
        )
    log.warning("stage %s: %d of %d samples left out, which lack their media (%s)",
                stage.name, left_out, len(items), problem_summary(items, media.problems))  # fmt: skip
    return kept


def problem_summary(items: Iterable[TrainingItem], problems: Mapping[str, str]) -> str:
    """What is wrong with the media of `items`: where files are missing, and how many cannot be read, with one name."""
    clips = [clip for clip in clips_of(items) if clip.key in problems]
    absent = {clip.path for clip in clips if problems[clip.key] == MISSING}
    broken = sorted((clip for clip in clips if problems[clip.key] != MISSING), key=lambda clip: clip.path)
    parts = [summary(absent)] if absent else []
    if broken:
        parts.append(f"{len(broken):,} cannot be read, such as {broken[0].path}: {problems[broken[0].key]}")
    return "; ".join(parts)


def summary(absent: set[Path]) -> str:
    """Where files are missing: the three folders with most of them, and one name."""
    folders = Counter(path.parent for path in absent).most_common(3)
    where = ", ".join(f"{number:,} in {folder}" for folder, number in folders)
    return f"missing: {where}; such as {min(absent)}"


def check_clip_names(items: Iterable[TrainingItem]) -> None:
    """Refuse media files that would share a key in the visual-token cache.

    Raises:
        DataError: two sources use one name for different files.
    """
    paths: dict[str, Path] = {}
    for clip in clips_of(items):
        paths[clip.key] = clip.path
    for item in items:
        if item.clip is not None and paths[item.clip.key] != item.clip.path:
            raise DataError(
                f"{paths[item.clip.key]} and {item.clip.path} would share the key {item.clip.key!r} in the "
                "visual-token cache: give one of their sources in stage.*.sources a `name`."
            )
