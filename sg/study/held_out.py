"""The held-out captions of a study: which they are, and the loss of a run's model on them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.captions import StoredCaptions
from sg.artefacts.dialogs import dialogs_hash, read_dialogs
from sg.artefacts.held_out import CaptionLoss
from sg.artefacts.manifest import scan_manifest
from sg.artefacts.vectors import read_part, vector_parts, vectors_fingerprint
from sg.core.errors import MissingInputError
from sg.core.files import read_json, write_record
from sg.core.fingerprints import text_seed
from sg.core.identity import Identity, identity, made_by
from sg.study.config import TrainConfig
from sg.study.inputs import Inputs
from sg.train.data.media import Media
from sg.train.data.samples import TrainingItem, clips_of, items_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sg.models.student import Student
    from sg.study.models import StudyModels

log = logging.getLogger(__name__)

HELD_OUT_VERSION = 2
"""Raise it when the same data would give other held-out captions, or the same model another loss."""
HELD_OUT_FOLDER = "held_out"
FORGETTING = "forgetting"
"""Source of the dialogs of the model's own kind."""
LARGEST_SHARE = 0.05
"""At most this share of the captioned videos is held out."""
FEWEST = 20
"""Fewer captions resolve nothing: none are held out then."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out captions: samples that no run of the study trains on, and the source of each one's video."""

    items: Sequence[TrainingItem] = ()
    sources: Sequence[str] = ()

    @property
    def content(self) -> str:
        """Hash over the captions and their requests."""
        return dialogs_hash(item.dialog for item in self.items)

    def usable(self, media: Media) -> HeldOut:
        """Without the captions whose video is missing or cannot be read."""
        kept = [
            (item, source)
            for item, source in zip(self.items, self.sources, strict=True)
            if item.clip is None or item.clip.key not in media.problems
        ]
        return HeldOut([item for item, _ in kept], [source for _, source in kept])


def own_held_out(config: TrainConfig) -> HeldOut:
    """The first `data.held_out.videos` captions of `data.held_out.dialogs`, a file of the data's own."""
    dialogs = read_dialogs(Path(config.data.held_out.dialogs))[: config.data.held_out.videos]
    items = items_of(dialogs, config.data.videos_folder, config.data.token_source)
    return HeldOut(items, [config.data.name] * len(items))


def check_held_out(config: TrainConfig, held_out: HeldOut, media: Media) -> None:
    """Check held-out captions of which none is usable.

    Raises:
        MissingInputError: there are some; the message says why the first one's video cannot be used.
    """
    clip = next(clips_of(held_out.items), None)
    if clip is not None:
        raise MissingInputError(
            f"None of the {len(held_out.items)} held-out captions has a video that can be used ({clip.key}: "
            f"{media.problems[clip.key]}): the paths in data.held_out.dialogs={config.data.held_out.dialogs} should "
            "start from data.videos."
        )


def own_held_out_videos(config: TrainConfig, manifest: Path) -> frozenset[str]:
    """The videos of the data that `data.held_out.dialogs` names, by their paths below `data.videos`."""
    paths = {item.dialog.media for item in own_held_out(config).items}
    return frozenset(record.video_id for record in scan_manifest(manifest) if record.path in paths)


def own_dialogs(config: TrainConfig) -> HeldOut:
    """The dialogs of `forgetting.dialogs`, of the model's own kind; empty without such a file."""
    settings = config.forgetting
    if settings.dialogs is None:
        return HeldOut()
    dialogs = read_dialogs(Path(settings.dialogs))[: settings.samples]
    media = Path(settings.media) if settings.media else config.data.videos_folder
    return HeldOut(items_of(dialogs, media, FORGETTING), [FORGETTING] * len(dialogs))


def held_out_videos(
    config: TrainConfig, inputs: Inputs, captions: StoredCaptions, usable: Sequence[str], content: Mapping[str, str]
) -> frozenset[str]:
    """The videos that no run trains on: a draw from `usable` without near-duplicates, the same for all runs.

    A video qualifies if no other one has its caption, and if no other one is nearer than `max_similarity`. Its
    near-duplicates would otherwise be in the training data. The draw is kept in a file beside the data, because the
    comparison with all videos takes a minute for half a million of them. With `data.held_out.dialogs`, it is the videos
    of these dialogs.

    Args:
        content: content hashes of the manifest and the captions, by name.
    """
    settings = config.data.held_out
    if settings.dialogs is not None:
        return own_held_out_videos(config, inputs.manifest)
    number = min(settings.videos, int(LARGEST_SHARE * len(usable)))
    if number < FEWEST:
        return frozenset()
    work = identity(
        "held_out",
        settings={"videos": settings.videos, "max_similarity": settings.max_similarity},
        inputs={**content, "vectors": vectors_fingerprint(inputs.vectors)},
        version=HELD_OUT_VERSION,
    )
    path = Path(config.data.dir) / HELD_OUT_FOLDER / f"{work.name}.json"
    if path.is_file():
        return frozenset(read_json(path)["videos"])
    drawn = sorted(captions.unique_among(usable), key=lambda video_id: text_seed("held out", video_id))[:number]
    nearest = nearest_similarity(inputs.vectors, drawn)
    chosen = [video_id for video_id in drawn if nearest.get(video_id, 1.0) < settings.max_similarity]
    log.info("held out: %d of %d captions, which no run trains on (%s)", len(chosen), len(usable), path)
    write_record(path, {**made_by(work), "videos": sorted(chosen)})
    return frozenset(chosen)


def nearest_similarity(vectors: Path, videos: Collection[str]) -> dict[str, float]:
    """The cosine similarity of each of `videos` with the nearest other video; videos without a vector are left out.

    Args:
        vectors: folder of the vectors of all videos, [N, d]. One part of them is in memory at a time.
    """
    import numpy as np

    wanted = set(videos)
    rows: dict[str, NDArray[np.float32]] = {}
    for part in vector_parts(vectors):
        ids, matrix = read_part(part)
        rows |= {video_id: matrix[at] for at, video_id in enumerate(ids) if video_id in wanted}
    names = list(rows)
    if not names:
        return {}
    drawn = np.stack([row / np.linalg.norm(row) for row in rows.values()])
    column = {name: at for at, name in enumerate(names)}
    best = np.full(len(names), -1.0)
    for part in vector_parts(vectors):
        ids, matrix = read_part(part)
        similarity = matrix @ drawn.T / np.linalg.norm(matrix, axis=1, keepdims=True)
        for at, video_id in enumerate(ids):
            if video_id in column:
                similarity[at, column[video_id]] = -1.0
        best = np.maximum(best, similarity.max(axis=0))
    return dict(zip(names, best.tolist(), strict=True))


def loss_identity(config: TrainConfig, held_out: HeldOut, media: Media, model: Identity) -> Identity:
    """What decides the held-out losses of a run: the captions, their videos, and the `model`."""
    inputs = {"captions": held_out.content, "media": media.of(clips_of(held_out.items)), "model": model}
    settings = {"max_length": config.stage.caption.max_length}
    return identity("held_out_loss", settings=settings, inputs=inputs, version=HELD_OUT_VERSION)


def caption_losses(config: TrainConfig, held_out: HeldOut, models: StudyModels, student: Student) -> list[CaptionLoss]:
    """The loss of `student` on every held-out caption."""
    from sg.train.held_out import sample_losses

    length = config.stage.caption.max_length
    nats, tokens = sample_losses(student, held_out.items, models.processor, models.clips, length)
    return [
        CaptionLoss(item.dialog.dialog_id, source, int(count), float(loss))
        for item, source, loss, count in zip(held_out.items, held_out.sources, nats, tokens, strict=True)
    ]
