"""Joins messages to one text: conversation templates and placeholders.

See `docs/reference/chat_univi.md`, sections 9 and 12.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sg.artefacts.dialogs import IMAGE, VIDEO
from sg.core.errors import DataError

END = "</s>"
CONTROL_TOKENS = ("<s>", END, "<unk>", IMAGE, VIDEO)
MAX_FRAMES = 64

_TEXT_MARK = "\ufdd0"
"""Inside a control token: it is text. Unicode reserves this character for such internal use; no text contains it."""
_CONTROL = re.compile("|".join(map(re.escape, CONTROL_TOKENS)))
_PLACEHOLDER = re.compile(f"{IMAGE}|{VIDEO}")

VICUNA_SYSTEM_PROMPT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

Conversations = Sequence[Mapping[str, str]]
"""Messages `{"from": "human" | "gpt", "value": text}` in order."""


@dataclass(frozen=True, slots=True)
class ConversationTemplate:
    """The text around the messages of a conversation.

    Attributes:
        system: text at the beginning, may be empty; `after_system` follows it.
        roles: names at the beginning of the turns of the human and of the assistant, without the colon.
        after_turn: text after a complete turn of the human and of the assistant.
        opening: turns before every conversation.
    """

    system: str
    after_system: str
    roles: tuple[str, str]
    after_turn: tuple[str, str]
    opening: tuple[str, ...] = ()

    def text(self, messages: Sequence[str | None]) -> str:
        """The text of alternating messages, the human's first; None or "" opens a turn (`ASSISTANT:`)."""
        parts = [self.system + self.after_system] if self.system else []
        for position, message in enumerate([*self.opening, *messages]):
            side = position % 2
            parts.append(f"{self.roles[side]}: {message}{self.after_turn[side]}" if message else f"{self.roles[side]}:")
        return "".join(parts)


def vicuna_v1(system: str = VICUNA_SYSTEM_PROMPT) -> ConversationTemplate:
    """The template of training and of video evaluation; an empty `system` also omits the space after it."""
    return ConversationTemplate(system, " ", ("USER", "ASSISTANT"), (" ", END))


SIMPLE = ConversationTemplate(
    VICUNA_SYSTEM_PROMPT.replace("user", "human"),
    "###",
    ("Human", "Assistant"),
    ("###", "###"),
    ("Hi!", "Hi there! How can I help you today?"),
)
"""The default of the authors' demos; the model was not trained with it."""


def as_text(text: str) -> str:
    """`text` with its control tokens marked: the encoders encode their characters, as those of any other text.

    The reference cannot tell a control token of the template from the same characters in a caption or a question.
    """
    return _CONTROL.sub(lambda token: f"<{_TEXT_MARK}{token.group()[1:]}", text)


def without_marks(text: str) -> str:
    """`text` as it was before `as_text`."""
    return text.replace(_TEXT_MARK, "")


def as_text_around_clip(text: str) -> str:
    """Like `as_text`, but the first `<image>` or `<video>` stays the place of the clip."""
    clip = _PLACEHOLDER.search(text)
    if clip is None:
        return as_text(text)
    return as_text(text[: clip.start()]) + clip.group() + as_text(text[clip.end() :])


def rewrite_placeholders(message: str, num_frames: int) -> str:
    """`message` of an image or video sample with its placeholders rewritten as in the training data of the reference.

    A run at the end moves to the front, `<image>` is followed by a newline, `<video>` becomes `num_frames` times
    `<image>` and a newline, and double newlines become single ones, also in answers.
    """
    if IMAGE in message or VIDEO in message:
        message = message.replace(f"{IMAGE}\n", IMAGE).replace(f"\n{IMAGE}", IMAGE).strip()
        trailing = re.search(f"(?:{IMAGE}|{VIDEO})+$", message)
        if trailing:
            message = trailing.group() + message[: trailing.start()].strip()
        longest = IMAGE * MAX_FRAMES
        message = re.sub(f"(?:{IMAGE}){{{MAX_FRAMES + 1},}}", longest, message)
    message = message.replace(IMAGE, f"{IMAGE}\n").replace(VIDEO, f"{IMAGE * num_frames}\n")
    return message.replace("\n\n", "\n")


def alternating_messages(conversations: Conversations) -> list[str]:
    """The texts of a conversation, the human's first; a first message of the assistant is dropped.

    Raises:
        DataError: two messages in a row come from the same side.
    """
    turns = conversations[1:] if conversations and conversations[0]["from"] == "gpt" else conversations
    for position, turn in enumerate(turns):
        expected = ("human", "gpt")[position % 2]
        if turn["from"] != expected:
            raise DataError(
                f"message {position + 1} of a conversation comes from {turn['from']!r}, expected {expected!r}"
            )
    return [turn["value"] for turn in turns]
