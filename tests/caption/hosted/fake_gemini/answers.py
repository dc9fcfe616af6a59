"""Bodies of the Gemini API: answers, errors, files and batch operations, in camelCase as the service sends them."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

PLACES = [
    "kitchen", "harbour", "meadow", "street", "workshop", "stadium", "library", "garden", "beach", "station",
    "market", "forest", "studio", "bridge",
]  # fmt: skip
PEOPLE = [
    "woman", "man", "child", "dancer", "farmer", "cyclist", "painter", "cook", "nurse", "runner", "fisherman",
    "teacher", "juggler", "climber",
]  # fmt: skip
COLOURS = [
    "red", "blue", "green", "yellow", "black", "white", "orange", "purple", "grey", "brown", "pink", "silver",
    "golden", "turquoise",
]  # fmt: skip
THINGS = [
    "basket", "bicycle", "ladder", "kettle", "umbrella", "guitar", "lantern", "suitcase", "kite", "barrel", "camera",
    "rope", "carpet", "bucket",
]  # fmt: skip
ACTIONS = [
    "lifts", "carries", "turns", "opens", "shakes", "cleans", "paints", "repairs", "pushes", "drops", "folds",
    "balances", "inspects", "measures",
]  # fmt: skip


def caption_text(item: str, sentences: int = 9) -> str:
    """A paragraph of about 120 words that is unique to the item."""
    draw = random.Random(item)
    lines = []
    for number in range(sentences):
        first = ("At first", "Then", "Next", "After that", "Meanwhile", "Behind them", "Later", "Slowly", "Finally")
        lines.append(
            f"{first[number % 9]} a {draw.choice(COLOURS)}-clad {draw.choice(PEOPLE)} in the {draw.choice(PLACES)} "
            f"{draw.choice(ACTIONS)} a {draw.choice(COLOURS)} {draw.choice(THINGS)} on the "
            f"{draw.choice(('left', 'right'))}."
        )
    return " ".join(lines)


def usage(prompt: int, output: int, thinking: int = 0) -> dict[str, Any]:
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": thinking,
        "totalTokenCount": prompt + output + thinking,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": min(prompt, 300)},
            {"modality": "VIDEO", "tokenCount": max(prompt - 300, 0)},
        ],
    }


def answer(
    text: str | None, model: str, prompt: int, *, finish: str = "STOP", block: str = "", candidates: bool = True
) -> dict[str, Any]:
    """A generateContent answer."""
    output = len((text or "").split()) * 4 // 3
    body: dict[str, Any] = {
        "usageMetadata": usage(prompt, output),
        "modelVersion": model,
        "responseId": hashlib.md5(f"{text}{prompt}".encode()).hexdigest()[:16],
    }
    if block:
        body["promptFeedback"] = {"blockReason": block}
    elif candidates:
        parts = [{"text": text}] if text is not None else []
        content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
        body["candidates"] = [{"content": content, "finishReason": finish, "index": 0}]
    return body


def error(code: int, status: str, message: str, details: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": details or []}}


def quota_error(quota_id: str, retry_delay: str | None) -> dict[str, Any]:
    details: list[dict[str, Any]] = [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaMetric": "generativelanguage.googleapis.com/x", "quotaId": quota_id}],
        }
    ]
    if retry_delay is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_delay})
    return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", details)


def bad_key() -> dict[str, Any]:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    return error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [info])


def encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()
