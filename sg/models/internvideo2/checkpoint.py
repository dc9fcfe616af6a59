"""Builds a model from published weights; sizes are read from the shapes, and errors name the wrong weights."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sg.core.errors import ModelError
from sg.models.internvideo2.layouts import TOWER, first_names, read_state
from sg.models.internvideo2.positions import table_frames, table_grid
from sg.models.internvideo2.tower import InternVideo2, TowerSizes

log = logging.getLogger(__name__)

PUBLISHED = {384: (12, 6), 768: (12, 12), 1024: (24, 16), 1408: (40, 16), 3200: (48, 25)}
"""{width of a published tower: (depth, heads)} for S, B, L, 1B and 6B."""
PUBLISHED_GRID = 16
"""Patches per side of the published towers at 224 pixels."""
_OF_OTHER_FAMILIES = ("vision_proj.", "vision_align.", f"{TOWER}img_pos_embed")
"""A Stage-2 file is also the tower of the CLIP models, which do not use these weights."""
_BIAS_OF = {"vision_proj": "vision_proj.bias", "vision_align": "vision_align.1.bias"}


@dataclass(frozen=True, slots=True)
class TowerChoice:
    """Settings of a tower that its weights do not determine.

    Attributes:
        projection: `vision_proj` (Stage 2), `vision_align` (CLIP small, base, large) or `none` (CLIP 1B, 6B).
        gelu: `tanh`, as in training, or `erf`.
        num_heads: heads per block; None for a published width.
        depth: number of blocks; None for the published number, or for all blocks of a file with another width.
        pool_heads: heads of the attention pool.
        trained_frames: frames of the position table; None derives them from the table.
        frames_hint: number of frames to try if the table does not determine it.
    """

    projection: str
    gelu: str = "tanh"
    num_heads: int | None = None
    depth: int | None = None
    pool_heads: int = 16
    trained_frames: int | None = None
    frames_hint: int = 8


def load_internvideo2(weights: Path, head: Path | None, choice: TowerChoice) -> InternVideo2:
    """The model in `weights`, in float32 and in evaluation mode; the weights of `head` replace those of the tower file.

    Raises:
        MissingInputError: a file is missing.
        ModelError: a file is damaged, lacks weights or has wrong shapes; the message names the weights.
    """
    state = read_state(weights)
    if head is not None:
        state |= read_state(head)
    source = weights.name if head is None else f"{weights.name} with {head.name}"
    with torch.device("meta"):
        model = InternVideo2(_sizes(state, choice, source), choice.projection, _joint_dim(state, choice), choice.gelu)
    wanted = model.state_dict()
    _check(state, wanted, source)
    if extra := {name for name in set(state) - set(wanted) if not name.startswith(_OF_OTHER_FAMILIES)}:
        log.warning("%s: %d weights are not used: %s", source, len(extra), first_names(extra))
    model.load_state_dict({name: state[name].float() for name in wanted}, assign=True)
    return model.requires_grad_(False).train(False)


def _check(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    missing = set(wanted) - set(state)
    misshaped = {
        f"{name} {list(state[name].shape)} instead of {list(wanted[name].shape)}"
        for name in set(wanted) - missing
        if state[name].shape != wanted[name].shape
    }
    problems = [f"lacks {len(missing)} weights: {first_names(missing)}"] if missing else []
    problems += [f"has {len(misshaped)} weights of a wrong shape: {first_names(misshaped)}"] if misshaped else []
    if problems:
        raise ModelError(f"{source} is not the expected InternVideo2: it {', and '.join(problems)}.")


def _sizes(state: Mapping[str, Tensor], choice: TowerChoice, source: str) -> TowerSizes:
    """The sizes from the shapes; ModelError if a weight that determines them is missing."""
    table, cube = _needed(state, "pos_embed", 3, source), _needed(state, "patch_embed.proj.weight", 5, source)
    width = cube.shape[0]
    depth, num_heads = PUBLISHED.get(width, (_depth(state), None))
    depth, num_heads = choice.depth or depth, choice.num_heads or num_heads
    if num_heads is None or width % num_heads or width % choice.pool_heads:
        raise ModelError(
            f"{source}: a tower of width {width} with {num_heads or 'an unknown number of'} heads and "
            f"{choice.pool_heads} in its attention pool does not work: give embedder.num_heads and embedder.pool_heads."
        )
    image_table = state.get(f"{TOWER}img_pos_embed")
    frames, grid = _trained_on(table.shape[1], image_table, choice, source)
    return TowerSizes(
        width=width,
        depth=depth,
        num_heads=num_heads,
        mlp_hidden=_size(state, "blocks.0.mlp.fc1.weight", 0, 4 * width),
        patch_size=cube.shape[-1],
        tubelet=cube.shape[2],
        num_frames=frames,
        grid=grid,
        pool_heads=choice.pool_heads,
        pooled_dim=_size(state, "clip_projector.cross_attn.proj.weight", 0, 768),
        has_image_table=image_table is not None and choice.projection == "vision_proj",
    )


def _trained_on(length: int, image_table: Tensor | None, choice: TowerChoice, source: str) -> tuple[int, int]:
    """Frames, and patches per side, of the position table."""
    if choice.trained_frames is not None:
        grid = table_grid(length, choice.trained_frames)
        if grid is not None:
            return choice.trained_frames, grid
    elif image_table is not None and (grid := table_grid(image_table.shape[1], 1)) is not None:
        return table_frames(length, grid), grid
    elif (length - 1) % PUBLISHED_GRID**2 == 0 and length > 1:
        return table_frames(length, PUBLISHED_GRID), PUBLISHED_GRID
    elif (grid := table_grid(length, choice.frames_hint)) is not None:
        return choice.frames_hint, grid
    raise ModelError(
        f"{source}: its position table of {length} entries is not one of "
        f"{choice.trained_frames or choice.frames_hint} square frames: give embedder.trained_frames."
    )


def _depth(state: Mapping[str, Tensor]) -> int:
    numbers = [int(match[1]) for name in state if (match := re.match(rf"{re.escape(TOWER)}blocks\.(\d+)\.", name))]
    return max(numbers, default=-1) + 1


def _joint_dim(state: Mapping[str, Tensor], choice: TowerChoice) -> int:
    bias = state.get(_BIAS_OF.get(choice.projection, ""))
    return bias.shape[0] if bias is not None and bias.ndim else 512


def _needed(state: Mapping[str, Tensor], name: str, ndim: int, source: str) -> Tensor:
    value = state.get(TOWER + name)
    if value is None:
        raise ModelError(
            f"{source} is not the expected InternVideo2: it lacks {TOWER}{name}, which determines the tower's size."
        )
    if value.ndim != ndim:
        raise ModelError(f"{source} has {TOWER}{name} of a wrong shape: {list(value.shape)}, expected {ndim} axes.")
    return value


def _size(state: Mapping[str, Tensor], name: str, axis: int, default: int) -> int:
    value = state.get(TOWER + name)
    return default if value is None or not value.ndim else value.shape[axis]
