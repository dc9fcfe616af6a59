"""What a demo video can show, and how one is drawn: scenes with a background and one to four actors in a 2 x 2 grid.

A `Law` holds the probability of each value, and every draw uses one. The caption corpus follows Zipf's law; the
benchmark is uniform (docs/reference/demo_world.md, section 1).
"""

from __future__ import annotations

import bisect
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

COLOURS = (
    "red", "green", "blue", "yellow", "purple", "cyan", "orange", "white", "pink", "brown", "black", "lime",
)  # fmt: skip
SHAPES = (
    "ball", "box", "tent", "kite", "cross", "ring", "star", "plank", "moon", "glass", "bowl", "wedge",
    "heart", "arrow", "pillar", "flower",
)  # fmt: skip
TEXTURES = ("plain", "striped", "dotted", "checked", "rimmed", "halved")
ACTIONS = ("rests", "spins", "bounces", "slides", "grows", "blinks", "glows", "shakes", "falls", "swings")
BACKGROUNDS = ("night", "meadow", "desert", "sea", "snow", "wall", "city", "sunset", "forest", "stage")
CELLS = ("topleft", "topright", "bottomleft", "bottomright")
NUMBERS = ("one", "two", "three", "four")
DURATIONS = {"short": 1, "medium": 2, "long": 4}
"""Number of scenes by duration."""

VALUES: dict[str, tuple[str, ...]] = {
    "colour": COLOURS,
    "shape": SHAPES,
    "texture": TEXTURES,
    "action": ACTIONS,
    "background": BACKGROUNDS,
    "cell": CELLS,
    "count": NUMBERS,
}


@dataclass(frozen=True, slots=True)
class Actor:
    """One object in a scene. Colours and shapes are unique within a scene, so each of them identifies one actor."""

    texture: str
    colour: str
    shape: str
    action: str
    cell: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A background and its actors in the order of their cells. Backgrounds are unique within a video."""

    background: str
    actors: tuple[Actor, ...]


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """What a video shows: its scenes in order."""

    scenes: tuple[Scene, ...]

    @property
    def duration(self) -> str:
        """`short`, `medium` or `long`."""
        return next(name for name, scenes in DURATIONS.items() if scenes == len(self.scenes))

    @property
    def actors(self) -> list[Actor]:
        """All actors of all scenes."""
        return [actor for scene in self.scenes for actor in scene.actors]

    def to_json(self) -> str:
        """The spec as one line of JSON, which `from_json` reads."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> VideoSpec:
        """The spec that `to_json` wrote; other keys beside `scenes` are ignored."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> VideoSpec:
        """The spec in plain dictionaries and lists."""
        scenes = [
            Scene(scene["background"], tuple(Actor(**actor) for actor in scene["actors"])) for scene in value["scenes"]
        ]
        return cls(tuple(scenes))


@dataclass(frozen=True, slots=True)
class Rendition:
    """How a spec is rendered: the differences between two near duplicates.

    Shifts are in pixels, the phase of motions in radians; brightness and size are factors.
    """

    seed: int
    shift_x: float
    shift_y: float
    brightness: float
    size: float
    phase: float
    grain: float

    @classmethod
    def draw(cls, rng: random.Random) -> Rendition:
        """Draw a rendition."""
        return cls(
            seed=rng.getrandbits(31),
            shift_x=rng.uniform(-1.5, 1.5),
            shift_y=rng.uniform(-1.5, 1.5),
            brightness=rng.uniform(0.85, 1.1),
            size=rng.uniform(0.9, 1.08),
            phase=rng.uniform(0.0, 6.28),
            grain=rng.uniform(0.5, 2.5),
        )


class Law:
    """The probability of each value of every attribute.

    Args:
        exponents: attribute -> Zipf exponent; all other attributes are uniform.
        rng: shuffles which values are frequent; None keeps the order of the tables.
        count_weights: weights of one, two, three and four actors in a scene.
    """

    def __init__(
        self,
        exponents: dict[str, float] | None = None,
        rng: random.Random | None = None,
        count_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    ) -> None:
        self.weights: dict[str, dict[str, float]] = {}
        self._tables: dict[str, tuple[tuple[str, ...], list[float]]] = {}
        for name, values in VALUES.items():
            exponent = (exponents or {}).get(name, 0.0)
            raw = [(rank + 1) ** -exponent for rank in range(len(values))]
            if name == "count":
                raw = list(count_weights)
            elif rng is not None:
                rng.shuffle(raw)
            total = sum(raw)
            self.weights[name] = {value: weight / total for value, weight in zip(values, raw, strict=True)}
            self._tables[name] = (values, list(itertools.accumulate(self.weights[name].values())))

    def draw(self, rng: random.Random, name: str) -> str:
        """Draw one value of the attribute `name`."""
        values, cumulative = self._tables[name]
        return values[min(bisect.bisect(cumulative, rng.random()), len(values) - 1)]

    def draw_distinct(self, rng: random.Random, name: str, count: int, without: Sequence[str] = ()) -> list[str]:
        """Draw `count` different values that are not in `without`; repeated draws are rejected."""
        drawn: list[str] = []
        while len(drawn) < count:
            value = self.draw(rng, name)
            if value not in drawn and value not in without:
                drawn.append(value)
        return drawn


UNIFORM = Law()


def zipf_law(world_seed: int, exponent: float = 1.0) -> Law:
    """The law of the caption corpus of one world: a few values are common, most are rare."""
    exponents = dict.fromkeys(("colour", "shape", "action"), exponent)
    exponents |= dict.fromkeys(("texture", "background"), exponent / 2)
    return Law(exponents, random.Random(world_seed), count_weights=(0.3, 0.4, 0.2, 0.1))


def draw_scene(rng: random.Random, law: Law, background: str, max_actors: int = 4) -> Scene:
    """Draw a scene on `background` with one to `max_actors` actors in different cells."""
    count = min(NUMBERS.index(law.draw(rng, "count")) + 1, max_actors)
    cells = sorted(rng.sample(range(len(CELLS)), count))
    colours = law.draw_distinct(rng, "colour", count)
    shapes = law.draw_distinct(rng, "shape", count)
    actors = [
        Actor(law.draw(rng, "texture"), colour, shape, law.draw(rng, "action"), CELLS[cell])
        for colour, shape, cell in zip(colours, shapes, cells, strict=True)
    ]
    return Scene(background, tuple(actors))


def draw_video(rng: random.Random, law: Law, duration: str, max_actors: int = 4) -> VideoSpec:
    """Draw a video of the given duration; its scenes have different backgrounds."""
    backgrounds = law.draw_distinct(rng, "background", DURATIONS[duration])
    return VideoSpec(tuple(draw_scene(rng, law, background, max_actors) for background in backgrounds))


def vary_one_attribute(rng: random.Random, law: Law, spec: VideoSpec) -> VideoSpec:
    """`spec` with the action or the texture of one actor drawn again, possibly with the same value."""
    scene_at = rng.randrange(len(spec.scenes))
    scene = spec.scenes[scene_at]
    actor_at = rng.randrange(len(scene.actors))
    name = rng.choice(("action", "texture"))
    changed = replace(scene.actors[actor_at], **{name: law.draw(rng, name)})
    actors = (*scene.actors[:actor_at], changed, *scene.actors[actor_at + 1 :])
    return VideoSpec((*spec.scenes[:scene_at], replace(scene, actors=actors), *spec.scenes[scene_at + 1 :]))
