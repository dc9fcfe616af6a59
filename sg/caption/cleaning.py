"""Clean captions of unknown origin for training: no control tokens of models, no invisible characters, one line."""

import re

CONTROL_TOKEN, INVISIBLE = "control_token", "invisible"

_CONTROL_TOKENS = re.compile(
    r"</?(?:video|image|img|vid|im_start|im_end|im_patch|s|unk|pad|bos|eos)>|<\|[^|<>]{0,40}\|>|\[/?INST\]|<</?SYS>>",
    re.IGNORECASE,
)
# Zero-width characters, marks and overrides of the writing direction, and control characters except white space.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\x00-\x08\x0e-\x1f\x7f-\x9f]")


def clean_caption(text: str) -> tuple[str, tuple[str, ...]]:
    """The caption on one line without control tokens and invisible characters, and flags for what was removed.

    Removing a token can form a new one from its neighbours (`<vi<video>deo>`), so it is repeated until nothing changes.
    """
    flags = []
    visible = _INVISIBLE.sub("", text)
    if visible != text:
        flags.append(INVISIBLE)
    cleaned = visible
    while (next_text := _CONTROL_TOKENS.sub(" ", cleaned)) != cleaned:
        cleaned = next_text
    if cleaned != visible:
        flags.append(CONTROL_TOKEN)
    return " ".join(cleaned.split()), tuple(flags)
