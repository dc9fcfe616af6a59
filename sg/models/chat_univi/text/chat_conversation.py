"""Token ids and labels of conversations with the tokenizers of newer language models (`tokenizer.json`).

Each segment of text (a message, or the text of a chat format between two messages) is encoded once, separately,
together with its labels. So no text is tokenised again to find the beginning of an answer, and a prompt has the same
ids as the beginning of a training dialog.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from sg.artefacts.dialogs import IMAGE
from sg.core.errors import MissingInputError, ModelError
from sg.core.files import read_json
from sg.models.chat_univi.text.chat_formats import CHAT_FORMATS, EOS, ChatFormat
from sg.models.chat_univi.text.conversation import DialogEncoder, EncodedDialog
from sg.models.chat_univi.text.special_ids import NO_ID, PLACEHOLDER_ID
from sg.models.chat_univi.text.template import (
    VICUNA_SYSTEM_PROMPT,
    Conversations,
    alternating_messages,
    rewrite_placeholders,
    without_marks,
)
from sg.models.student import IGNORED_LABEL

Segment = tuple[list[int], bool]
"""(ids, True if they are supervised)"""


class ChatDialogEncoder(DialogEncoder):
    """Encodes dialogs and prompts in a chat format, with any tokenizer that has a `tokenizer.json`.

    Args:
        folder: holds `tokenizer.json` and, for the end of text, `tokenizer_config.json`.
        chat_format: one of `CHAT_FORMATS`.
        system_prompt: text in front of every conversation; may be empty.
        max_length: limit of text-only dialogs. Dialogs with media are cut when they are collated.

    Raises:
        MissingInputError: there is no tokenizer.
        ModelError: it cannot be read, or lacks a token of the chat format.
    """

    def __init__(
        self, folder: Path, chat_format: str, system_prompt: str = VICUNA_SYSTEM_PROMPT, max_length: int = 2048
    ) -> None:
        self._marked, self._plain = _tokenizer(folder), _tokenizer(folder)
        self._plain.encode_special_tokens = True  # in messages special tokens are plain text
        eos = _end_of_text(folder)
        self._format = _with_eos(CHAT_FORMATS[chat_format], eos, folder)
        self._system, self.max_length, self._folder = system_prompt, max_length, folder
        self.eos_id = self._special(self._format.end, chat_format, folder)
        self._ends = {self.eos_id, *([self._marked.token_to_id(eos)] if eos else [])} - {None}
        for marks in (self._format.system, self._format.human, (self._format.opening,)):
            for name in _special_names("".join(marks)):
                self._special(name, chat_format, folder)
        self._start = list(self._marked.encode("", add_special_tokens=True).ids)

    def __len__(self) -> int:
        return int(self._marked.get_vocab_size(with_added_tokens=True))

    def save_tokenizer(self, folder: Path) -> None:
        """Copy the tokenizer's files into a model's folder."""
        for name in ("tokenizer.json", "tokenizer_config.json"):
            if (self._folder / name).is_file():
                shutil.copyfile(self._folder / name, folder / name)

    def encode_text(self, text: str, with_placeholders: bool = True) -> list[int]:
        """Ids of a message; with placeholders `<image>` becomes its id, and all else is text."""
        pieces = text.split(IMAGE) if with_placeholders else [text]
        ids: list[int] = []
        for number, piece in enumerate(pieces):
            ids += [PLACEHOLDER_ID] if number else []
            ids += self._plain.encode(without_marks(piece), add_special_tokens=False).ids if piece else []
        return ids

    def encode_dialog(
        self, conversations: Conversations, frame_count: int = 0, max_length: int | None = None
    ) -> EncodedDialog:
        """Ids and labels of a training dialog about a clip of `frame_count` frames; 0 means text only.

        The answers and the tokens that close them are supervised. An invalid dialog (an empty message, or a last turn
        of the human) has no supervised token, and `problem` explains why. `max_length` replaces that of the encoder.

        Raises:
            DataError: the turns do not alternate.
        """
        messages = alternating_messages(conversations)
        if frame_count:
            messages = [rewrite_placeholders(message, frame_count) for message in messages]
        ids, labels = list(self._start), [IGNORED_LABEL] * len(self._start)
        for segment, is_supervised in self._segments(messages, frame_count > 0):
            ids += segment
            labels += segment if is_supervised else [IGNORED_LABEL] * len(segment)
        problem = _problem(messages)
        if problem:
            labels = [IGNORED_LABEL] * len(ids)
        kept = len(ids) if frame_count else min(len(ids), max_length or self.max_length)
        return EncodedDialog(ids[:kept], labels[:kept], problem, masked_id=NO_ID, num_cut=len(ids) - kept)

    def encode_messages(self, messages: Sequence[str | None], reply: str = "") -> list[int]:
        """Ids of a conversation of several turns; None as the last message opens the answer, which `reply` begins."""
        ids = [*self._start, *(token for segment, _ in self._segments(messages, True) for token in segment)]
        return [*ids, *self.encode_text(self._format.before_answer + reply)] if reply else ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids up to the end of the turn or text, stripped, without special tokens."""
        tokens = list(ids)
        end = next((place for place, token in enumerate(tokens) if token in self._ends), len(tokens))
        text: str = self._marked.decode(tokens[:end], skip_special_tokens=True)
        return text.strip()

    def _segments(self, messages: Sequence[str | None], with_placeholders: bool) -> Iterator[Segment]:
        marks = self._format
        if self._system:
            yield self._around(marks.system, self._system, False), False
        for position, message in enumerate(messages):
            if position % 2 == 0:
                yield self._around(marks.human, message or "", with_placeholders), False
                continue
            yield self._mark(marks.opening), False
            if message:
                yield self.encode_text(marks.before_answer + message, with_placeholders), True
                yield [self.eos_id], True
                yield self._mark(marks.after_answer), False

    def _around(self, marks: tuple[str, str], text: str, with_placeholders: bool) -> list[int]:
        return [*self._mark(marks[0]), *self.encode_text(text, with_placeholders), *self._mark(marks[1])]

    def _mark(self, text: str) -> list[int]:
        """Ids of a text of the format, in which special tokens count as such."""
        return list(self._marked.encode(text, add_special_tokens=False).ids) if text else []

    def _special(self, token: str, chat_format: str, folder: Path) -> int:
        found = self._marked.token_to_id(token)
        if found is None:
            raise ModelError(
                f"The tokenizer in {folder} has no token {token}, which model.chat_format={chat_format} needs: "
                f"choose another of {', '.join(CHAT_FORMATS)}."
            )
        return int(found)


def _tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise MissingInputError(f"There is no tokenizer {path}: set model.tokenizer to a folder with a tokenizer.json.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises only this class
        raise ModelError(f"{path} is not a tokenizer ({str(error).splitlines()[0]}): download it again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _end_of_text(folder: Path) -> str | None:
    """The end-of-text token in the tokenizer's config, or None."""
    path = folder / "tokenizer_config.json"
    token = read_json(path).get("eos_token") if path.is_file() else None
    return token.get("content") if isinstance(token, dict) else token


def _with_eos(chat_format: ChatFormat, eos: str | None, folder: Path) -> ChatFormat:
    if chat_format.end != EOS:
        return chat_format
    if eos is None:
        raise ModelError(f"{folder}/tokenizer_config.json names no eos_token, which closes the answers of this format.")
    return ChatFormat(
        chat_format.system, chat_format.human, chat_format.opening, eos, before_answer=chat_format.before_answer
    )


def _special_names(text: str) -> list[str]:
    """The special tokens `<|name|>` in a text of a format."""
    return [f"<|{part.partition('|>')[0]}|>" for part in text.split("<|")[1:]]


def _problem(messages: Sequence[str]) -> str | None:
    """The reason why a dialog is invalid, or None."""
    if not messages or len(messages) % 2:
        return "ends on a turn of the human"
    return "has an empty message" if not all(messages) else None
