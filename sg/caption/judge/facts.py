"""The judge of the demo world: the facts of its videos are known, so its verdicts are exact.

A caption is read back into scenes and actors. An actor of the caption stands for the actor of the same place (scene)
with which it shares most attributes, at least two of five. What stands for nothing is invented, and all claims about it
are false.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sg.artefacts.judged import FALSE, TRUE, JudgedCaption
from sg.demo.caption_noise import ATTRIBUTES
from sg.demo.language import caption_scenes
from sg.demo.world import VALUES, Actor, Scene, VideoSpec

NAME = "facts"
_SHARED = 2


@dataclass(frozen=True, slots=True)
class DemoClaim:
    """One fact about a demo video, and whether the other side states it, too."""

    text: str
    is_true: bool


def judge_caption(video_id: str, caption: str, spec: VideoSpec, others: Sequence[str] | None = None) -> JudgedCaption:
    """The verdicts on a caption of a demo video: its claims against the facts, and the facts against its claims.

    With `others`, captions of the same video, the reference is what at least one of them and this caption states.

    Raises:
        ValueError: a text is not in the language of the demo world.
    """
    said = caption_scenes(caption)
    claims, facts = list(claims_of(said, spec)), list(claims_of(spec, said))
    if others is not None:
        stated_by_one = {
            fact.text for text in (caption, *others) for fact in claims_of(spec, caption_scenes(text)) if fact.is_true
        }
        facts = [fact for fact in facts if fact.text in stated_by_one]
    stated = sum(fact.is_true for fact in facts)
    return JudgedCaption(
        video_id,
        NAME,
        tuple(claim.text for claim in claims),
        tuple(TRUE if claim.is_true else FALSE for claim in claims),
        tuple(fact.text for fact in facts if not fact.is_true),
        stated / len(facts) if facts else 0.0,
    )


def claims_of(said: VideoSpec, known: VideoSpec) -> Iterator[DemoClaim]:
    """What `said` claims, one fact at a time, judged by `known`."""
    places = [scene.background for scene in known.scenes]
    for number, scene in enumerate(said.scenes):
        there = known.scenes[places.index(scene.background)] if scene.background in places else None
        yield DemoClaim(f"a scene is at the {scene.background}", there is not None)
        yield from _claims_of_scene(scene, there)
        if number:
            before, here = said.scenes[number - 1].background, scene.background
            in_order = {before, here} <= set(places) and places.index(before) < places.index(here)
            yield DemoClaim(f"the {here} comes after the {before}", in_order)


def _claims_of_scene(scene: Scene, there: Scene | None) -> Iterator[DemoClaim]:
    count, place = VALUES["count"][len(scene.actors) - 1], scene.background
    yield DemoClaim(f"{count} at the {place}", there is not None and len(there.actors) == len(scene.actors))
    for actor, other in zip(scene.actors, _matched(scene, there), strict=True):
        name = f"the {actor.colour} {actor.shape} at the {place}"
        yield DemoClaim(f"{name} is there", other is not None)
        for attribute in ATTRIBUTES:
            value = getattr(actor, attribute)
            yield DemoClaim(f"{name}: {attribute} {value}", other is not None and getattr(other, attribute) == value)


def _matched(scene: Scene, there: Scene | None) -> list[Actor | None]:
    """For each actor of a scene the actor that it stands for; pairs with most in common are made first."""
    others = () if there is None else there.actors
    pairs = sorted(
        (-_shared(actor, other), here, place)
        for here, actor in enumerate(scene.actors)
        for place, other in enumerate(others)
    )
    found: list[Actor | None] = [None] * len(scene.actors)
    used = set[int]()
    for shared, here, place in pairs:
        if -shared >= _SHARED and found[here] is None and place not in used:
            found[here] = others[place]
            used.add(place)
    return found


def _shared(one: Actor, other: Actor) -> int:
    return sum(getattr(one, name) == getattr(other, name) for name in ATTRIBUTES)
