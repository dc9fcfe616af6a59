"""Training samples: a dialog and the clip that it is about."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sg.artefacts.dialogs import VIDEO, Dialog, Turn
from sg.core.fingerprints import text_seed
from sg.video.sampling import FramePolicy


@dataclass(frozen=True, slots=True)
class Clip:
    """A video or image file that samples are about. `key` names it in the visual-token cache.

    `frames` are the frames that a benchmark prescribes; None leaves them to the student.
    """

    key: str
    path: Path
    frames: FramePolicy | None = None


@dataclass(frozen=True, slots=True)
class TrainingItem:
    """A dialog with the clip it is about (None for text only)."""

    dialog: Dialog
    clip: Clip | None


def items_of(dialogs: Iterable[Dialog], media_root: Path, name: str = "") -> list[TrainingItem]:
    """The dialogs of one source. Their media paths start from `media_root`, the keys of their clips with `name`."""
    return [
        TrainingItem(
            dialog, None if dialog.media is None else Clip(clip_key(dialog.media, name), media_root / dialog.media)
        )
        for dialog in dialogs
    ]


def clip_key(media: str, source: str = "") -> str:
    """Key of a media file in the visual-token cache: its path, after the name of its source if it has one."""
    return f"{source}/{media}" if source else media


def caption_items(
    core: Sequence[str],
    captions: Mapping[str, str],
    paths: Mapping[str, str],
    media_root: Path,
    requests: Sequence[str],
    source: str = "",
) -> list[TrainingItem]:
    """One sample per captioned video of the core: one of `requests`, drawn by the video's id, and its caption.

    Videos of the core without a caption are left out.

    Args:
        core: video ids; `captions` and `paths` map ids to captions and to files below `media_root`.
        source: the first part of the clips' keys.
    """
    return [
        TrainingItem(_caption_dialog(video_id, captions[video_id], paths[video_id], requests),
                     Clip(clip_key(paths[video_id], source), media_root / paths[video_id]))
        for video_id in core
        if video_id in captions
    ]  # fmt: skip


def _caption_dialog(video_id: str, caption: str, path: str, requests: Sequence[str]) -> Dialog:
    request = requests[text_seed("caption request", video_id) % len(requests)]
    turns = (Turn("human", f"{VIDEO}\n{request}"), Turn("gpt", caption))
    return Dialog(video_id, "video", path, turns)


def drawn_items(items: list[TrainingItem], max_samples: int | None, seed: int) -> list[TrainingItem]:
    """A seeded draw of `max_samples` items, in a seeded order; all items as they are when `max_samples` is None."""
    if max_samples is None or max_samples >= len(items):
        return items
    chosen = np.random.default_rng(seed).permutation(len(items))[:max_samples]
    return [items[index] for index in chosen]


def clips_of(items: Iterable[TrainingItem]) -> Iterator[Clip]:
    """The distinct clips of `items`, in order of their first item."""
    seen: set[str] = set()
    for item in items:
        if item.clip is not None and item.clip.key not in seen:
            seen.add(item.clip.key)
            yield item.clip
