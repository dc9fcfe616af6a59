"""Which file on disk belongs to which video of the annotations.

Keys that name a video for certain are used first. A weak key, such as the YouTube id without a time range, is used only
where one file and one video have it. Nothing is guessed: all other cases are recorded as findings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sg.sources.files.disk import VideoFile
from sg.sources.scan.findings import AMBIGUOUS, EXTRA, REPEATED_ID, SECOND_FILE, Findings
from sg.sources.scan.items import AnnotatedVideo

_SEVERAL = "several videos fit this file"


class FileMatcher:
    """Takes the videos of the annotations one by one. Its memory grows with the files, not with the annotations,
    which may have 230 million rows."""

    def __init__(
        self, files: Sequence[VideoFile], keys_of: Callable[[VideoFile], Iterable[str]], findings: Findings
    ) -> None:
        self._files, self._findings = files, findings
        # Files are known by their number in `files`, their "place". Few keys have several files.
        self._first: dict[str, int] = {}
        self._others: dict[str, list[int]] = {}
        for place, file in enumerate(files):
            for key in dict.fromkeys(keys_of(file)):
                if self._first.setdefault(key, place) != place:
                    self._others.setdefault(key, []).append(place)
        self._found: dict[int, AnnotatedVideo] = {}
        self._weak: dict[int, list[AnnotatedVideo]] = defaultdict(list)
        self._spare: dict[int, str] = {}
        self._taken: dict[str, AnnotatedVideo] = {}
        self._withdrawn: set[int] = set()

    def take(self, item: AnnotatedVideo) -> bool:
        """Match a video; return whether a file belongs to it, or may belong to it (by a weak key)."""
        for key in (item.video_id, *item.keys):
            if places := self._places(key):
                self._claim(item, places)
                return True
        for key in item.weak_keys:
            places = self._places(key)
            if len(places) > 1:
                self._ambiguous(item, places[0], f"{len(places)} files have the name {key!r}")
                return True
            if places:
                self._weak[places[0]].append(_without_keys(item))
                return True
        return False

    def _places(self, key: str) -> list[int]:
        """The files of a key."""
        first = self._first.get(key)
        return [] if first is None else [first, *self._others.get(key, ())]

    def _claim(self, item: AnnotatedVideo, places: Sequence[int]) -> None:
        """Assign the file of a certain key to the video; of several files, the one in a preferred folder."""
        place = places[0]
        if len(places) > 1:
            place = min(places, key=lambda place: (_preference(self._files[place], item.hints), place))
        holder, first = self._found.get(place), self._taken.get(item.video_id)
        if first is not None and first.same_video == item.same_video:
            self._repeated(item, first, place)
        elif place in self._withdrawn or (first is not None and holder is first):
            self._ambiguous(item, place, _SEVERAL)
            if self._found.pop(place, None):
                self._withdrawn.add(place)
                self._ambiguous(item, place, _SEVERAL)
        elif holder is not None:
            self._ambiguous(item, place, f"its file is already that of {holder.video_id}")
        else:
            item = _without_keys(item)
            self._found[place] = item
            self._taken[item.video_id] = item
            self._spare.update((other, item.video_id) for other in places if other != place)

    def _repeated(self, item: AnnotatedVideo, first: AnnotatedVideo, place: int) -> None:
        kind = "the same caption" if item.caption == first.caption else "another caption"
        if item.range_ms != first.range_ms:
            kind = "another time range"
        detail = f"a second row of this video, with {kind}"
        self._findings.add(REPEATED_ID, item.video_id, self._files[place].name, detail, kind)

    def _ambiguous(self, item: AnnotatedVideo, place: int, detail: str) -> None:
        self._findings.add(AMBIGUOUS, item.video_id, self._files[place].name, detail)

    def result(self) -> dict[int, AnnotatedVideo]:
        """Videos by the place of their file, in the order of the files; records what could not be matched.

        Weak keys are decided only now, because a later video might have had the same key, or the certain key of the
        file.
        """
        for place, items in self._weak.items():
            self._settle(place, items)
        for place, file in enumerate(self._files):
            if place in self._found or place in self._withdrawn:
                continue
            owner = self._spare.get(place)
            if owner:
                self._findings.add(SECOND_FILE, owner, file.name, "another file of this video is used")
            elif place not in self._weak:
                self._findings.add(EXTRA, "", file.name, "no video of the annotations has this file")
        return dict(sorted(self._found.items()))

    def _settle(self, place: int, items: list[AnnotatedVideo]) -> None:
        different: dict[tuple[str, str], AnnotatedVideo] = {}
        for item in items:
            first = different.setdefault(item.same_video, self._taken.get(item.video_id, item))
            if first is not item:
                self._repeated(item, first, place)
        unmatched = [item for item in different.values() if item.video_id not in self._taken]
        if len(unmatched) == len(different) == 1 and place not in self._found and place not in self._withdrawn:
            self._found[place] = unmatched[0]
            self._taken[unmatched[0].video_id] = unmatched[0]
            return
        for item in unmatched:
            self._ambiguous(item, place, "its file belongs to another video" if place in self._found else _SEVERAL)


def _without_keys(item: AnnotatedVideo) -> AnnotatedVideo:
    """The video as it is kept once its file is known; the keys would be a third of the memory."""
    return replace(item, keys=(), weak_keys=(), hints=())


def _preference(file: VideoFile, hints: tuple[str, ...]) -> int:
    """Rank of a file among several with the same key: the number of the first hint that is one of its folders."""
    folders = file.name.split("/")[:-1]
    return next((rank for rank, hint in enumerate(hints) if hint in folders), len(hints))
