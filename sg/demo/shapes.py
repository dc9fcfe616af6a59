"""Outlines, textures and action marks of the actors, as functions of x and y.

x points to the right and y down. The function of a shape is negative inside it and grows roughly like the distance to
its edge, so that edges can be drawn smoothly. The function of a mark returns the distance to its lines.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.floating[Any]]
"""[..., rows, columns]"""

Field: TypeAlias = Callable[[Plane, Plane], Plane]


def _box(x: Plane, y: Plane, half_width: float, half_height: float) -> Plane:
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)


def _radius(x: Plane, y: Plane) -> Plane:
    radius: Plane = np.sqrt(x * x + y * y)
    return radius


def _least(*planes: Plane) -> Plane:
    least: Plane = np.minimum.reduce(planes)
    return least


def _cross(x: Plane, y: Plane) -> Plane:
    return _least(_box(x, y, 0.33, 1.0), _box(x, y, 1.0, 0.33))


def _star(x: Plane, y: Plane) -> Plane:
    points: Plane = np.cos(5 * np.arctan2(x, -y))
    return (_radius(x, y) - 0.66 - 0.4 * points) * 0.7


def _heart(x: Plane, y: Plane) -> Plane:
    lobes: Plane = np.sqrt(np.abs(x))
    return _radius(x, 1.1 * y + 0.75 * lobes - 0.25) - 0.9


def _arrow(x: Plane, y: Plane) -> Plane:
    shaft = _box(x + 0.45, y, 0.6, 0.28)
    head = np.maximum(-x, (np.abs(y) + x - 1.05) * 0.7)
    return _least(shaft, head)


def _pillar(x: Plane, y: Plane) -> Plane:
    return _least(_box(x, y, 0.3, 1.0), _box(x, np.abs(y) - 0.85, 0.75, 0.2))


def _flower(x: Plane, y: Plane) -> Plane:
    return _least(_radius(np.abs(x) - 0.52, np.abs(y) - 0.52) - 0.5, _radius(x, y) - 0.45)


SHAPE_FIELDS: dict[str, Field] = {
    "ball": lambda x, y: _radius(x, y) - 0.95,
    "box": lambda x, y: _box(x, y, 0.84, 0.84),
    "tent": lambda x, y: np.maximum(y - 0.75, (1.75 * np.abs(x) - y - 0.95) * 0.5),
    "kite": lambda x, y: (1.35 * np.abs(x) + np.abs(y) - 1.1) * 0.6,
    "cross": _cross,
    "ring": lambda x, y: np.abs(_radius(x, y) - 0.72) - 0.3,
    "star": _star,
    "plank": lambda x, y: _box(x, y, 1.12, 0.42),
    "moon": lambda x, y: np.maximum(_radius(x, y) - 1.0, 0.75 - _radius(x - 0.55, y)),
    "glass": lambda x, y: np.maximum((np.abs(x) - 0.95 * np.abs(y) - 0.1) * 0.7, np.abs(y) - 0.95),
    "bowl": lambda x, y: np.maximum(_radius(x, y + 0.4) - 1.1, -y - 0.35),
    "wedge": lambda x, y: np.maximum(_radius(x, y) - 1.0, (0.9 * x - np.abs(y)) * 0.7),
    "heart": _heart,
    "arrow": _arrow,
    "pillar": _pillar,
    "flower": _flower,
}

TEXTURE_MASKS: dict[str, Callable[[Plane, Plane], NDArray[np.bool_]]] = {
    "striped": lambda x, y: np.sin(7.5 * y) > 0,
    "dotted": lambda x, y: _radius((x + 0.4) % 0.8 - 0.4, (y + 0.4) % 0.8 - 0.4) < 0.25,
    "checked": lambda x, y: np.sin(5.6 * x) * np.sin(5.6 * y) > 0,
    "halved": lambda x, y: x > 0,
}
"""Where a texture shows its second tone. `plain` has none; `rimmed` has a thick outline instead."""


def _segment(x: Plane, y: Plane, x0: float, y0: float, x1: float, y1: float) -> Plane:
    """Distance to the segment from (x0, y0) to (x1, y1)."""
    length_x, length_y = x1 - x0, y1 - y0
    along = ((x - x0) * length_x + (y - y0) * length_y) / (length_x**2 + length_y**2)
    along = np.clip(along, 0.0, 1.0)
    return _radius(x - x0 - along * length_x, y - y0 - along * length_y)


def _segments(*ends: tuple[float, float, float, float]) -> Field:
    return lambda x, y: _least(*(_segment(x, y, *end) for end in ends))


def _dots(radius: float, count: int, dot: float) -> Field:
    angles = 2 * np.pi * np.arange(count) / count
    centres = [(radius * float(np.cos(a)), radius * float(np.sin(a))) for a in angles]
    return lambda x, y: _least(*(_radius(x - cx, y - cy) for cx, cy in centres)) - dot


def _arcs(x: Plane, y: Plane) -> Plane:
    """Two arcs around the centre, above right and below left."""
    # The distance grows away from the diagonal, which cuts the circle into two arcs.
    off_diagonal: Plane = np.maximum(0.0, np.abs(x + y) - 10.0)
    circle: Plane = np.abs(_radius(x, y) - 14.0)
    return circle + 4.0 * off_diagonal


def _hanging(x: Plane, y: Plane) -> Plane:
    rope = _segment(x, y, 0.0, -16.0, 0.0, -9.0)
    floor = np.abs(_radius(x, y) - 14.0) + 4.0 * np.maximum(0.0, np.abs(x) - 9.0) + 4.0 * np.maximum(0.0, -y)
    return _least(rope, floor)


def _zigzags(x: Plane, y: Plane) -> Plane:
    wave = np.abs((y / 3.0) % 2.0 - 1.0) * 3.0 - 1.5
    distance: Plane = np.abs(np.abs(x) - 13.5 - wave)
    return distance * 0.8


MARK_FIELDS: dict[str, Field] = {
    "spins": _arcs,
    "bounces": _segments((-11.0, 14.0, 11.0, 14.0), (-11.0, 11.0, -11.0, 14.0), (11.0, 11.0, 11.0, 14.0)),
    "slides": _segments((-16.0, -7.0, -11.0, -7.0), (-16.0, 0.0, -11.0, 0.0), (-16.0, 7.0, -11.0, 7.0)),
    "grows": _segments(*((9.5 * sx, 9.5 * sy, 14.0 * sx, 14.0 * sy) for sx in (-1, 1) for sy in (-1, 1))),
    "blinks": _dots(13.8, 8, 0.8),
    "shakes": _zigzags,
    "falls": _segments((-7.0, -16.0, -7.0, -11.0), (0.0, -16.0, 0.0, -11.0), (7.0, -16.0, 7.0, -11.0)),
    "swings": _hanging,
}
"""The mark of each action, drawn in every frame, in pixels of a 32 x 32 cell. `rests` has none, `glows` has a halo.

One frame shows the action thereby: the vision tower reads single frames.
"""
