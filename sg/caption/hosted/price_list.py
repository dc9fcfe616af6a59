"""`python -m sg.caption prices`: what a newer price list changes in the committed copy, and how the copy is made."""

import datetime
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sg.caption.hosted.prices import TABLE, table
from sg.core.errors import ConfigError
from sg.core.files import write_text

LIST_FILE = "litellm/model_prices_and_context_window_backup.json"
_PREFIX = "gemini/"
_KEPT = re.compile(
    r"(input_cost_per_(audio_)?token|output_cost_per_token|cache_read_input_(audio_)?token_cost)"
    r"(_above_200k_tokens)?(_batches|_flex|_priority)?|deprecation_date"
)


def compare_prices(source: Path, out: Path | None) -> str:
    """What the list at `source` changes in the committed copy, as text; `out` writes the new copy.

    Raises:
        ConfigError: the file is not such a list.
    """
    models, origin = read_list(source)
    tracked = {name: fields for name in table()["models"] if (fields := _kept(models, name))}
    lines = list(_changes(tracked))
    new = sorted(
        name
        for key, fields in models.items()
        if key.startswith(f"{_PREFIX}gemini-") and "video" in (fields.get("supported_modalities") or ())
        if fields.get("mode") == "chat" and (name := key.removeprefix(_PREFIX)) not in table()["models"]
    )
    lines += [f"  models for video that the copy does not have: {', '.join(new)}"] if new else []
    head = f"{origin} against the copy of {table()['source']}, read on {table()['read_on']} ({TABLE.name}):"
    if out is not None:
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        copy = {"source": origin, "read_on": today, "models": tracked}
        write_text(out, json.dumps(copy, indent=1, sort_keys=True) + "\n")
        lines.append(f"  {out} is the new copy")
    return "\n".join([head, *(lines or ["  no price has changed"])])


def read_list(source: Path) -> tuple[Mapping[str, Any], str]:
    """The models of a list and its name; `source` is litellm's JSON file, or its wheel.

    Raises:
        ConfigError: the file is missing, or has no models of the Gemini API.
    """
    expected = (
        f"source={source} should be litellm's price list, {LIST_FILE.rpartition('/')[2]}, or the wheel that "
        "`pip download --no-deps litellm` loads"
    )
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as wheel:
                text = wheel.read(LIST_FILE).decode()
        else:
            text = source.read_text(encoding="utf-8")
        models = json.loads(text)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{expected} ({type(error).__name__}: {error}).") from error
    if not isinstance(models, dict) or not any(key.startswith(_PREFIX) for key in models):
        raise ConfigError(f"{expected}; it has no models named {_PREFIX}...")
    match = re.match(r"litellm-([\d.]+)-", source.name)
    return models, f"litellm {match[1]}" if match else f"litellm's {source.name}"


def _kept(models: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in models.get(_PREFIX + name, {}).items() if _KEPT.fullmatch(key)}


def _changes(tracked: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One line per field that differs, prices in USD per million tokens."""
    for name, known in table()["models"].items():
        fields = tracked.get(name)
        if fields is None:
            yield f"  {name}: the list does not have it any more"
            continue
        for key in sorted({*known, *fields}):
            before, after = known.get(key), fields.get(key)
            if before != after:
                yield f"  {name}: {key} {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    return "none" if value is None else (f"{value * 1e6:g}" if isinstance(value, float) else str(value))
