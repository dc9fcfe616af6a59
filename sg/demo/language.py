"""The demo's telegraphic language: captions, alt texts, questions, subtitles. A few hundred words, one spelling each.

A caption tells each scene after the other: background, number of actors, then each actor as texture, colour, shape,
action and cell. Questions have four options; the answer repeats the option's word before its letter (`red B`), which
the official answer reader understands.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sg.demo.world import UNIFORM, VALUES, Actor, Law, Scene, VideoSpec

LETTERS = ("A", "B", "C", "D")
CAPTION_REQUEST = "Describe"
ALT_TEXT_REQUEST = "Name"
ANSWER_REQUEST = "Answer:"
SUBTITLE_HEADER = "Subs:"
SUBTITLE_MARK = ">"
"""Every subtitle line begins with it, so that a line's first word is written as everywhere else."""
MENTION_PROBABILITY = 0.35

TASK_TYPES = {
    "attribute": "Attribute Perception",
    "object": "Object Recognition",
    "action": "Action Recognition",
    "counting": "Counting Problem",
    "spatial": "Spatial Perception",
    "texture": "Attribute Perception",
    "scene": "Information Synopsis",
    "order": "Temporal Reasoning",
}
"""Kinds of questions -> Video-MME's name for them, in the benchmark's `task_type` column."""
KINDS = tuple(TASK_TYPES)
QUESTION_WORDS = (
    *("Q", "place", "shown", "after", "many", "where", "colour", "object", "does", "pattern", "?"),
    *(":", ",", ".", "then", "and"),
)
"""Every word of questions, captions and alt texts that is no value of an attribute."""


def actor_phrase(actor: Actor) -> str:
    """Everything about one actor."""
    return f"{actor.texture} {actor.colour} {actor.shape} {actor.action} {actor.cell}"


def scene_phrase(scene: Scene) -> str:
    """Everything about one scene."""
    count = VALUES["count"][len(scene.actors) - 1]
    return f"{scene.background} {count} : " + " , ".join(actor_phrase(actor) for actor in scene.actors) + " ."


def caption(spec: VideoSpec) -> str:
    """The full caption of a video, as the demo captioner writes it."""
    return " then ".join(scene_phrase(scene) for scene in spec.scenes)


def caption_from_extra(extra: str) -> str:
    """The full caption of a manifest row, from its `extra` column."""
    return caption(VideoSpec.from_json(extra))


def alt_text(spec: VideoSpec) -> str:
    """The short text of a web page about the first scene: colours and shapes only."""
    return " and ".join(f"{actor.colour} {actor.shape}" for actor in spec.scenes[0].actors) + " ."


@dataclass(frozen=True, slots=True)
class Question:
    """A question with four options; `answer` is the letter of the right one."""

    kind: str
    text: str
    options: tuple[str, str, str, str]
    answer: str

    @property
    def response(self) -> str:
        """The answer as the model learns to say it: word, then letter."""
        return f"{self.options[LETTERS.index(self.answer)]} {self.answer}"

    @property
    def lettered_options(self) -> list[str]:
        """The options as a benchmark stores them."""
        return [f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=True)]

    @property
    def prompt(self) -> str:
        """The question as it is put to the model, in the layout of Video-MME's prompt."""
        return "\n".join([self.text, *self.lettered_options, ANSWER_REQUEST])


def _distractors(
    rng: random.Random, law: Law, name: str, answer: str, present: Sequence[str], banned: Sequence[str] = ()
) -> list[str]:
    """Three wrong values from the answer's own law; half of the time one of them is shown elsewhere in the video."""
    others = sorted(set(present) - {answer, *banned})
    wrong = [rng.choice(others)] if others and rng.random() < 0.5 else []
    return wrong + law.draw_distinct(rng, name, 3 - len(wrong), without=[answer, *wrong, *banned])


def ask(rng: random.Random, law: Law, spec: VideoSpec, kind: str) -> Question:
    """A question of the given kind about `spec`; `order` needs two scenes and turns into `scene` where there is one.

    The options follow `law`, the same as the answer, so that knowing which words are frequent does not help.
    """
    if kind == "order" and len(spec.scenes) == 1:
        kind = "scene"
    scene = rng.choice(spec.scenes)
    actor = rng.choice(scene.actors)
    place, all_actors = scene.background, spec.actors
    backgrounds = [each.background for each in spec.scenes]
    if kind == "scene":
        wrong = law.draw_distinct(rng, "background", 3, without=backgrounds)
        return _shuffled(rng, kind, "Q place shown ?", place, wrong)
    if kind == "order":
        at = rng.randrange(len(spec.scenes) - 1)
        answer, before = backgrounds[at + 1], backgrounds[at]
        wrong = _distractors(rng, law, "background", answer, backgrounds, banned=[before])
        return _shuffled(rng, kind, f"Q place after {before} ?", answer, wrong)
    if kind == "counting":
        answer = VALUES["count"][len(scene.actors) - 1]
        return _shuffled(rng, kind, f"Q {place} many ?", answer, [word for word in VALUES["count"] if word != answer])
    if kind == "spatial":
        wrong = [cell for cell in VALUES["cell"] if cell != actor.cell]
        return _shuffled(rng, kind, f"Q {place} {actor.shape} where ?", actor.cell, wrong)
    name, text = {
        "attribute": ("colour", f"Q {place} {actor.shape} colour ?"),
        "object": ("shape", f"Q {place} {actor.colour} object ?"),
        "action": ("action", f"Q {place} {actor.shape} does ?"),
        "texture": ("texture", f"Q {place} {actor.shape} pattern ?"),
    }[kind]
    answer = getattr(actor, name)
    wrong = _distractors(rng, law, name, answer, [getattr(each, name) for each in all_actors])
    return _shuffled(rng, kind, text, answer, wrong)


def _shuffled(rng: random.Random, kind: str, text: str, answer: str, wrong: Sequence[str]) -> Question:
    options = [answer, *wrong]
    rng.shuffle(options)
    first, second, third, fourth = options
    return Question(kind, text, (first, second, third, fourth), LETTERS[options.index(answer)])


@dataclass(frozen=True, slots=True)
class Cue:
    """A subtitle line, shown around one frame."""

    frame: int
    text: str


def subtitles(
    rng: random.Random, spec: VideoSpec, frames_per_scene: int, mention_probability: float = MENTION_PROBABILITY
) -> list[Cue]:
    """A narrator's lines: each actor is mentioned with the given probability, at a frame of its scene of its own."""
    cues = []
    for at, scene in enumerate(spec.scenes):
        # Not the first frame: a cue cannot begin before the film does.
        frames = sorted(rng.sample(range(1, frames_per_scene), len(scene.actors)))
        for frame, actor in zip(frames, scene.actors, strict=True):
            if rng.random() < mention_probability:
                text = f"{SUBTITLE_MARK} {scene.background} {actor_phrase(actor)}"
                cues.append(Cue(at * frames_per_scene + frame, text))
    return cues


def subtitle_block(cues: Sequence[Cue]) -> str:
    """The part of a prompt that shows the subtitles: a header line, then one line a cue; empty without cues."""
    return "\n".join([SUBTITLE_HEADER, *(cue.text for cue in cues)]) if cues else ""


def srt(cues: Sequence[Cue], fps: float) -> str:
    """The cues as an .srt file; each is shown for 0.8 of a frame time around its frame's own time."""
    blocks = []
    for number, cue in enumerate(cues, start=1):
        start, end = round((cue.frame - 0.4) * 1000 / fps), round((cue.frame + 0.4) * 1000 / fps)
        blocks.append(f"{number}\n{_timestamp(start)} --> {_timestamp(end)}\n{cue.text}\n")
    return "\n".join(blocks)


def _timestamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d},{rest:03d}"


def any_question(rng: random.Random, spec: VideoSpec) -> Question:
    """A question of a random kind under the uniform law."""
    return ask(rng, UNIFORM, spec, rng.choice(KINDS))
