"""The recipe of questions: what a server is asked, and what its answers mean."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from sg.artefacts.answers import LETTERS
from sg.artefacts.predictions import ERROR, ZEROED_VIDEO, Prediction
from sg.caption.hosted.engine.items import CaptionItem
from sg.caption.hosted.engine.media import MediaFile
from sg.caption.hosted.engine.outcomes import drifted
from sg.caption.hosted.engine.recipe import Recipe, Words
from sg.caption.hosted.prompting import CaptionPrompt
from sg.caption.hosted.services.failures import answer_kind
from sg.caption.hosted.services.records import Answer, Kind, Request, RequestMedia, Usage
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import SUCCEEDED, Ledger
from sg.caption.quality.gates import PASS, REJECT, Verdict
from sg.core.fingerprints import fingerprint
from sg.core.identity import Identity, identity
from sg.evaluate.asking import Ask
from sg.evaluate.config import BenchmarkConfig
from sg.study.served.settings import ServerConfig
from sg.video.sampling import FramePolicy

QUESTIONS_VERSION = 1
"""Raise it when the same settings and questions would send another request. Every answer is then asked for again."""
NO_PROMPT = CaptionPrompt("question", "1", "en", "", dict.fromkeys(
    ("system", "user", "audio: silent", "audio: sound", "stricter"), ""
))  # fmt: skip
_LETTERS_PER_TOKEN = 3
_FIRST_TOKENS = "first_tokens"


@dataclass(frozen=True, slots=True)
class SentFrames(MediaFile):
    """The pictures of a request, in order; none for a question about no video."""

    pictures: tuple[bytes, ...] = ()


def served_identity(config: ServerConfig, sampling: FramePolicy) -> Identity:
    """What decides the answers of a server besides the questions: model, frames, pictures, generation."""
    inputs = {"sampling": fingerprint([type(sampling).__name__, sampling])}
    return identity("served_model", settings=config, inputs=inputs, version=QUESTIONS_VERSION)


@dataclass(frozen=True)
class QuestionRecipe(Recipe):
    """The questions of a benchmark in all settings, by the key of `key_of`."""

    config: ServerConfig
    asks: Mapping[str, Ask]
    answers: Identity
    words: ClassVar[Words] = Words("evaluate", "Asking", "questions", "answer")

    @cached_property
    def identity(self) -> Identity:
        """What decides the answers, also those of a local model: it names the recipe in the ledger."""
        return self.answers

    def items(self, frames: Mapping[str, int]) -> Iterator[CaptionItem]:
        """All questions that can be asked; `frames` is the number of pictures by `media_id`."""
        for key, ask in self.asks.items():
            if ask.is_askable:
                name = fingerprint([key, ask.row.prompt_hash, ask.row.tokens_of]) * 4
                shown = float(frames.get(ask.row.tokens_of, 0))
                yield CaptionItem(name, key, "", ask.row.setting, ask.row.tokens_of, shown, False, 0, None, None, "")

    def request(self, item: CaptionItem, file: MediaFile, uri: str, tries: dict[str, int]) -> Request:
        """The prompt of a question with its pictures, or its video."""
        prompt = self.asks[item.video_id].prompt
        pictures = file.pictures if isinstance(file, SentFrames) else ()
        media = RequestMedia(file.mime_type, file.data) if file.data else None
        return Request(
            self.config.model.name,
            "",
            prompt.text,
            media,
            self.parameters,
            pictures=tuple(RequestMedia(file.mime_type, picture) for picture in pictures),
            reply=prompt.reply,
        )

    def kind_of(self, answer: Answer) -> Kind | None:
        """An empty answer and one that was cut at its largest length are answers to a question."""
        return None if answer.finish_reason in ("STOP", "MAX_TOKENS") else answer_kind(answer)

    def examine(
        self, answer: Answer, item: CaptionItem, file: MediaFile | None
    ) -> tuple[str, dict[str, Any] | None, tuple[Verdict, ...]]:
        """The response, and the log-probabilities of its first token; the answer of another model is rejected."""
        is_other = self.config.on_model_drift == "stop" and drifted(answer.model_version, self.config.model.name)
        verdict = Verdict("model", REJECT if is_other else PASS, 1.0)
        return answer.text.strip(), {_FIRST_TOKENS: dict(answer.first_tokens)}, (verdict,)

    def longest(self, tries: dict[str, int]) -> int:
        """The maximum length of an answer, in tokens; no try asks for a longer one."""
        return self.max_output_tokens

    def expected(self, item: CaptionItem) -> Usage:
        """Tokens of a question and its answer."""
        model, prompt = self.config.model, self.asks[item.video_id].prompt
        shown = math.ceil(item.duration_s * model.tokens_per_frame[model.media_resolution])
        return Usage(shown + len(prompt.text) // _LETTERS_PER_TOKEN, self.max_output_tokens, video=shown)


def key_of(row: Prediction) -> str:
    """The name of a question in a setting, in the ledger."""
    return f"{row.question_id} {row.setting}"


def is_black(item: CaptionItem) -> bool:
    """True if the frames are shown without their content."""
    return item.split == ZEROED_VIDEO


def rows_of(ledger: Ledger, recipe: QuestionRecipe, benchmark: BenchmarkConfig) -> list[Prediction]:
    """One row per question in the order of the benchmark: those with an answer, and those that cannot have one."""
    found = {row.video_id: row for row in reading.results(ledger.connection, recipe.name)}
    errors = reading.last_errors(ledger.connection, recipe.name)
    rows = []
    for number, (key, ask) in enumerate(recipe.asks.items()):
        if not ask.is_askable:
            rows.append(ask.row)
        elif key in found:
            row = replace(ask.row, batch=number)
            is_answer = found[key].status == SUCCEEDED
            failed = replace(row, status=ERROR, reason=errors.get(key) or found[key].status)
            rows.append(_row(row, ask, found[key], benchmark) if is_answer else failed)
    return rows


def _row(row: Prediction, ask: Ask, found: reading.Recorded, benchmark: BenchmarkConfig) -> Prediction:
    usage, response = found.record["tokens"], found.text
    reading_of, letters = benchmark.rule(ask.question, response), LETTERS[: row.num_options]
    letter, score = reading_of.letter, reading_of.score
    logits = letter_logprobs((found.record["structured"] or {}).get(_FIRST_TOKENS, {}), letters)
    if row.option_order:
        # The options were shuffled: translate from the letters in the prompt to the letters of the benchmark.
        letter, score = row.option_order[letters.index(letter)] if letter in (*letters,) else "", None
        logits = tuple(logits[row.option_order.index(one)] for one in letters) if logits else ()
    return replace(
        row, response=response, letter=letter, score=score, letter_logits=logits,
        num_prompt_tokens=int(usage["input"]), num_new_tokens=int(usage["output"]),
    )  # fmt: skip


def letter_logprobs(tokens: Mapping[str, float], letters: str) -> tuple[float, ...]:
    """The log-probability of each letter as the first token, with or without blanks around it.

    Empty if one of the letters is not among the tokens: what the server did not name is unknown.
    """
    sums = dict.fromkeys(letters, 0.0)
    for token, logprob in tokens.items():
        if token.strip() in sums:
            sums[token.strip()] += math.exp(logprob)
    return tuple(round(math.log(value), 4) for value in sums.values()) if all(sums.values()) else ()
