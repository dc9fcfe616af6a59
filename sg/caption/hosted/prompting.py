"""Prompts: files with front matter, filled in by replacing `{names}`, and named by a hash of all their text."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sg.core.errors import ConfigError
from sg.core.mistakes import nearest

FOLDER = Path(__file__).with_name("prompts")
CAPTION, CLAIMS = "caption", "claims"
PLACEHOLDERS = ("min_words", "max_words", "audio_rule", CLAIMS)
_KEYS = ("id", "version", "language", "schema", "words", "changelog")
_SECTIONS = ("system", "user", "audio: silent", "audio: sound", "stricter")
# The wanted number of words of a caption, by the video's duration in seconds.
_WINDOWS = ((10, (60, 120)), (30, (100, 200)), (120, (150, 300)), (float("inf"), (250, 450)))

CAPTION_SCHEMA: Mapping[str, Any] = {
    "type": "OBJECT",
    "properties": {
        "caption": {"type": "STRING"},
        "camera": {"type": "STRING"},
        "on_screen_text": {"type": "ARRAY", "items": {"type": "STRING"}},
        "audio": {"type": "STRING", "enum": ["none", "speech", "music", "ambient", "mixed", "unclear"]},
        "has_scene_change": {"type": "BOOLEAN"},
        "uncertain": {"type": "ARRAY", "items": {"type": "STRING"}},
        "refused": {"type": "BOOLEAN"},
        "refusal_reason": {"type": "STRING"},
    },
    "required": ["caption", "camera", "on_screen_text", "audio", "has_scene_change", "uncertain", "refused"],
}


@dataclass(frozen=True)
class CaptionPrompt:
    """A prompt file: its texts with the placeholders `{min_words}`, `{max_words}` and `{audio_rule}`.

    `own_words` is the number of words (minimum, maximum) that its front matter wants of a caption.
    """

    prompt_id: str
    version: str
    language: str
    schema: str
    sections: Mapping[str, str]
    own_words: tuple[int, int] | None = None

    @cached_property
    def content_hash(self) -> str:
        """16 hex digits over everything that reaches the service, and the language."""
        schema = json.dumps(CAPTION_SCHEMA, sort_keys=True) if self.schema else ""
        text = json.dumps(
            [self.language, schema, *(self.sections[name] for name in _SECTIONS), *(self.own_words or ())]
        )
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def system(self) -> str:
        """The system instruction."""
        return self.sections["system"]

    def user(self, duration_s: float, has_audio: bool | None, stricter: bool = False) -> str:
        """The user's text for a video of this duration; `stricter` is for the second try after a rejected caption."""
        low, high = self.own_words or word_window(duration_s)
        rule = self.sections["audio: silent" if has_audio is False else "audio: sound"]
        text = self.sections["user"] + ("\n\n" + self.sections["stricter"] if stricter else "")
        values = {"min_words": str(low), "max_words": str(high), "audio_rule": rule}
        return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), text)

    @property
    def asks_claims(self) -> bool:
        """Whether it has a place for the claims of a caption, as the prompt of a judge has."""
        return f"{{{CLAIMS}}}" in self.sections["user"]

    def words(self, duration_s: float) -> tuple[int, int] | None:
        """The number of words that the prompt wants of a caption; None if it does not say."""
        asks = any("{min_words}" in text or "{max_words}" in text for text in self.sections.values())
        return self.own_words or (word_window(duration_s) if asks else None)


def word_window(duration_s: float) -> tuple[int, int]:
    """The wanted number of words (minimum, maximum) for a video of this duration."""
    return next(window for limit, window in _WINDOWS if duration_s < limit or limit == float("inf"))


def read_prompt(name: str) -> CaptionPrompt:
    """The prompt of the package with this name, or the prompt file at this path.

    Raises:
        ConfigError: there is no such prompt, or a part of it is missing.
    """
    path = FOLDER / f"{name}.md" if re.fullmatch(r"[A-Za-z0-9_-]+", name) else Path(name).expanduser()
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in FOLDER.glob("*.md")))
        raise ConfigError(f"There is no prompt {name!r}: choose one of {shipped}, or give the path of a file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text in UTF-8: save it as UTF-8.") from None
    match = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    if match is None:
        raise ConfigError(f"{path} should begin with front matter between two lines of ---.")
    values = _front_matter(path, match[1])
    parts = re.split(r"^# (.+)\n", match[2], flags=re.MULTILINE)
    sections = {title.strip(): text.strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}
    for needed in _SECTIONS:
        if not sections.get(needed):
            raise ConfigError(f"{path} has no section '# {needed}': add it.")
    _check_whole(path, values, parts)
    if not values.get("id") or not values.get("version"):
        raise ConfigError(f"{path} should have id and version in its front matter.")
    language, schema = values.get("language", "en"), values.get("schema", "")
    if not re.fullmatch("[a-z]{2}", language):
        raise ConfigError(f"{path} has language: {language!r} in its front matter, not two small letters (ISO 639-1).")
    return CaptionPrompt(values["id"], values["version"], language, schema, sections, _own_words(path, values))


def _front_matter(path: Path, text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        key, colon, value = (part.strip() for part in line.partition(":"))
        is_continued = line[0].isspace()  # such as a list below `changelog:`
        if not colon and not is_continued and key.split()[0] in _KEYS:
            raise ConfigError(f"{path} has the line {line.strip()!r} in its front matter without a colon.")
        if key in _KEYS and key in values and not is_continued:
            raise ConfigError(f"{path} has the key {key!r} twice in its front matter: keep one.")
        if colon and not (is_continued and key in values):
            values[key] = value.strip('"')
    return values


def _check_whole(path: Path, values: Mapping[str, str], parts: Sequence[str]) -> None:
    """Raise ConfigError if a part of a prompt file would not be used."""
    titles = [title.strip() for title in parts[1::2]]
    for title in titles:
        if title not in _SECTIONS:
            raise ConfigError(
                f"{path} has the section '# {title}', which would not be sent: expected {', '.join(_SECTIONS)}. A line "
                "inside a section begins with no # and space."
            )
        if titles.count(title) > 1:
            raise ConfigError(f"{path} has the section '# {title}' twice: join them.")
    if parts[0].strip():
        raise ConfigError(f"{path} has text before its first section, which would not be sent: put it into '# system'.")
    for key in values:
        if key not in _KEYS and (hint := nearest(key, _KEYS)):
            raise ConfigError(f"{path} has the key {key!r} in its front matter{hint}: it would have no effect.")
    if values.get("schema", CAPTION) != CAPTION:
        raise ConfigError(f"{path} has schema: {values['schema']}, expected schema: {CAPTION}, or none for plain text.")
    for name in re.findall(r"\{(\w+)\}", "".join(parts)):
        if name not in PLACEHOLDERS and (hint := nearest(name, PLACEHOLDERS)):
            raise ConfigError(f"{path} has {{{name}}}{hint}: it would be sent as it stands.")


def _own_words(path: Path, values: Mapping[str, str]) -> tuple[int, int] | None:
    if "words" not in values:
        return None
    match = re.fullmatch(r"(\d{1,6})\s*-\s*(\d{1,6})", values["words"])
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(
            f"{path} should have words: LOW-HIGH in its front matter, such as 5-20, not {values['words']!r}."
        )
    return int(match[1]), int(match[2])
