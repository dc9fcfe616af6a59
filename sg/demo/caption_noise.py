"""Faults of captions, made on purpose in the captions of the demo world: each has a rate from 0 to 1.

| fault | unit of the rate |
|---|---|
| wrong_attribute | each texture, colour, shape, action and cell of an actor has another value |
| invented_actor | each scene with a free cell has an actor that is not there |
| omitted_scene | each scene is left out, but for one; a video with one scene loses its actors, but for one |
| generic_text | the caption is one that fits no video in particular, the same for all |
| wrong_order | the scenes come in another order; a video with one scene has no order |
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from sg.demo.world import CELLS, UNIFORM, VALUES, Actor, Scene, VideoSpec, draw_video

Part = TypeVar("Part")
ATTRIBUTES = ("texture", "colour", "shape", "action", "cell")
GENERIC = draw_video(random.Random(0), UNIFORM, "short", max_actors=1)


def with_fault(spec: VideoSpec, fault: str, rate: float, rng: random.Random) -> VideoSpec:
    """What a caption with this fault describes instead of `spec`; the spec itself where the fault does not occur."""
    return FAULTS[fault](spec, rate, rng)


def _wrong_attributes(spec: VideoSpec, rate: float, rng: random.Random) -> VideoSpec:
    def changed(scene: Scene, actor: Actor) -> Actor:
        values = {}
        for name in ATTRIBUTES:
            if rng.random() < rate:
                # Another actor's colour, shape or cell would describe that actor, which is there.
                taken = {getattr(other, name) for other in scene.actors}
                wrong = [value for value in VALUES[name] if value not in taken]
                wrong = wrong or [value for value in VALUES[name] if value != getattr(actor, name)]
                values[name] = rng.choice(wrong)
        return replace(actor, **values)

    scenes = (replace(scene, actors=tuple(changed(scene, actor) for actor in scene.actors)) for scene in spec.scenes)
    return VideoSpec(tuple(scenes))


def _invented_actors(spec: VideoSpec, rate: float, rng: random.Random) -> VideoSpec:
    def added(scene: Scene) -> Scene:
        free = {name: [v for v in VALUES[name] if v not in {getattr(a, name) for a in scene.actors}] for name in
                ("colour", "shape", "cell")}  # fmt: skip
        if not free["cell"] or rng.random() >= rate:
            return scene
        actor = Actor(
            texture=rng.choice(VALUES["texture"]),
            colour=rng.choice(free["colour"]),
            shape=rng.choice(free["shape"]),
            action=rng.choice(VALUES["action"]),
            cell=rng.choice(free["cell"]),
        )
        return replace(scene, actors=tuple(sorted((*scene.actors, actor), key=lambda one: CELLS.index(one.cell))))

    return VideoSpec(tuple(map(added, spec.scenes)))


def _omitted_scenes(spec: VideoSpec, rate: float, rng: random.Random) -> VideoSpec:
    if len(spec.scenes) == 1:
        (scene,) = spec.scenes
        return VideoSpec((replace(scene, actors=_left(scene.actors, rate, rng)),))
    return VideoSpec(_left(spec.scenes, rate, rng))


def _left(parts: Sequence[Part], rate: float, rng: random.Random) -> tuple[Part, ...]:
    """The parts without some, in their order; one stays."""
    stays = rng.randrange(len(parts))
    return tuple(part for place, part in enumerate(parts) if rng.random() >= rate or place == stays)


def _generic(spec: VideoSpec, rate: float, rng: random.Random) -> VideoSpec:
    return GENERIC if rng.random() < rate else spec


def _reordered(spec: VideoSpec, rate: float, rng: random.Random) -> VideoSpec:
    if len(spec.scenes) == 1 or rng.random() >= rate:
        return spec
    scenes = list(spec.scenes)
    while tuple(scenes) == spec.scenes:
        rng.shuffle(scenes)
    return VideoSpec(tuple(scenes))


FAULTS: dict[str, Callable[[VideoSpec, float, random.Random], VideoSpec]] = {
    "wrong_attribute": _wrong_attributes,
    "invented_actor": _invented_actors,
    "omitted_scene": _omitted_scenes,
    "generic_text": _generic,
    "wrong_order": _reordered,
}
