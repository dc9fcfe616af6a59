"""Conversations of video models, as LLaVA and chat services write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sg.sources.records.columns import TURN_KEYS


def turns_of(row: Mapping[str, Any]) -> list[Any] | None:
    """The conversation of a record; None where it has none."""
    for key in TURN_KEYS:
        if isinstance(turns := row.get(key), list):
            return turns
    return None


def turn_of(turn: Any) -> tuple[str, Any]:
    """Speaker and message of a turn: `from` and `value` as in LLaVA, or `role` and `content` as in chat services.

    The texts of a `content` in parts are joined.
    """
    if not isinstance(turn, Mapping):
        return "", None
    value = turn.get("value", turn.get("content"))
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        texts = [part["text"] for part in value if isinstance(part.get("text"), str)]
        value = "\n".join(texts) if texts else None
    return str(turn.get("from", turn.get("role", ""))).casefold(), value


def videos_in(turns: Iterable[Any]) -> list[Any]:
    """The videos that messages of a conversation name in parts, as Qwen does: `{"type": "video", "video": NAME}`."""
    contents = [turn.get("content") for turn in turns if isinstance(turn, Mapping)]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [part["video"] for part in parts if isinstance(part, Mapping) and part.get("video")]


def first_answer(turns: Iterable[Any]) -> Any:
    """The first message of the model in a conversation."""
    return next((text for who, text in map(turn_of, turns) if who in ("gpt", "assistant", "model")), None)
