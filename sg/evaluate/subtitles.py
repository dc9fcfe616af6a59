"""Subtitles in a prompt: reading `.srt` files and cutting them at the model's own frame times.

The cutting is the benchmark's official rule (`docs/reference/video_mme.md`, section 3): for each frame the first cue
with start < frame time < end, one line per frame, repeated lines kept. The text of a cue is the output of the official
slicer's parser: style tags become `{\\i1}` codes and other tags are removed.
"""

import io
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.core.errors import DataError
from sg.core.files import read_json

NEVER_MS = 10**9
"""End of a cue without an end: later than the end of any video."""

# pysubs2's forms: one or two digits everywhere, a comma or a point.
_SRT_TIME = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})[,.](\d{1,3})")
_VTT_TIME = re.compile(r"(?:(\d{0,4}):)?(\d{2}):(\d{2})\.(\d{2,3})")
# Possessive, so that a long run of spaces is read once.
_STYLE_TAG = re.compile(r"< *+(/?) *+([bius]) *+>")
_OTHER_TAG = re.compile(r"< *+/? *+[a-zA-Z][^>]*+>")


@dataclass(frozen=True, slots=True)
class SubtitleCue:
    """One subtitle: on screen from `start_ms` to `end_ms`, its lines joined by `\\n`."""

    start_ms: int
    end_ms: int
    text: str

    @property
    def line(self) -> str:
        """The text on one line."""
        return self.text.replace("\n", " ")


def _milliseconds(match: re.Match[str]) -> int:
    hours, minutes, seconds, fraction = match.groups()
    # ".5" are 500 ms in SubRip; WebVTT has at least two digits, and pysubs2 reads ".50" as 50 ms there.
    milliseconds = int(fraction.ljust(3, "0") if match.re is _SRT_TIME else fraction)
    return ((int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + milliseconds


def _cue_text(lines: list[str]) -> str:
    *before, last = lines or [""]
    if before and last.strip().isdecimal() and not any(line.strip() for line in before):
        return ""  # blank lines, then only the number of the next cue
    text = "\n".join(lines).strip()
    body, newline, number = text.rpartition("\n")
    if newline and number.lstrip(" ").isdecimal():
        text = body.rstrip("\n")
    text = _STYLE_TAG.sub(lambda tag: f"{{\\{tag[2]}{0 if tag[1] else 1}}}", text)
    # A tag ends at the next ">". Behind the last one there is none, and looking for it there takes quadratic time.
    end = text.rfind(">") + 1
    text = _OTHER_TAG.sub("", text[:end]) + text[end:]
    return text.replace("\\N", "\n")  # pysubs2 stores line breaks so, so a literal one is a line break too


def parse_srt(text: str) -> list[SubtitleCue]:
    """The cues of a SubRip or WebVTT text in file order; text before the first line with times is ignored."""
    text = text.removeprefix("\ufeff")
    time = _VTT_TIME if text.lstrip().startswith("WEBVTT") else _SRT_TIME
    times: list[tuple[int, int]] = []
    bodies: list[list[str]] = []
    # Not str.splitlines: a form feed or a Unicode line separator inside a cue is text.
    for line in io.StringIO(text, newline=None):
        stamps = list(time.finditer(line))
        if len(stamps) == 2:
            times.append((_milliseconds(stamps[0]), _milliseconds(stamps[1])))
            bodies.append([])
        elif bodies:
            bodies[-1].append(line.removesuffix("\n"))
    return [SubtitleCue(start, end, _cue_text(body)) for (start, end), body in zip(times, bodies, strict=True)]


def read_srt(path: Path) -> list[SubtitleCue]:
    """The cues of the SubRip file at `path` (UTF-8), which may hold WebVTT.

    Raises:
        DataError: the file is not UTF-8 text, holds SubStation Alpha, or has text but no cue.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a UTF-8 subtitle file ({error.reason} at byte {error.start}).") from error
    if "[Script Info]" in text or "[V4+ Styles]" in text:
        raise DataError(f"{path} holds SubStation Alpha (ASS) subtitles: convert it to SubRip (.srt).")
    cues = parse_srt(text)
    if text.strip() and not cues:
        raise DataError(f"{path} holds no subtitle cue: expected lines like '00:00:01,000 --> 00:00:02,500'.")
    return cues


def read_json_subtitles(path: Path) -> list[SubtitleCue]:
    """The cues of a LongVideoBench file: seconds in `timestamp`, or clock times in `start` and `end`.

    Raises:
        DataError: the file is not a list of such cues.
    """
    data = read_json(path)
    try:
        return [_json_cue(item) for item in data]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is not a list of subtitles with text and times ({error!r}).") from error


def read_words(path: Path) -> list[SubtitleCue]:
    """The words of a JSONL file of Video-MME-v2, `{"text": word, "start_time": s, "end_time": s}` per line, as cues.

    Raises:
        DataError: a line is not a word with its times.
    """
    try:
        words = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
        return [
            SubtitleCue(round(1000 * word["start_time"]), round(1000 * word["end_time"]), str(word["text"]))
            for word in words
        ]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is not a list of words with text, start_time and end_time ({error!r}).") from error


def _json_cue(item: dict[str, Any]) -> SubtitleCue:
    if "timestamp" in item:
        start, end = item["timestamp"]
        return SubtitleCue(round(1000 * start), NEVER_MS if end is None else round(1000 * end), str(item["text"]))
    return SubtitleCue(_clock_ms(item["start"]), _clock_ms(item["end"]), str(item["line"]))


def _clock_ms(text: str) -> int:
    """Milliseconds of `HH:MM:SS.mmm`."""
    hours, minutes, seconds = text.split(":")
    return round(1000 * (3600 * int(hours) + 60 * int(minutes) + float(seconds)))


def read_cues(path: Path, span_s: tuple[float, float] | None = None) -> list[SubtitleCue]:
    """The cues of a `.srt`, `.json` or `.jsonl` file; for a video cut from a longer one, those in `span_s` (seconds).

    Raises:
        DataError: the file cannot be read.
    """
    cues = {".json": read_json_subtitles, ".jsonl": read_words}.get(path.suffix, read_srt)(path)
    if span_s is None:
        return cues
    start, end = (round(1000 * second) for second in span_s)
    return [
        SubtitleCue(cue.start_ms - start, cue.end_ms - start, cue.text)
        for cue in cues
        if cue.end_ms > start and cue.start_ms < end
    ]


def frame_time_ms(frame_index: int, fps: float) -> int:
    """Time of a frame in milliseconds, rounded to the nearest integer (half to even), as the official slicer does."""
    return round(frame_index * 1000 / fps)


def lines_at_frames(cues: Sequence[SubtitleCue], frame_indices: Sequence[int], fps: float) -> list[str]:
    """One line for each frame during a cue, in frame order; the line of a cue over several frames is repeated."""
    lines = []
    for index in frame_indices:
        time_ms = frame_time_ms(index, fps)
        cue = next((cue for cue in cues if cue.start_ms < time_ms < cue.end_ms), None)
        if cue is not None and cue.line.strip():
            lines.append(cue.line)
    return lines


def covering_lines(cues: Sequence[SubtitleCue], frame_indices: Sequence[int], fps: float) -> list[str]:
    """Each cue once that has a frame strictly inside it, in file order: LongVideoBench's rule.

    A cue shorter than a second is widened to one second around its middle.
    """
    times = sorted(1000 * index / fps for index in frame_indices)
    lines = []
    for cue in cues:
        # A cue without an end lasts to the end of the video; its last frame lies inside it.
        start, end = float(cue.start_ms), float(cue.end_ms)
        if end - start < 1000:
            start, end = (start + end) / 2 - 500, (start + end) / 2 + 500
        if cue.line.strip() and bisect_right(times, start) < bisect_left(times, end):
            lines.append(cue.line)
    return lines


def transcript_lines(cues: Sequence[SubtitleCue]) -> list[str]:
    """Each cue once, in file order: the whole transcript, as other papers define "with subtitles"."""
    return [cue.line for cue in cues if cue.line.strip()]
