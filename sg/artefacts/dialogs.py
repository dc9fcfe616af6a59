"""Conversations about videos, images or text only, in Chat-UniVi/LLaVA JSON: the data of the align and instruct stages.

Chat-UniVi, LLaVA, Valley and Video-ChatGPT share the format: a list of objects `{"id", "video" | "image"
(optional), "conversations": [{"from": "human" | "gpt", "value": text}, ...]}`, as a JSON array or as JSON Lines.
Video-ChatGPT's `{"q", "a", "video_id"}` is read too.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.core.errors import DataError, MissingInputError
from sg.core.files import atomic_path

IMAGE, VIDEO = "<image>", "<video>"
"""The place of an image or a video in the text of a turn."""

SPEAKERS = ("human", "gpt")
_PLACE = re.compile(f"{IMAGE}|{VIDEO}")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation; `speaker` is `human` or `gpt`."""

    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Dialog:
    """A conversation about one video or image; `media` is its path below the source's media folder, None for text."""

    dialog_id: str
    kind: str
    media: str | None
    turns: tuple[Turn, ...]


def count_placeholders(text: str) -> int:
    """Number of `<image>` and `<video>` in `text`."""
    return len(_PLACE.findall(text))


def read_dialogs(path: Path) -> list[Dialog]:
    """All dialogs of the file at `path`, in its order.

    Raises:
        MissingInputError: there is no such file.
        DataError: an entry is not a dialog; the message names its position.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no dialog file {path}: set stage.<name>.sources to files that exist.")
    return [_dialog(entry, f"{path}, entry {number}") for number, entry in enumerate(_entries(path))]


def write_dialogs(path: Path, dialogs: Iterable[Dialog]) -> None:
    """Write `dialogs` as a JSON array with one dialog per line, atomically."""
    lines = [json.dumps(_entry(dialog), ensure_ascii=False) for dialog in dialogs]
    with atomic_path(path) as temporary:
        temporary.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def dialogs_hash(dialogs: Iterable[Dialog]) -> str:
    """16 hex digits over the content of `dialogs` and their order."""
    digest = hashlib.blake2b(digest_size=8)
    for dialog in dialogs:
        text = json.dumps(_entry(dialog), ensure_ascii=False, sort_keys=True)
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _entries(path: Path) -> Iterator[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} should be UTF-8 text, but is not ({error}): convert it.") from error
    if text.lstrip().startswith("["):
        yield from _json(text, str(path))
        return
    # Not `splitlines`, which also splits at characters that JSON allows inside a text, such as U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _json(line, f"{path}, line {number},")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} should hold conversations as JSON, but does not ({error}).") from error
    except RecursionError as error:
        raise DataError(f"{where} is not a conversation: its JSON is nested too deeply.") from error


def _dialog(entry: Any, where: str) -> Dialog:
    if isinstance(entry, dict) and {"q", "a", "video_id"} <= entry.keys():
        return _question(entry, where)
    if not isinstance(entry, dict) or not isinstance(entry.get("conversations"), list):
        raise DataError(f"{where} is not a conversation: expected an object with a list `conversations`.")
    turns = []
    for turn in entry["conversations"]:
        if not isinstance(turn, dict) or turn.get("from") not in SPEAKERS or not isinstance(turn.get("value"), str):
            raise DataError(f"{where} has a turn that is not {{'from': 'human' or 'gpt', 'value': text}}.")
        turns.append(Turn(turn["from"], turn["value"]))
    kind = next((kind for kind in ("video", "image") if entry.get(kind)), "text")
    media = entry.get(kind)
    if isinstance(media, list) and len(media) == 1:
        media = media[0]
    if media is not None and not isinstance(media, str):
        raise DataError(
            f"{where} names its {kind} as {type(media).__name__}; several media per dialog are not supported."
        )
    return Dialog(str(entry.get("id", media or where)), kind, media, tuple(turns))


def _question(entry: dict[str, Any], where: str) -> Dialog:
    """A question and its answer about a video, as Video-ChatGPT publishes them; a name without suffix is an mp4."""
    empty = [key for key in ("q", "a", "video_id") if not isinstance(entry[key], (str, int, float))]
    if empty:
        raise DataError(f"{where} has {entry[empty[0]]!r} as {empty[0]!r}: expected text.")
    media = str(entry["video_id"])
    media = media if Path(media).suffix else f"{media}.mp4"
    turns = (Turn("human", f"<video>\n{entry['q']}"), Turn("gpt", str(entry["a"])))
    return Dialog(str(entry["video_id"]), "video", media, turns)


def _entry(dialog: Dialog) -> dict[str, Any]:
    media = {dialog.kind: dialog.media} if dialog.media is not None else {}
    conversations = [{"from": turn.speaker, "value": turn.text} for turn in dialog.turns]
    return {"id": dialog.dialog_id, **media, "conversations": conversations}
