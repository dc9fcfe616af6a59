"""Ids and labels of conversations, worded by the chat template of the model.

The template is rendered by transformers. The places of the messages in the rendered text are known, because their
texts are rendered between two marks. So the ids are those of the plain text, and these things can be decided exactly:

* which ids are an answer, and which one closes its turn;
* where the clip stands;
* that a text which spells a control token is encoded as its characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sg.core.errors import ModelError, first_line
from sg.models.student import IGNORED_LABEL

_BEGIN, _END = "\U000f5601", "\U000f5602"
"""Private characters around the text of a message while the template is rendered."""
_MARKED = re.compile(f"{_BEGIN}(.*?){_END}", re.DOTALL)

ASSISTANT, USER, SYSTEM = "assistant", "user", "system"


@dataclass(frozen=True, slots=True)
class Message:
    """A message; `clip` is `video` or `image` for a clip between the texts `before` and `text`."""

    role: str
    text: str
    clip: str | None = None
    before: str = ""

    @property
    def texts(self) -> list[str]:
        """Its texts; at least one."""
        return [self.before, self.text] if self.before and self.clip else [self.text]


@dataclass(frozen=True, slots=True)
class WordedDialog:
    """Ids of a conversation and its labels, of equal length, as `EncodedSample` describes them.

    Attributes:
        clip_end: number of ids up to the end of the clip; 0 without one.
    """

    input_ids: list[int]
    labels: list[int]
    problem: str | None = None
    num_cut: int = 0
    clip_end: int = 0


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the text that is encoded on its own; `is_text`: as characters, without looking for tokens in it."""

    text: str
    is_text: bool


class Wording:
    """Words conversations as the processor of a model does.

    Args:
        processor: of transformers, with a chat template.
        label: names the model in errors.
        system_prompt: text of a system message in front of every conversation; None leaves it to the template.

    Raises:
        ModelError: the processor has no chat template, or no tokenizer that knows the places of its tokens.
    """

    def __init__(self, processor: Any, label: str, system_prompt: str | None = None) -> None:
        self._processor, self._label, self._system = processor, label, system_prompt
        self.tokenizer = processor.tokenizer
        if not processor.chat_template:
            raise ModelError(f"{label} has no chat template (chat_template.jinja), so its dialogs cannot be worded.")
        if not self.tokenizer.is_fast:
            raise ModelError(f"{label} has no tokenizer.json, which is needed to know the places of tokens in a text.")

    def encode(self, messages: Sequence[Message], clip: str = "", is_open: bool = False) -> WordedDialog:
        """Ids and labels of a conversation.

        Args:
            clip: text that stands for the clip, such as time stamps and placeholders.
            is_open: the conversation ends where an answer begins.
        """
        messages = self._all(messages)
        text, spans = self._rendered(messages, is_open)
        roles = [message.role for message in messages for _ in message.texts]
        answers = [number for number, role in enumerate(roles) if role == ASSISTANT]
        leads = [self._lead(text, spans, number) for number in answers]
        text, moved = self._with_clip(text, spans, clip)
        spans = [(moved(start), moved(end)) for start, end in spans]
        ids, places = self._tokenized(text, spans)
        labels = [IGNORED_LABEL] * len(ids)
        for number, lead in zip(answers, leads, strict=True):
            start, end = spans[number]
            if text[start:end].strip():
                self._supervise(ids, labels, places, text, start - lead, end)
        before, after = self._added(text)
        clip_end = sum(1 for start, _ in places if start < moved.end) if clip else 0
        return WordedDialog(
            [*before, *ids, *after],
            [*[IGNORED_LABEL] * len(before), *labels, *[IGNORED_LABEL] * len(after)],
            clip_end=clip_end + len(before) if clip else 0,
        )

    @cached_property
    def control_ids(self) -> frozenset[int]:
        """Ids of the tokens that stand for themselves in the template, not for characters."""
        return frozenset(self.tokenizer.added_tokens_decoder)

    @cached_property
    def closing_ids(self) -> list[int]:
        """The token that closes an answer; empty if the template has none."""
        worded = self.encode([Message(USER, "x"), Message(ASSISTANT, "x")])
        last = [label for label in worded.labels if label != IGNORED_LABEL][-1]
        return [last] if last in self.control_ids else []

    @cached_property
    def some_text_ids(self) -> list[int]:
        """Ids of a short text."""
        return list(self.tokenizer.encode("x", add_special_tokens=False))

    def _all(self, messages: Sequence[Message]) -> list[Message]:
        return [*([Message(SYSTEM, self._system)] if self._system is not None else []), *messages]

    def _rendered(self, messages: Sequence[Message], is_open: bool) -> tuple[str, list[tuple[int, int]]]:
        """The text of the template, and the place of every text of the messages in it."""
        plain = self._template(messages, is_open, _unmarked)
        for change in (_marked, _marked_stripped):  # some templates strip the texts
            marked = self._template(messages, is_open, change)
            places = []
            for number, found in enumerate(_MARKED.finditer(marked)):
                places.append((found.start() - 2 * number, found.end() - 2 * number - 2))
            if _unmarked(marked) == plain and len(places) == sum(len(message.texts) for message in messages):
                return plain, places
        roles = ", ".join(message.role for message in messages)
        raise ModelError(
            f"{self._label} has a chat template that changes the texts of messages or leaves some out, so that the "
            f"answers cannot be found in it (a conversation of {roles})."
        )

    def _template(self, messages: Sequence[Message], is_open: bool, change: Callable[[str], str]) -> str:
        conversation = []
        for message in messages:
            texts = [{"type": "text", "text": change(text)} for text in message.texts]
            clip = [{"type": message.clip}] if message.clip else []
            conversation.append({"role": message.role, "content": [*texts[:-1], *clip, texts[-1]]})
        try:
            text = self._processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=is_open)
        except Exception as error:  # a template is a program of strangers: jinja can raise anything
            raise ModelError(
                f"{self._label} has a chat template that refuses the conversation: {first_line(error)}"
            ) from error
        assert isinstance(text, str)
        return text

    def _lead(self, text: str, spans: Sequence[tuple[int, int]], number: int) -> int:
        """Length of the white space in front of an answer that the model writes itself, after its own prompt."""
        start = spans[number][0]
        before = text[spans[number - 1][1] if number else 0 : start]
        _, found, space = before.rpartition(self._prompt)
        return len(space) if found and not space.strip() else 0

    @cached_property
    def _prompt(self) -> str:
        """The text after the last message where an answer begins."""
        messages = self._all([Message(USER, "x")])
        text, spans = self._rendered(messages, is_open=True)
        return text[spans[-1][1] :]

    def _with_clip(self, text: str, spans: Sequence[tuple[int, int]], clip: str) -> tuple[str, _Moved]:
        """The text with `clip` in the place of the placeholder, which lies outside of all messages."""
        for kind in ("video", "image"):
            token = getattr(self._processor, f"{kind}_token", None)
            for found in re.finditer(re.escape(token), text) if token and clip else ():
                if not any(start < found.end() and found.start() < end for start, end in spans):
                    first, last = self._replaced(kind, text, spans, found.start())
                    moved = _Moved(first, last, first + len(clip))
                    return text[:first] + clip + text[last:], moved
        if clip:
            raise ModelError(f"{self._label} has a chat template that leaves out the clip of a message.")
        return text, _Moved(0, 0, 0)

    def _replaced(self, kind: str, text: str, spans: Sequence[tuple[int, int]], at: int) -> tuple[int, int]:
        """The part of the text that the processor replaces for the clip whose token is at `at`.

        Some processors also replace the template's marks around the token, because they write marks for every frame.
        """
        first = max([0, *(end for _, end in spans if end <= at)])
        last = min([len(text), *(start for start, _ in spans if start > at)])
        given = {f"{kind}s_replacements": [""] * (last - first)}
        try:
            _, offsets = self._processor.get_text_with_replacements([text[first:last]], **given)
        except StopIteration:  # HyperCLOVA X also asks for the durations of the videos in the text
            return at, at + len(getattr(self._processor, f"{kind}_token"))
        places = ((first + start, first + end) for start, end in (found["span"] for found in offsets[0]))
        return next((start, end) for start, end in places if start <= at < end)

    def _tokenized(self, text: str, spans: Sequence[tuple[int, int]]) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of `text` and the place of each in it; control tokens in `spans` become characters."""
        pieces, done = [], 0
        for start, end in spans:
            for found in self._control.finditer(text, start, end):
                pieces += [_Piece(text[done : found.start()], False), _Piece(found.group(), True)]
                done = found.end()
        pieces.append(_Piece(text[done:], False))
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        offset = 0
        for number, piece in enumerate(pieces):
            new, at = self._encoded(piece, number == 0)
            ids += new
            places += [(offset + start, offset + end) for start, end in at]
            offset += len(piece.text)
        return ids, places

    def _encoded(self, piece: _Piece, is_first: bool) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and places of a piece, as transformers' `sanitize_control_tokens` encodes it.

        A later piece is encoded after a line break, which is removed again: some tokenizers add a space at the
        beginning of a text.
        """
        if not piece.text:
            return [], []
        for lead in ("",) if is_first else ("\n", ""):
            encoded = self.tokenizer(
                lead + piece.text,
                add_special_tokens=False,
                split_special_tokens=piece.is_text,
                return_offsets_mapping=True,
            )
            ids, places = list(encoded["input_ids"]), encoded["offset_mapping"]
            if piece.is_text and not self.control_ids.isdisjoint(ids):  # a token that cannot be switched off: cut it
                return self._joined(_Piece(piece.text[:1], True), _Piece(piece.text[1:], True), is_first)
            line_break = self._line_break if lead else []
            if ids[: len(line_break)] == line_break:
                kept = [(max(0, start - len(lead)), max(0, end - len(lead))) for start, end in places]
                return ids[len(line_break) :], kept[len(line_break) :]
        raise AssertionError("the last lead is empty, so it always fits")

    def _joined(self, one: _Piece, other: _Piece, is_first: bool) -> tuple[list[int], list[tuple[int, int]]]:
        ids, places = self._encoded(one, is_first)
        more, at = self._encoded(other, False)
        return ids + more, places + [(start + len(one.text), end + len(one.text)) for start, end in at]

    @cached_property
    def _line_break(self) -> list[int]:
        return list(self.tokenizer.encode("\n", add_special_tokens=False))

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Finds control tokens: special ones, and those that the template spells."""
        template = str(self._processor.chat_template)
        tokens = [
            token.content
            for token in self.tokenizer.added_tokens_decoder.values()
            if token.special or (token.content in template and not token.content.isspace())
        ]
        return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")

    def _supervise(
        self, ids: list[int], labels: list[int], places: list[tuple[int, int]], text: str, start: int, end: int
    ) -> None:
        """Label the answer at `start` to `end` and the token that closes its turn."""
        inside = [at for at, (first, last) in enumerate(places) if first < end and last > start]
        after = next((at for at, (first, last) in enumerate(places) if last > first >= end), len(ids))
        close = next((at for at in range(after, len(ids)) if ids[at] in self.control_ids), None)
        if close is not None and not text[end : places[close][0]].strip():
            inside.append(close)
        for at in range(inside[0], inside[-1] + 1):
            labels[at] = ids[at]

    def _added(self, text: str) -> tuple[list[int], list[int]]:
        """Ids that the processor adds around every text, such as one for its beginning."""
        bos = self.tokenizer.bos_token
        if bos and text.startswith(bos):
            return [], []
        return self._around

    @cached_property
    def _around(self) -> tuple[list[int], list[int]]:
        plain = self.some_text_ids
        whole = self._processor(text=["x"])["input_ids"][0]
        whole = list(whole)
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return whole[:start], whole[start + len(plain) :]
        raise ModelError(f"{self._label} has a processor that changes texts before they are encoded.")


@dataclass(frozen=True, slots=True)
class _Moved:
    """Where places in a text lie after its part from `start` to `old_end` was replaced by one that ends at `end`."""

    start: int
    old_end: int
    end: int

    def __call__(self, place: int) -> int:
        return place + self.end - self.old_end if place >= self.old_end else place


def _unmarked(text: str) -> str:
    return text.replace(_BEGIN, "").replace(_END, "")


def _marked(text: str) -> str:
    return f"{_BEGIN}{_unmarked(text)}{_END}"


def _marked_stripped(text: str) -> str:
    return _marked(_unmarked(text).strip())
