"""The demo's simplified language: captions, alt texts, questions and subtitles, with a small fixed vocabulary.

A caption describes the scenes in order: background, number of actors, then each actor by texture, colour, shape, action
and cell. Questions have four options. An answer is the option's word and its letter (`red B`), which the official
answer extraction of Video-MME reads correctly.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sg.demo.world import VALUES, Actor, Law, Scene, VideoSpec

LETTERS = ("A", "B", "C", "D")
CAPTION_REQUEST = "Describe"
ALT_TEXT_REQUEST = "Name"
ANSWER_REQUEST = "Answer:"
SUBTITLE_HEADER = "Subs:"
SUBTITLE_MARK = ">"
"""Every subtitle line begins with it, so that the first word of a line is tokenized as within a line."""
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
"""Kind of question -> its name in Video-MME, the benchmark's column `task_type`."""
KINDS = tuple(TASK_TYPES)
QUESTION_WORDS = (
    *("Q", "place", "shown", "after", "many", "where", "colour", "object", "does", "pattern", "?"),
    *(":", ",", ".", "then", "and"),
)
"""All words of questions, captions and alt texts that are not values of an attribute."""


def actor_phrase(actor: Actor) -> str:
    """The full description of one actor."""
    return f"{actor.texture} {actor.colour} {actor.shape} {actor.action} {actor.cell}"


def scene_phrase(scene: Scene) -> str:
    """The full description of one scene."""
    count = VALUES["count"][len(scene.actors) - 1]
    return f"{scene.background} {count} : " + " , ".join(actor_phrase(actor) for actor in scene.actors) + " ."


def caption(spec: VideoSpec) -> str:
    """The full caption of a video, as the demo captioner writes it."""
    return " then ".join(scene_phrase(scene) for scene in spec.scenes)


def caption_scenes(text: str) -> VideoSpec:
    """What a full caption describes; its words for the number of actors are not compared with the actors.

    Raises:
        ValueError: the text is not in the language of `caption`.
    """
    scenes = []
    for phrase in text.split(" then "):
        head, colon, rest = phrase.strip().removesuffix(" .").partition(" : ")
        actors = [actor.split() for actor in rest.split(" , ")]
        if not colon or len(head.split()) != 2 or any(len(words) != 5 for words in actors):
            raise ValueError(f"not a caption of the demo world: {phrase[:100]!r}")
        scenes.append(Scene(head.split()[0], tuple(Actor(*words) for words in actors)))
    return VideoSpec(tuple(scenes))


def alt_text(spec: VideoSpec) -> str:
    """The alt text, as a web page might have it: colours and shapes of the first scene."""
    return " and ".join(f"{actor.colour} {actor.shape}" for actor in spec.scenes[0].actors) + " ."


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """A question with four options; `answer` is the letter of the right option."""

    kind: str
    text: str
    options: tuple[str, str, str, str]
    answer: str

    @property
    def response(self) -> str:
        """The answer that the model is trained to give: the word, then the letter."""
        return f"{self.options[LETTERS.index(self.answer)]} {self.answer}"

    @property
    def lettered_options(self) -> list[str]:
        """The options as a benchmark stores them."""
        return [f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=True)]

    @property
    def prompt(self) -> str:
        """The question as the model reads it, in the layout of Video-MME's prompt."""
        return "\n".join([self.text, *self.lettered_options, ANSWER_REQUEST])


def _distractors(
    rng: random.Random, law: Law, name: str, answer: str, present: Sequence[str], banned: Sequence[str] = ()
) -> list[str]:
    """Three wrong values from the law of the answer; in half of the cases one is shown elsewhere in the video."""
    others = sorted(set(present) - {answer, *banned})
    wrong = [rng.choice(others)] if others and rng.random() < 0.5 else []
    return wrong + law.draw_distinct(rng, name, 3 - len(wrong), without=[answer, *wrong, *banned])


def ask(rng: random.Random, law: Law, spec: VideoSpec, kind: str) -> DemoQuestion:
    """Draw a question of the given kind about `spec`; `order` needs two scenes and becomes `scene` where there is one.

    Wrong options follow the same `law` as the answer, so that the frequency of a word does not reveal the answer.
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


def _shuffled(rng: random.Random, kind: str, text: str, answer: str, wrong: Sequence[str]) -> DemoQuestion:
    options = [answer, *wrong]
    rng.shuffle(options)
    first, second, third, fourth = options
    return DemoQuestion(kind, text, (first, second, third, fourth), LETTERS[options.index(answer)])


@dataclass(frozen=True, slots=True)
class DemoCue:
    """A subtitle line, shown around one frame."""

    frame: int
    text: str


def subtitles(
    rng: random.Random, spec: VideoSpec, frames_per_scene: int, mention_probability: float = MENTION_PROBABILITY
) -> list[DemoCue]:
    """Draw the subtitles: each actor is mentioned with the given probability, each at another frame of its scene."""
    cues = []
    for at, scene in enumerate(spec.scenes):
        # Not the first frame: its cue would begin before the video.
        frames = sorted(rng.sample(range(1, frames_per_scene), len(scene.actors)))
        for frame, actor in zip(frames, scene.actors, strict=True):
            if rng.random() < mention_probability:
                text = f"{SUBTITLE_MARK} {scene.background} {actor_phrase(actor)}"
                cues.append(DemoCue(at * frames_per_scene + frame, text))
    return cues


def subtitle_block(cues: Sequence[DemoCue]) -> str:
    """The part of a prompt that shows the subtitles: a header line, then one line per cue; empty without cues."""
    return "\n".join([SUBTITLE_HEADER, *(cue.text for cue in cues)]) if cues else ""


def srt(cues: Sequence[DemoCue], fps: float) -> str:
    """The cues as an .srt file; each is shown for 0.8 frame intervals around the time of its frame."""
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
