"""Makes the arguments of the model's `forward` from encoded dialogs and their clips.

See `docs/reference/chat_univi.md`, section 13.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sg.core.errors import DataError
from sg.models.chat_univi.text.conversation import EncodedDialog, run_lengths
from sg.models.chat_univi.text.special_ids import PAD_ID
from sg.models.student import IGNORED_LABEL


@dataclass(frozen=True, slots=True)
class Sample:
    """A dialog and its clips, one per run of placeholders.

    `clips` are pixel values [T, 3, H, W], or merged visual tokens [n, C] if `are_visual_tokens`.
    """

    dialog: EncodedDialog
    clips: Sequence[Tensor] = ()
    are_visual_tokens: bool = False
    noise_seeds: Sequence[int] | None = None


def collate(samples: Sequence[Sample], max_length: int = 2048) -> dict[str, Any]:
    """A batch of ids, labels and clips, padded on the right and cut to `max_length` ids.

    In vocabularies where unk and pad share an id (all of Llama), unk is masked like padding, as in the reference.

    A cut inside a run of placeholders keeps the first frames of that clip; a run that is cut off removes its clip.
    Visual tokens of a run that is cut inside are kept whole.

    Raises:
        DataError: a dialog has another number of runs than clips.
    """
    length = min(max(len(sample.dialog.input_ids) for sample in samples), max_length)
    ids = torch.full((len(samples), length), PAD_ID)
    labels = torch.full((len(samples), length), IGNORED_LABEL)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    clips: list[Tensor] = []
    seeds: list[int] = []
    for row, sample in enumerate(samples):
        kept = sample.dialog.input_ids[:length]
        ids[row, : len(kept)] = torch.tensor(kept)
        labels[row, : len(kept)] = torch.tensor(sample.dialog.labels[:length])
        mask[row, : len(kept)] = ids[row, : len(kept)] != sample.dialog.masked_id
        clips += _surviving_clips(sample, run_lengths(kept))
        seeds += list(sample.noise_seeds or [0] * len(sample.clips))[: len(run_lengths(kept))]
    batch: dict[str, Any] = {"input_ids": ids, "labels": labels, "attention_mask": mask}
    if clips and any(sample.are_visual_tokens for sample in samples):
        batch |= {"visual_tokens": torch.cat(clips), "visual_counts": [len(clip) for clip in clips]}
    elif clips:
        batch |= {"frames": torch.cat(clips), "frame_counts": [len(clip) for clip in clips], "noise_seeds": seeds}
    return batch


def _surviving_clips(sample: Sample, runs: Sequence[int]) -> list[Tensor]:
    given = sample.dialog.frame_counts
    if len(given) != len(sample.clips):
        raise DataError(f"a dialog has {len(given)} runs of placeholders but {len(sample.clips)} clips")
    if sample.are_visual_tokens:
        return list(sample.clips[: len(runs)])
    return [clip[:count] for clip, count in zip(sample.clips, runs, strict=False)]
