"""What differs in how the answers of several files were made, as far as the files and their records say it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sg.artefacts.predictions import Prediction
from sg.core.errors import SgError
from sg.core.files import read_json

SCORES_FILE = "scores.json"
TOPICS = {
    "decoding": r"answering|generation|sampling seed",
    "prompt": r"prompt",
    "subtitles rule": r"subtitle",
    "answer rule": r"answer_reader",
    "frames and sampling": r"frames|fps|sampling",
    "resolution": r"short_side|picture|media|aspect|spatial|size",
    "benchmark version": r"questions|revision|videos",
    "engine": r"engine|version",
    "answered questions": r"answered",
    "model": r"",
}
"""What the differences are called, by the first pattern that is in their key."""
ABSENT = "not recorded"
_LONGEST = 60


def made_text(paths: Sequence[Path], writers: Sequence[str], files: Sequence[Sequence[Prediction]]) -> str:
    """The differences, one line each with the values of all files, by topic; empty without any."""
    facts = [dict(_facts(path, writer, rows)) for path, writer, rows in zip(paths, writers, files, strict=True)]
    keys = dict.fromkeys(key for known in facts for key in known)
    found: dict[str, list[str]] = {}
    for key in keys:
        values = [known.get(key, ABSENT) for known in facts]
        if len(set(values)) > 1:
            topic = next(name for name, pattern in TOPICS.items() if re.search(pattern, key))
            found.setdefault(topic, []).append(f"{key} {' | '.join(values)}")
    lines = [f"  {topic}: {line}" for topic in TOPICS for line in found.get(topic, [])]
    return "\n".join(["how they were made (first file | others)", *lines]) if lines else ""


def _facts(path: Path, writer: str, rows: Sequence[Prediction]) -> Iterator[tuple[str, str]]:
    """Key and value of everything that is known about a file of answers."""
    yield "engine", writer or "plain table"
    yield "answered", f"{sum(row.is_answered for row in rows):,} of {len(rows):,}"
    shown = [len(row.frames) for row in rows if row.frames]
    if shown:
        yield "frames shown", f"{min(shown)} to {max(shown)}, mean {sum(shown) / len(shown):.1f}"
    prompts = {row.prompt_hash for row in rows if row.prompt_hash}
    if prompts:
        yield "prompts (hash of all)", f"{hash_of(prompts)}"
    lines = [row.subtitle_lines for row in rows if row.subtitles]
    if lines:
        yield "subtitle lines shown", f"mean {sum(lines) / len(lines):.1f}"
    yield from _recorded(path.with_name(SCORES_FILE))


def hash_of(texts: set[str]) -> str:
    """8 hex digits over a set of texts."""
    from sg.core.fingerprints import fingerprint

    return fingerprint(sorted(texts))[:8]


def _recorded(path: Path) -> Iterator[tuple[str, str]]:
    """What `scores.json` beside our answers says: settings of the benchmark, the model, the questions, the version."""
    try:
        record = read_json(path) if path.is_file() else {}
    except SgError:
        return
    if not isinstance(record, dict):
        return
    for key in ("checkpoint", "served", "version"):
        if record.get(key):
            yield key, _short(record[key])
    parts = {"": record.get("data"), "benchmark.": record.get("benchmark"), "model.": record.get("model")}
    for prefix, part in parts.items():
        for key, value in _flat(part):
            if not key.endswith(("folder", "table", "class", "step")):
                yield prefix + key, _short(value)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, member in value.items() if isinstance(value, Mapping) else ():
        if isinstance(member, Mapping):
            yield from _flat(member, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", member


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
