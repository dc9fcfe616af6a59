"""Trains the demo's vision tower: a small CLIP ViT that predicts, for every patch, the content of its cell.

It takes the place of CLIP and is trained with labels. The labels are predicted from the layer that Chat-UniVi reads
(the last but one), so that all patches of an actor become similar and token merging keeps their information. Frames are
encoded with H.264 and decoded before training, as in the demo world.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sg.core.progress import Progress, track
from sg.demo.render import SIZE, render
from sg.demo.world import BACKGROUNDS, CELLS, VALUES, Law, Rendition, Scene, VideoSpec, draw_scene
from sg.models.pixels import CLIP_MEAN, CLIP_STD
from sg.video.writer import write_video

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import CLIPVisionConfig, CLIPVisionModel

PATCH = 16
GRID = SIZE // PATCH
SCENES_PER_CLIP = 8
LABELS = ("colour", "shape", "texture", "action", "cell", "background", "presence")
ABSENT = -100
# Scenes with many actors have more labels per frame.
CROWDED = Law(count_weights=(0.15, 0.2, 0.3, 0.35))


@dataclass(frozen=True, slots=True)
class TowerRecipe:
    """Training settings of the tower; the defaults made the committed weights."""

    seed: int = 2
    clips: int = 1100
    """Number of training clips, of eight scenes with two frames each."""
    steps: int = 2000
    batch_size: int = 96
    learning_rate: float = 3e-3
    muon: bool = True


def tower_config() -> CLIPVisionConfig:
    """CLIP's vision transformer for 64 x 64 pixels: 16 patches, 4 layers of width 96 (the last one is not used)."""
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH,
        projection_dim=96,
    )


def _class_counts() -> dict[str, int]:
    return {name: len(VALUES[name]) if name in VALUES else 2 for name in LABELS}


def label_patches(scene: Scene) -> NDArray[np.int64]:
    """Class numbers of every patch, [16, 7] in the order of `LABELS`; -100 where an empty cell has no such label."""
    labels = np.full((GRID, GRID, len(LABELS)), ABSENT)
    labels[..., LABELS.index("background")] = BACKGROUNDS.index(scene.background)
    labels[..., LABELS.index("presence")] = 0
    half = GRID // 2
    for number in range(len(CELLS)):
        row, column = divmod(number, 2)
        cell = labels[row * half : (row + 1) * half, column * half : (column + 1) * half]
        cell[..., LABELS.index("cell")] = number
    for actor in scene.actors:
        row, column = divmod(CELLS.index(actor.cell), 2)
        cell = labels[row * half : (row + 1) * half, column * half : (column + 1) * half]
        for name in ("colour", "shape", "texture", "action"):
            cell[..., LABELS.index(name)] = VALUES[name].index(getattr(actor, name))
        cell[..., LABELS.index("presence")] = 1
    return labels.reshape(-1, len(LABELS))


def through_the_codec(frames: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Write `frames` to the video file `path` and return them as decoded from it."""
    import av

    write_video(path, frames, fps=1.0)
    with av.open(str(path)) as container:
        return np.stack([picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)])


def _clips(
    rng: random.Random, count: int, frames_per_scene: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            scenes = [draw_scene(rng, CROWDED, rng.choice(BACKGROUNDS)) for _ in range(SCENES_PER_CLIP)]
            frames = render(VideoSpec(tuple(scenes)), Rendition.draw(rng), frames_per_scene)
            labels = np.stack([label_patches(scene) for scene in scenes])
            yield through_the_codec(frames, Path(folder) / "clip.mp4"), labels.repeat(frames_per_scene, axis=0)


def make_frames(seed: int, clips: int, frames_per_scene: int = 2) -> tuple[Tensor, Tensor]:
    """Decoded frames uint8 [F, 64, 64, 3], those of a scene in sequence, and their patch labels [F, 16, 7]."""
    import torch

    made = list(track(_clips(random.Random(seed), clips, frames_per_scene), "tower frames", "clips", clips))
    frames, labels = (np.concatenate(parts) for parts in zip(*made, strict=True))
    return torch.from_numpy(frames), torch.from_numpy(labels)


def normalise(frames: Tensor) -> Tensor:
    """uint8 [F, H, W, 3] -> float [F, 3, H, W] normalised as for CLIP."""
    import torch

    pixels = frames.permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)


def patch_features(tower: CLIPVisionModel, pixels: Tensor) -> Tensor:
    """Patch features [F, 16, width] of the last layer but one, which Chat-UniVi reads."""
    hidden = tower.pre_layrnorm(tower.embeddings(pixels))
    for layer in tower.encoder.layers[:-1]:
        hidden = layer(hidden, attention_mask=None)
    features: Tensor = hidden[:, 1:]
    return features


def _label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    import torch
    from torch.nn.functional import cross_entropy

    counts = list(_class_counts().values())
    losses = [
        cross_entropy(part.flatten(0, 1), labels[..., at].flatten(), ignore_index=ABSENT)
        for at, part in enumerate(torch.split(logits, counts, dim=-1))
    ]
    return torch.stack(losses).sum()


def augmented(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Small random changes of contrast and colour, and noise."""
    import torch

    contrast = 1 + 0.1 * torch.randn((len(pixels), 1, 1, 1), generator=generator)
    cast = 0.06 * torch.randn((len(pixels), 3, 1, 1), generator=generator)
    noise = 0.04 * torch.randn(pixels.shape, generator=generator)
    return pixels * contrast + cast + noise


def train_tower(folder: Path, recipe: TowerRecipe) -> dict[str, float]:
    """Train from scratch and save as a transformers checkpoint in `folder`; returns held-out patch accuracies."""
    import torch
    from transformers import CLIPVisionModel

    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    frames, labels = make_frames(recipe.seed, recipe.clips)
    tower = CLIPVisionModel(tower_config())
    tower.encoder.layers[-1].requires_grad_(False)

    def draw() -> tuple[Tensor, Tensor]:
        chosen = torch.randint(0, len(frames), (recipe.batch_size,), generator=generator)
        return augmented(normalise(frames[chosen]), generator), labels[chosen]

    features = partial(patch_features, tower)
    head = fit_patches(tower, features, tower.config.hidden_size, draw, recipe)
    new_frames, new_labels = make_frames(recipe.seed + 1, clips=min(60, recipe.clips))
    accuracies = patch_accuracies(features, head, normalise(new_frames), new_labels)
    centre_and_scale(tower, new_frames)
    tower.save_pretrained(folder)
    return accuracies


def fit_patches(
    tower: nn.Module,
    features: Callable[[Tensor], Tensor],
    width: int,
    draw: Callable[[], tuple[Tensor, Tensor]],
    recipe: TowerRecipe,
) -> nn.Linear:
    """Train a tower and a linear head to predict the labels of patches; returns the head.

    Args:
        features: the features [B, 16, width] of the tower for the pixels that `draw` returns.
        draw: returns the pixels of a batch and their labels [B, 16, 7].
    """
    from torch import nn

    from sg.demo.pretrain.optimiser import MuonAdamW

    head = nn.Linear(width, sum(_class_counts().values()))
    nn.init.zeros_(head.weight)
    optimiser = MuonAdamW(
        tower,
        nn.ModuleDict({"head": head}),
        learning_rate=recipe.learning_rate if recipe.muon else None,
        other_learning_rate=recipe.learning_rate,
        total_steps=recipe.steps,
    )
    with Progress("vision tower", recipe.steps, "steps") as bar:
        for _ in range(recipe.steps):
            pixels, labels = draw()
            loss = _label_loss(head(features(pixels)), labels)
            optimiser.step(loss)
            bar.advance(note=f"loss {loss.item():.2f}")
    return head


def patch_accuracies(
    features: Callable[[Tensor], Tensor], head: nn.Module, pixels: Tensor, labels: Tensor
) -> dict[str, float]:
    """Fraction of patches with the right class, by label."""
    import torch

    with torch.no_grad():
        logits = head(features(pixels))
    accuracies = {}
    parts = torch.split(logits, list(_class_counts().values()), dim=-1)
    for at, (name, part) in enumerate(zip(LABELS, parts, strict=True)):
        labelled = labels[..., at] != ABSENT
        accuracies[name] = (part.argmax(-1) == labels[..., at])[labelled].float().mean().item()
    return accuracies


def centre_and_scale(tower: Any, frames: Tensor) -> None:
    """Scale the features to zero mean and unit variance, without changing the function before the scaling.

    All weights that write to the residual stream are divided by one number, which the layer norms cancel, and the mean
    is subtracted from the last bias. The scale matters to the density in token merging, exp(-distance^2).
    """
    import torch

    with torch.no_grad():
        features = patch_features(tower, normalise(frames)).flatten(0, 1)
        mean = features.mean(0)
        scale = (features - mean).pow(2).mean().sqrt()
        tower.pre_layrnorm.weight.div_(scale)
        tower.pre_layrnorm.bias.div_(scale)
        for layer in tower.encoder.layers:
            for linear in (layer.self_attn.out_proj, layer.mlp.fc2):
                linear.weight.div_(scale)
                linear.bias.div_(scale)
        tower.encoder.layers[-2].mlp.fc2.bias.sub_(mean / scale)
