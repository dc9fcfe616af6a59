"""Text-only training dialogs ("lessons") of the demo's language model: words take the place of the video's tokens.

A lesson follows the conversation template: `USER: ` + context + newline + question + ` ASSISTANT: ` + answer. It is
tokenized in the same segments as the model's own encoder uses, so that later dialogs have the same token ids.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sg.demo.language import (
    ALT_TEXT_REQUEST,
    ANSWER_REQUEST,
    CAPTION_REQUEST,
    KINDS,
    LETTERS,
    DemoQuestion,
    actor_phrase,
    alt_text,
    ask,
    caption,
    scene_phrase,
    subtitle_block,
    subtitles,
)
from sg.demo.world import UNIFORM, VALUES, Scene, VideoSpec, draw_video

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

BOS, EOS = 1, 2
TURNS = 8
BARE_TURNS = 16
FRAMES_PER_SCENE = 8


@dataclass(frozen=True, slots=True)
class Lesson:
    """Token ids, and the role of each prediction in the loss: UNSCORED, TEXT, the answer's WORD, or its LETTER."""

    ids: list[int]
    roles: list[int]


UNSCORED, TEXT, WORD, LETTER = range(4)
EVERY_WORD = [word for values in VALUES.values() for word in values]


class LessonWriter:
    """Draws lessons; the caller decides the kind and the difficulty.

    Args:
        tokenizer: the demo's SentencePiece model.
        rng: draws everything.
    """

    def __init__(self, tokenizer: SentencePieceProcessor, rng: random.Random) -> None:
        self._tokenizer, self._rng = tokenizer, rng
        self._cache: dict[str, list[int]] = {}

    def _encode(self, text: str) -> list[int]:
        if text not in self._cache:
            if len(self._cache) > 20_000:
                self._cache.clear()
            self._cache[text] = self._tokenizer.encode(text)
        return self._cache[text]

    def dialog(self, easy: bool = False, bare: bool = False) -> Lesson:
        """The description of a video and questions about it.

        `easy` ones have a single scene with one or two actors; `bare` ones have many short questions without options.
        """
        rng = self._rng
        duration = "short" if easy else rng.choices(("short", "medium", "long"), (0.6, 0.28, 0.12))[0]
        spec = draw_video(rng, UNIFORM, duration, max_actors=2 if easy else 4)
        if bare:
            return self._bare_dialog(spec)
        kind = rng.random()
        if kind < 0.12:
            return self._description(spec)
        # In some lessons the description is missing, and the subtitles hold all facts: the model learns to use them.
        blind = kind < 0.30
        cues = subtitles(rng, spec, FRAMES_PER_SCENE, 1.0) if blind else []
        if not blind and rng.random() < 0.25:
            cues = subtitles(rng, spec, FRAMES_PER_SCENE)
        context = self._random_words() if blind else (caption(spec) if rng.random() < 0.7 else self._loose(spec))
        kinds = [kind for kind in KINDS if not (blind and kind in ("counting", "order"))]
        questions = [ask(rng, UNIFORM, spec, rng.choice(kinds)) for _ in range(TURNS)]
        ids, roles = self._opening(context)
        block = subtitle_block(cues)
        for turn, question in enumerate(questions):
            lead = "\n" + (block + "\n" if block else "") if turn == 0 else "USER: "
            self._turn(ids, roles, lead, question)
        return Lesson(ids, roles)

    def _bare_dialog(self, spec: VideoSpec) -> Lesson:
        ids, roles = self._opening(caption(spec) if self._rng.random() < 0.7 else self._loose(spec))
        for turn in range(BARE_TURNS):
            question = ask(self._rng, UNIFORM, spec, self._rng.choice(KINDS))
            asked = self._tokenizer.encode(("\n" if turn == 0 else "USER: ") + question.text)
            asked = [*asked, *self._encode_line(ANSWER_REQUEST), *self._encode("ASSISTANT:")]
            answer = self._encode_words(question.options[LETTERS.index(question.answer)])
            ids.extend([*asked, *answer, EOS])
            roles.extend([UNSCORED] * len(asked) + [WORD, UNSCORED])
        return Lesson(ids, roles)

    def drill(self, turns: int) -> Lesson:
        """Questions without context: only the letter of a given word can be learnt, and is in the loss.

        A single question has options of all attributes; several have options of one attribute each, like the benchmark.
        """
        rng = self._rng
        ids, roles = [BOS], [UNSCORED]
        for _ in range(turns):
            values = EVERY_WORD if turns == 1 else rng.choice(list(VALUES.values()))
            first, second, third, fourth = rng.sample(values, 4)
            question = DemoQuestion("drill", "Q ?", (first, second, third, fourth), rng.choice(LETTERS))
            self._turn(ids, roles, "USER: ", question, word_role=UNSCORED)
        return Lesson(ids, roles)

    def _opening(self, context: str) -> tuple[list[int], list[int]]:
        words = self._encode_words(context)
        opening = [BOS, *self._encode("USER: ")]
        return [*opening, *words], [UNSCORED] * len(opening) + [TEXT] * len(words)

    def _encode_words(self, text: str) -> list[int]:
        return [piece for word in text.split() for piece in self._encode(word)]

    def _turn(self, ids: list[int], roles: list[int], lead: str, question: DemoQuestion, word_role: int = WORD) -> None:
        # The lead and the question are tokenized together; the other lines come from the cache.
        asked = self._tokenizer.encode(lead + question.text)
        for line in [*question.lettered_options, ANSWER_REQUEST]:
            asked += self._encode_line(line)
        asked += self._encode("ASSISTANT:")
        answer = [*self._encode_words(question.response), EOS]
        ids.extend([*asked, *answer])
        roles.extend([UNSCORED] * len(asked) + [word_role, LETTER, TEXT])

    def _encode_line(self, line: str) -> list[int]:
        """Token ids of a line within a segment, without the leading-space mark that the start of a segment has."""
        return self._encode("\n" + line)[1:]

    def _description(self, spec: VideoSpec) -> Lesson:
        """A description in any order as context, and the ordered caption or alt text as the answer."""
        short = len(spec.scenes) == 1 and self._rng.random() < 0.5
        ids, roles = self._opening(self._loose(spec))
        request = self._encode("\n" + (ALT_TEXT_REQUEST if short else CAPTION_REQUEST) + " ASSISTANT:")
        answer = [*self._encode_words(alt_text(spec) if short else caption(spec)), EOS]
        return Lesson([*ids, *request, *answer], [*roles, *[UNSCORED] * len(request), *[TEXT] * len(answer)])

    def _loose(self, spec: VideoSpec) -> str:
        """The caption with the actors, and the words of each actor, in random order."""
        return " then ".join(self._loose_scene(scene) for scene in spec.scenes)

    def _loose_scene(self, scene: Scene) -> str:
        rng = self._rng
        phrases = [actor_phrase(actor).split() for actor in scene.actors]
        if rng.random() < 0.5:
            for words in phrases:
                rng.shuffle(words)
        rng.shuffle(phrases)
        head = scene_phrase(scene).split(":")[0]
        return f"{head}: " + " , ".join(" ".join(words) for words in phrases) + " ."

    def _random_words(self) -> str:
        """No words, or a few random words."""
        return " ".join(self._rng.sample(EVERY_WORD, self._rng.choice((0, 0, 4, 8))))
