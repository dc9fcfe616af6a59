"""The gates: automatic checks of a caption. Each returns a score and a verdict: pass, warn, or reject."""

import json
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

VERSION = 3
PASS, WARN, REJECT = "pass", "warn", "reject"
MAX_CHARACTERS = 6000
_END = re.compile(r"[.!?…。！？][\"'”’)\]]*$")
_OPENING = 400
"""Characters in which a text shows that it begins with chat."""
_DECORATION = re.compile(r"^[\s*_#>`~¡-]+")
_ODD_CHARACTERS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f\ue000-\uf8ff\ufffd]"
)

# Frequent words recognise most English texts in a twentieth of the detector's time; the detector judges the rest.
_ENGLISH = frozenset([
    "the", "and", "of", "with", "is", "are", "from", "their", "his", "its", "while", "which", "that", "then", "this",
    "into",
])  # fmt: skip


LANGUAGES = frozenset([
    "af", "am", "an", "ar", "as", "az", "ba", "be", "bg", "bn", "br", "bs", "ca", "cs", "cy", "da", "de", "dz", "el",
    "en", "eo", "es", "et", "eu", "fa", "fi", "fo", "fr", "fy", "ga", "gd", "gl", "gu", "ha", "he", "hi", "hr", "ht",
    "hu", "hy", "id", "ig", "is", "it", "ja", "jv", "ka", "kk", "km", "kn", "ko", "ku", "ky", "la", "lb", "lg", "ln",
    "lo", "lt", "lv", "mg", "mk", "ml", "mn", "mr", "ms", "mt", "my", "ne", "nl", "nn", "no", "oc", "om", "or", "pa",
    "pl", "ps", "pt", "qu", "ro", "ru", "rw", "sa", "se", "si", "sk", "sl", "sn", "so", "sq", "sr", "st", "sv", "sw",
    "ta", "te", "tg", "th", "tk", "tl", "tr", "tt", "ug", "uk", "ur", "uz", "vi", "vo", "wa", "xh", "yo", "zh", "zu",
])  # fmt: skip
"""The languages (ISO 639-1) that the gate recognises."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of one gate about one caption."""

    gate: str
    verdict: str
    score: float
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Judged:
    """A caption, what is known about its video, and the number of words (minimum, maximum) that its prompt wants."""

    text: str
    duration_s: float = 0.0
    has_audio: bool | None = None
    finish_reason: str = "STOP"
    language: str | None = "en"
    audio_field: str | None = None
    refused_field: bool = False
    words: tuple[int, int] | None = None
    asked: str = ""
    """The text of the prompt."""


def judge(caption: Judged) -> tuple[Verdict, ...]:
    """The verdicts of all gates, in their order."""
    return tuple(gate(caption) for gate in GATES)


def worst(verdicts: Iterable[Verdict]) -> str:
    """The worst of the verdicts."""
    found = {verdict.verdict for verdict in verdicts}
    return REJECT if REJECT in found else (WARN if WARN in found else PASS)


def finish(caption: Judged) -> Verdict:
    """The answer is complete and ends with the end of a sentence."""
    if caption.finish_reason not in ("STOP", ""):
        return Verdict("finish", REJECT, 1.0)
    return Verdict("finish", PASS if _END.search(caption.text.strip()) else WARN, 0.0)


def length(caption: Judged) -> Verdict:
    """The number of words is within 0.6 to 1.6 times the wanted range, if the prompt wants one."""
    low, high = caption.words or (1, MAX_CHARACTERS)
    words = len(caption.text.split())
    if len(caption.text) > MAX_CHARACTERS or words < 0.6 * low:
        return Verdict("length", REJECT, float(words))
    return Verdict("length", PASS if words <= 1.6 * high else WARN, float(words))


def chat(caption: Judged) -> Verdict:
    """The text is the caption alone: no preamble, label, thought, refusal in its opening, and no markdown.

    Openings are known in the twelve commonest languages, whatever the language of the caption.
    """
    bare = _DECORATION.sub("", _lowered(caption.text)[:_OPENING])
    hits = sum(pattern.match(bare) is not None for pattern in _openings()) + _hits("chat", caption.text)
    return Verdict("chat", REJECT if hits else PASS, float(hits))


def refusal(caption: Judged) -> Verdict:
    """The model does not refuse, and does not speak about itself."""
    hits = int(caption.refused_field) + _hits("refusal", caption.text)
    return Verdict("refusal", REJECT if hits else PASS, float(hits))


def meta(caption: Judged) -> Verdict:
    """The text is not about the task, the file or a stock site, has no markup, addresses or control tokens.

    It does not repeat the prompt either: at most a quarter of its runs of four words are those of the prompt.
    """
    hits, asked, runs = _hits("meta", caption.text), set(_runs(caption.asked)), _runs(caption.text)
    hits += 4 * sum(run in asked for run in runs) > len(runs)
    return Verdict("meta", REJECT if hits else PASS, float(hits))


def _runs(text: str) -> list[tuple[str, ...]]:
    """All runs of four words of a text."""
    words = text.lower().split()
    return [tuple(words[place : place + 4]) for place in range(len(words) - 3)]


def tokens(caption: Judged) -> Verdict:
    """The text contains no `<video>` or `<image>`, which a trainer would count as another video."""
    hits = len(re.findall(r"<(?:video|image)>", caption.text, re.IGNORECASE))
    return Verdict("tokens", REJECT if hits else PASS, float(hits))


def language(caption: Judged) -> Verdict:
    """The text is in the requested language; short texts are not judged."""
    if caption.language is None or len(caption.text) < 40:
        return Verdict("language", PASS, 1.0)
    words = caption.text.lower().split()
    share = sum(word in _ENGLISH for word in words) / len(words)
    if caption.language == "en" and share > 0.1:
        return Verdict("language", PASS, round(share, 4))
    found, score = _identifier().classify(caption.text[:1000])
    return Verdict("language", PASS if found == caption.language else REJECT, float(score))


def repetition(caption: Judged) -> Verdict:
    """The text does not repeat itself: few repeated sentences and runs of four words, and hard to compress."""
    grams = _runs(caption.text)
    share = 1 - len(set(grams)) / len(grams) if grams else 0.0
    sentences = [s.strip() for s in re.split(r"[.!?]+", caption.text.lower()) if len(s.split()) > 3]
    repeated = len(sentences) - len(set(sentences))
    data = caption.text.encode("utf-8", "replace")
    ratio = len(data) / len(zlib.compress(data)) if data else 0.0
    bad = share > 0.25 or repeated > 1 or (len(data) > 400 and ratio > 4)
    return Verdict("repetition", REJECT if bad else (WARN if repeated else PASS), round(share, 4))


def audio(caption: Judged) -> Verdict:
    """The text mentions no sound if the video has no sound track."""
    if caption.has_audio is not False:
        return Verdict("audio", PASS, 0.0)
    hits = _hits("sound", caption.text)
    if hits:  # "There is no sound of rain" is correct: such phrases are removed first.
        hits = _hits("sound", re.sub("|".join(lexicon()["no_sound"]), " ", caption.text.lower()))
    hits += caption.audio_field not in (None, "none", "unclear")
    return Verdict("audio", REJECT if hits else PASS, float(hits))


def time_stamps(caption: Judged) -> Verdict:
    """No time MM:SS in the text is after the end of the video."""
    if not caption.duration_s:
        return Verdict("time", PASS, 0.0)
    seconds = [int(m) * 60 + int(s) for m, s in re.findall(r"\b(\d{1,2}):([0-5]\d)\b(?!\s*[ap]\.?m)", caption.text)]
    latest = max(seconds, default=0)
    # Only a warning: the time may be that of a clock in the picture.
    return Verdict("time", WARN if latest > caption.duration_s + 1 else PASS, float(latest))


def characters(caption: Judged) -> Verdict:
    """Mostly letters; no controls, overrides of the writing direction, private characters or lone surrogates."""
    text = caption.text
    odd = len(_ODD_CHARACTERS.findall(text))
    if not text.isascii():
        odd += sum(unicodedata.category(c) in ("Cs", "Cn") for c in text)
    letters = sum(map(str.isalpha, text)) + sum(map(str.isspace, text))
    share = 1 - letters / len(text) if text else 1.0
    return Verdict("characters", REJECT if odd or share > 0.2 else PASS, round(share, 4))


GATES: tuple[Callable[[Judged], Verdict], ...] = (
    finish, length, chat, refusal, meta, tokens, language, repetition, audio, time_stamps, characters,
)  # fmt: skip


@cache
def lexicon() -> dict[str, Any]:
    """Phrases by gate, in lower case; phrases that begin with `re:` are regular expressions.

    `openings` are regular expressions by language, for the beginning of a text without quotes and markup.
    """
    value: dict[str, Any] = json.loads(Path(__file__).with_name("lexicon.json").read_text(encoding="utf-8"))
    return value


@cache
def _phrases(gate: str) -> tuple[list[str], list[re.Pattern[str]]]:
    phrases = [phrase for phrase in lexicon()[gate] if not phrase.startswith("re:")]
    patterns = [phrase.removeprefix("re:") for phrase in lexicon()[gate] if phrase.startswith("re:")]
    return phrases, [re.compile(pattern, re.MULTILINE) for pattern in patterns]


@cache
def _openings() -> list[re.Pattern[str]]:
    return [re.compile("|".join(patterns)) for patterns in lexicon()["openings"].values()]


def _lowered(text: str) -> str:
    return text.strip().lower().replace("’", "'")


def _hits(gate: str, text: str) -> int:
    lowered = _lowered(text)
    phrases, patterns = _phrases(gate)
    return sum(phrase in lowered for phrase in phrases) + sum(bool(pattern.search(lowered)) for pattern in patterns)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
