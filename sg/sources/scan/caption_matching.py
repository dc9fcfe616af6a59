"""Which caption of a user's file belongs to which video file.

The caption of another video is worse than none. Names are therefore compared in three steps, each over all captions
before the next: the path, with or without its suffix; the path in a normal form; and a path of which the other is the
end. A folder that both name and in which they differ contradicts a match; so does a longer name than that of the file
where the names of other captions are paths on disk. What fits several files, and files that fit several captions, are
ambiguous.
"""

from __future__ import annotations

import json
import operator
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from itertools import chain, islice

from sg.artefacts.names import UNSAFE_PATH_PATTERN
from sg.artefacts.tables import SeenIds
from sg.sources.files.disk import VideoFile
from sg.sources.files.normal_names import is_end, normal_parts
from sg.sources.scan.caption_files import CaptionEntry

AMBIGUOUS, MISSING, UNSAFE_PATH = "ambiguous", "missing", "unsafe_path"
_UNSAFE = re.compile(UNSAFE_PATH_PATTERN)
_MOST_COMPARED = 5_000
"""File names among which the nearest one is looked for."""
_FLOAT = re.compile(r"(\d+)\.0")
_PACKED = 10_000
"""Captions that are compressed together."""


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A caption without a file, its status in the manifest, and what to say about it where that is more than usual."""

    entry: CaptionEntry
    status: str
    detail: str = ""

    @property
    def reason(self) -> str:
        """One sentence for the manifest."""
        return self.detail or f"there is no video file {self.entry.video[:80]!r} in the folder"


class _Hopeless:
    """Captions that no file can fit, compressed: a large caption file may have a folder of a few videos."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._last: list[tuple[str, str]] = []
        self._seen = SeenIds()
        self.statuses: Counter[str] = Counter()
        self.num_second = 0
        """Captions that were left out because an earlier one has the same video."""

    def add(self, entry: CaptionEntry) -> None:
        """Keep a caption."""
        self._last.append((entry.video, entry.caption))
        if len(self._last) == _PACKED:
            self.close()

    def close(self) -> None:
        """Compress the captions since the last call, without the further ones of a video."""
        is_new = self._seen.add([video for video, _ in self._last])
        first = [(*pair, _status(pair[0])) for pair, new in zip(self._last, is_new, strict=True) if new]
        self.statuses.update(status for _, _, status in first)
        self.num_second += len(self._last) - len(first)
        self._packed.append(zlib.compress(json.dumps(first).encode(), level=1))
        self._last = []

    def __iter__(self) -> Iterator[Unmatched]:
        for packed in self._packed:
            for video, caption, status in json.loads(zlib.decompress(packed)):
                yield Unmatched(CaptionEntry(video, caption), status)


@dataclass(slots=True)
class CaptionMatches:
    """Captions by file name, and captions without a file.

    `doubtful` are those that resemble the name of a file; `num_second` counts further captions of a video.
    """

    captions: dict[str, CaptionEntry] = field(default_factory=dict)
    doubtful: list[Unmatched] = field(default_factory=list)
    hopeless: _Hopeless = field(default_factory=_Hopeless)
    num_second: int = 0
    """Captions that were left out because an earlier row has the same video."""

    @property
    def unmatched(self) -> Iterator[Unmatched]:
        """Captions without a file, the first of each name."""
        return chain(self.doubtful, self.hopeless)

    def statuses(self) -> Counter[str]:
        """Number of captions without a file by status."""
        return Counter(one.status for one in self.doubtful) + self.hopeless.statuses

    def leave_out_parts(self, name: str, duration_s: float, num_frames: int) -> None:
        """Leave the caption of a file out if it is about a part of it; the file has this length."""
        entry = self.captions.get(name)
        if entry is not None and entry.part is not None and not entry.part.is_whole(duration_s, num_frames):
            del self.captions[name]
            reason = (
                f"the file {name[:80]!r} lasts {duration_s:.1f} s, but its caption is about {entry.part.text}: cut it, "
                "or remove the columns of times if the file is this part"
            )
            self.doubtful.append(Unmatched(entry, AMBIGUOUS, reason))


def match_captions(entries: Iterable[CaptionEntry], files: Sequence[VideoFile]) -> CaptionMatches:
    """Find the file of each caption."""
    return _Matcher(files).match(entries)


def nearest_name(name: str, files: Sequence[VideoFile]) -> str | None:
    """The most similar file name; None where no name is similar."""
    names = [file.name for file in islice(files, _MOST_COMPARED)]
    return next(iter(get_close_matches(name, names, 1)), None)


def _status(name: str) -> str:
    return UNSAFE_PATH if _UNSAFE.search(name) else MISSING


def _is_end_of(name: tuple[str, ...], file: tuple[str, ...]) -> bool:
    return len(name) <= len(file) and is_end(name, file)


class _Matcher:
    def __init__(self, files: Sequence[VideoFile]) -> None:
        self._exact: dict[str, list[str]] = defaultdict(list)
        self._without_suffix: dict[str, list[str]] = defaultdict(list)
        self._last: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        for file in files:
            self._exact[file.name].append(file.name)
            folder, slash, _ = file.name.rpartition("/")
            self._without_suffix[folder + slash + file.stem].append(file.name)
            if parts := normal_parts(file.name):
                self._last[parts[-1]].append((parts, file.name))
        self._result = CaptionMatches()
        self._are_floats = True
        """Whether all names are like `101.0`: a column of numbers with an empty cell, which pandas wrote."""

    def match(self, entries: Iterable[CaptionEntry]) -> CaptionMatches:
        result = self._result
        left = self._step(self._plausible(entries), self._same_path, is_certain=True)
        left = self._step(left, partial(self._near, operator.eq))
        # A name with a folder that is a path on disk shows where the names begin: a longer name has another folder.
        are_paths = any(len(normal_parts(entry.video)) > 1 for entry in result.captions.values())
        left = self._step(left, partial(self._near, _is_end_of if are_paths else is_end))
        if self._are_floats:
            left = self._step(left, lambda name: self._whole_number(name) or ())
        result.hopeless.close()
        first = {one.entry.video: one for one in reversed(result.doubtful)}
        first = dict(reversed(first.items()))
        for entry in left:
            first.setdefault(entry.video, Unmatched(entry, _status(entry.video)))
        result.num_second += len(result.doubtful) + len(left) - len(first) + result.hopeless.num_second
        result.doubtful = list(first.values())
        return result

    def _plausible(self, entries: Iterable[CaptionEntry]) -> Iterator[CaptionEntry]:
        """The captions whose name resembles that of a file; the others are set aside."""
        for entry in entries:
            parts = normal_parts(entry.video)
            whole = self._whole_number(entry.video)
            self._are_floats = self._are_floats and whole is not None
            if whole or (parts and parts[-1] in self._last) or self._same_path(entry.video):
                yield entry
            else:
                self._result.hopeless.add(entry)

    def _step(
        self, entries: Iterable[CaptionEntry], found: Callable[[str], Sequence[str]], is_certain: bool = False
    ) -> list[CaptionEntry]:
        """Match what one comparison decides; returns the captions that it finds no file for.

        A comparison that is not certain takes no file that has a caption, and none that several names fit.
        """
        left: list[CaptionEntry] = []
        wanted: dict[str, list[CaptionEntry]] = defaultdict(list)
        for entry in entries:
            names = found(entry.video)
            if len(names) > 1:
                self._ambiguous(entry, f"{len(names)} files have the name {entry.video[:80]!r}, e.g. {names[0][:80]!r}")
            elif names and (is_certain or names[0] not in self._result.captions):
                wanted[names[0]].append(entry)
            else:
                left.append(entry)
        for name, rivals in wanted.items():
            parts = {entry.part: entry for entry in rivals if entry.part}
            if len(parts) > 1:
                texts = " and ".join(part.text for part in list(parts)[:2] if part)
                reason = f"the file {name[:80]!r} has captions of {len(parts)} parts, e.g. {texts}: cut it into files"
                for entry in rivals:
                    if entry.part:
                        self._ambiguous(entry, reason)
                rivals = [entry for entry in rivals if not entry.part]
                if not rivals:
                    continue
            others = {entry.video for entry in rivals} - {rivals[0].video}
            if others and not is_certain:
                for entry in rivals:
                    other = min(others - {entry.video} or {rivals[0].video})
                    self._ambiguous(entry, f"the file {name[:80]!r} fits {entry.video[:80]!r} and {other[:80]!r}")
                continue
            self._result.captions[name] = rivals[0]
            self._result.num_second += len(rivals) - 1
        return left

    def _ambiguous(self, entry: CaptionEntry, reason: str) -> None:
        self._result.doubtful.append(Unmatched(entry, AMBIGUOUS, reason))

    def _same_path(self, name: str) -> Sequence[str]:
        plain = name.removeprefix("./")
        return self._exact.get(plain) or self._without_suffix.get(plain) or ()

    def _whole_number(self, name: str) -> list[str] | None:
        """The files with the number of a name such as `101.0`; None of another name."""
        number = _FLOAT.fullmatch(name)
        return None if number is None else [file for _, file in self._last.get(number[1], ())]

    def _near(self, fits: Callable[[tuple[str, ...], tuple[str, ...]], bool], name: str) -> Sequence[str]:
        parts = normal_parts(name)
        return [file for other, file in self._last.get(parts[-1], ()) if fits(parts, other)] if parts else ()
