"""Rendering: 64 x 64 frames whose four cells show the actors and their actions."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sg.demo.shapes import MARK_FIELDS, SHAPE_FIELDS, TEXTURE_MASKS, Plane
from sg.demo.world import CELLS, Actor, Rendition, Scene, VideoSpec

SIZE = 64
CELL = SIZE // 2
FRAMES_PER_SCENE = 8
FPS = 1.0
RADIUS = 9.3
"""Radius of an actor of size 1, in pixels."""

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (225, 35, 35),
    "green": (25, 140, 60),
    "blue": (40, 70, 225),
    "yellow": (245, 225, 50),
    "purple": (140, 45, 175),
    "cyan": (60, 220, 230),
    "orange": (245, 135, 25),
    "white": (245, 245, 245),
    "pink": (250, 150, 195),
    "brown": (125, 75, 35),
    "black": (25, 25, 30),
    "lime": (150, 245, 50),
}
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_DARK, _LIGHT = np.float32(15.0), np.float32(240.0)
_HALO = np.array([255.0, 240.0, 150.0], np.float32)
_ROWS, _COLUMNS = (grid.astype(np.float32) for grid in np.mgrid[0:SIZE, 0:SIZE])
_CELL_Y, _CELL_X = (grid.astype(np.float32) - (CELL - 1) / 2 for grid in np.mgrid[0:CELL, 0:CELL])


def _blend(low: tuple[int, int, int], high: tuple[int, int, int], share: Plane) -> Plane:
    first, second = np.array(low, np.float32), np.array(high, np.float32)
    blended: Plane = first + (second - first) * np.clip(share, 0, 1)[..., None]
    return blended


@cache
def _background(name: str) -> Plane:
    """The empty scene, float32 [64, 64, 3]. The patterns are coarse, so that the codec keeps them."""
    down, x, y = _ROWS / SIZE, _COLUMNS, _ROWS
    if name == "night":
        stars: Plane = ((x * 7 + y * 13) % 61 < 1.5).astype(np.float32)
        return _blend((10, 10, 40), (35, 30, 80), down) + 110 * stars[..., None]
    if name == "meadow":
        grass: Plane = np.sin(x * 1.6 + y * 0.4)
        return _blend((110, 175, 85), (50, 115, 45), down) + 9 * grass[..., None]
    if name == "desert":
        return _blend((230, 200, 140), (195, 150, 90), (np.sin(x / 9 + y / 4) + 1) / 2)
    if name == "sea":
        return _blend((20, 65, 130), (60, 135, 185), (np.sin(y * 0.7 + np.sin(x / 5)) + 1) / 2)
    if name == "snow":
        return _blend((235, 240, 248), (200, 212, 230), down)
    if name == "wall":
        mortar = (y % 10 < 1.5) | ((x + 8 * (y // 10 % 2)) % 16 < 1.5)
        return _blend((155, 75, 60), (210, 195, 185), mortar.astype(np.float32))
    if name == "city":
        tower = y > 14 + np.floor(x / 8) * 7919 % 5 * 5
        windows = tower & (x % 8 < 3) & (x % 8 >= 1) & (y % 8 < 3)
        city: Plane = _blend((150, 160, 175), (70, 72, 85), tower.astype(np.float32)) + 70 * windows[..., None]
        return city
    if name == "sunset":
        return _blend((90, 40, 110), (250, 140, 70), down)
    if name == "forest":
        return _blend((20, 60, 35), (70, 55, 35), (x % 12 < 4).astype(np.float32))
    curtain = _blend((95, 10, 30), (150, 25, 50), (np.sin(x * 0.8) + 1) / 2)
    return np.where((y > 52)[..., None], np.array([180, 140, 80], np.float32), curtain)


@dataclass(frozen=True, slots=True)
class _Motion:
    """Position, size, angle and opacity of an actor per frame, [T, 1, 1] each, or [1, 1, 1] where it is constant."""

    x: Plane
    y: Plane
    size: Plane
    angle: Plane
    opacity: Plane


def _motion(action: str, rendition: Rendition, frames: int) -> _Motion:
    still = np.zeros((1, 1, 1), np.float32)
    one = still + 1
    time = np.arange(frames, dtype=np.float32).reshape(-1, 1, 1)
    wave = np.sin(rendition.phase + 1.1 * time).astype(np.float32)
    parts: list[Plane] = [still, still, one, still, one]
    x, y, size, angle, opacity = parts
    if action == "spins":
        angle = 0.45 * wave
    elif action == "bounces":
        y = -1.0 + 1.8 * wave
    elif action == "slides":
        x = 1.0 + 1.8 * wave
    elif action == "grows":
        size = 0.78 + 0.22 * (time + 1) / frames
    elif action == "blinks":
        opacity = np.where((time + int(rendition.phase)) % 2 > 0, np.float32(1.0), np.float32(0.6))
    elif action == "shakes":
        x, y = 1.2 * np.sign(wave), 0.8 * np.sign(np.cos(2.3 * time + rendition.phase))
    elif action == "falls":
        y = 0.4 + 2.0 * ((time + rendition.phase) % 4) / 4
    elif action == "swings":
        angle, x = 0.3 * wave, 1.5 * wave
    return _Motion(*(np.asarray(part, np.float32) for part in (x, y, size, angle, opacity)))


def _paint(canvas: Plane, colour: Plane | np.float32, alpha: Plane) -> None:
    """Blend `colour` into `canvas` ([T, h, w, 3], changed in place) with opacity `alpha` ([T or 1, h, w])."""
    canvas += (colour - canvas) * alpha[..., None]


def _paint_mark(canvas: Plane, action: str, x: Plane, y: Plane) -> None:
    if action == "glows":
        _paint(canvas, _HALO, np.clip((16.0 - np.sqrt(x * x + y * y)) / 3.0, 0.0, 0.9))
    elif action in MARK_FIELDS:
        distance = MARK_FIELDS[action](x, y)
        _paint(canvas, _DARK, np.clip(2.6 - distance, 0.0, 0.85))
        _paint(canvas, _LIGHT, np.clip(1.5 - distance, 0.0, 1.0))


def _paint_actor(canvas: Plane, actor: Actor, rendition: Rendition) -> None:
    """Draw one actor into its cell, `canvas` [T, 32, 32, 3]."""
    x, y = _CELL_X - np.float32(rendition.shift_x), _CELL_Y - np.float32(rendition.shift_y)
    _paint_mark(canvas, actor.action, x[None], y[None])
    motion = _motion(actor.action, rendition, len(canvas))
    radius = RADIUS * rendition.size * motion.size
    cosine, sine = np.cos(motion.angle), np.sin(motion.angle)
    moved_x, moved_y = (x - motion.x) / radius, (y - motion.y) / radius
    body_x, body_y = cosine * moved_x + sine * moved_y, cosine * moved_y - sine * moved_x
    edge = SHAPE_FIELDS[actor.shape](body_x, body_y) * radius
    colour = np.array(PALETTE[actor.colour], np.float32)
    bright = float(colour @ _LUMA) > 105
    second_tone = colour * 0.25 if bright else colour * 0.3 + 255 * 0.7
    contour = _DARK if bright else _LIGHT
    width = 3.2 if actor.texture == "rimmed" else 1.0
    _paint(canvas, contour, np.clip(width + 0.5 - edge, 0.0, 1.0))
    body = np.clip(0.5 - edge, 0.0, 1.0) * motion.opacity
    if actor.texture in TEXTURE_MASKS:
        overlay = TEXTURE_MASKS[actor.texture](body_x, body_y)
        colour = np.where(overlay[..., None], second_tone, colour)
    _paint(canvas, colour, body)


def render_scene(scene: Scene, rendition: Rendition, frames: int = FRAMES_PER_SCENE) -> Plane:
    """One scene before brightness and grain are applied, float32 [frames, 64, 64, 3]."""
    canvas = np.repeat(_background(scene.background)[None], frames, axis=0)
    for actor in scene.actors:
        row, column = divmod(CELLS.index(actor.cell), 2)
        cell = canvas[:, row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        _paint_actor(cell, actor, rendition)
    return canvas


def render(spec: VideoSpec, rendition: Rendition, frames_per_scene: int = FRAMES_PER_SCENE) -> NDArray[np.uint8]:
    """The frames of a video, uint8 RGB [T, 64, 64, 3]; the same spec and rendition give the same bytes."""
    video = np.concatenate([render_scene(scene, rendition, frames_per_scene) for scene in spec.scenes])
    grain = np.random.default_rng(rendition.seed).standard_normal((SIZE, SIZE, 1), dtype=np.float32)
    video *= np.float32(rendition.brightness)
    video += np.float32(rendition.grain) * grain
    return np.clip(video, 0, 255, out=video).astype(np.uint8)
