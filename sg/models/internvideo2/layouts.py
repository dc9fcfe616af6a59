"""Converts the published layouts of InternVideo2's weights to the parameter names of `InternVideo2`.

A file holds the weights directly, or under `model` or `module` (DeepSpeed). All names may begin with `module.`. The
names of the tower begin with `vision_encoder.` (Stage 2, CLIP) or have no prefix (Stage 1, distilled towers).
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sg.core.errors import ModelError
from sg.models.weight_files import open_weights

TOWER = "vision_encoder."
_PROJECTIONS = ("vision_proj.", "vision_align.")
_CONTAINERS = ("model", "module")
_IGNORED = re.compile(
    r"(?:vision_encoder\.)?(?:clip_decoder|final_clip_decoder|mae_decoder|fc_norm|head)\."
    r"|(?:vision_encoder\.)?(?:clip_pos_embed|clip_img_pos_embed|mae_pos_embed)$"
    r"|text_|itm_head\.|temp$"
)
"""Training heads and the text encoder: in the files, but not needed to embed a video."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a published file, named as in `InternVideo2`, without those that embedding does not use.

    Raises:
        MissingInputError: there is no such file.
        ModelError: the file is damaged, or does not hold weights.
    """
    state = unwrap(open_weights(path), path)
    return {name: value for name, value in renamed(state).items() if not _IGNORED.match(name)}


def unwrap(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The weights in the content of a file: under `model`, under `module`, or directly.

    Raises:
        ModelError: there are none.
    """
    inner = loaded
    if isinstance(loaded, Mapping):
        inner = next((loaded[key] for key in _CONTAINERS if isinstance(loaded.get(key), Mapping)), loaded)
    if not isinstance(inner, Mapping) or not inner or not all(isinstance(value, Tensor) for value in inner.values()):
        raise ModelError(
            f"{path} does not hold InternVideo2's weights: expected a dictionary of tensors, directly or "
            "under 'model' or 'module'."
        )
    state = {str(name): value for name, value in inner.items()}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with `vision_encoder.` in front of the tower's names; other names stay."""
    if any(name.startswith(TOWER) for name in state):
        return dict(state)
    return {
        name if name.startswith(_PROJECTIONS) or _IGNORED.match(name) else TOWER + name: value
        for name, value in state.items()
    }


def first_names(names: Iterable[str], most: int = 12) -> str:
    """The first `most` names in one line, with the number of the others."""
    listed = sorted(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
