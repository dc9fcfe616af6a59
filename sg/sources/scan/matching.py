"""Which file on disk belongs to which video of the annotations.

Keys that name a video for certain are used first. A weak key, such as the YouTube id without a time range, is used only
where one file and one video have it. Nothing is guessed: all other cases are recorded as findings.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from sg.sources.files.disk import VideoFile
from sg.sources.scan.findings import AMBIGUOUS, EXTRA, REPEATED_ID, SECOND_FILE, Findings
from sg.sources.scan.items import AnnotatedVideo
from sg.sources.scan.key_index import KeyIndex
from sg.sources.scan.spilled import Spilled

_SEVERAL = "several videos fit this file"
_kept = attrgetter(
    "video_id", "caption", "caption_problem", "split", "youtube_id", "range_ms", "extra", "is_named_only"
)
"""What is kept of a video once its file is known: all but its keys."""
_NONE = -1


class FileKeys:
    """The files of each key. Files are known by their number in `files`, their "place"."""

    def __init__(self, files: Sequence[VideoFile], keys_of: Callable[[VideoFile], Iterable[str]]) -> None:
        self._files, self._keys_of, self._index = files, keys_of, KeyIndex()
        for place, file in enumerate(files):
            for key in dict.fromkeys(keys_of(file)):
                self._index.add(key, place)

    def places(self, key: str) -> list[int]:
        """The files of a key, in their order."""
        found = reversed(self._index.numbers(key))
        return [place for place in found if key in self._keys_of(self._files[place])]


class MatchedVideos(Mapping[int, AnnotatedVideo]):
    """Videos by the place of their file, in the order of the files; `numbers` are their numbers in `items`."""

    def __init__(self, numbers: Sequence[int], items: Spilled) -> None:
        self._numbers, self._items = numbers, items

    def __len__(self) -> int:
        return sum(number != _NONE for number in self._numbers)

    def __iter__(self) -> Iterator[int]:
        return (place for place, number in enumerate(self._numbers) if number != _NONE)

    def __getitem__(self, place: int) -> AnnotatedVideo:
        return _video(self._items, self._numbers[place])


class FileMatcher:
    """Takes the videos of the annotations one by one. Its memory grows with the files, not with the annotations,
    which may have 230 million rows. Videos with a file are in `items`, and known by their number there."""

    def __init__(
        self,
        files: Sequence[VideoFile],
        keys_of: Callable[[VideoFile], Iterable[str]],
        findings: Findings,
        items: Spilled,
    ) -> None:
        self._files, self._findings, self._items = files, findings, items
        self._keys = FileKeys(files, keys_of)
        self._found, self._spare = (array("q", [_NONE]) * len(files) for _ in range(2))
        """The video of each file, and the video that has another file of the same key."""
        self._weak_places, self._weak = array("q"), array("q")
        """The files that videos may have by a weak key, and these videos."""
        self._taken = KeyIndex()
        self._withdrawn: set[int] = set()

    def take(self, item: AnnotatedVideo) -> bool:
        """Match a video; return whether a file belongs to it, or may belong to it (by a weak key)."""
        for key in (item.video_id, *item.keys):
            if places := self._keys.places(key):
                self._claim(item, places)
                return True
        for key in item.weak_keys:
            places = self._keys.places(key)
            if len(places) > 1:
                self._ambiguous(item, places[0], f"{len(places)} files have the name {key!r}")
                return True
            if places:
                self._weak_places.append(places[0])
                self._weak.append(self._items.append(_kept(item)))
                return True
        return False

    def _number_of(self, video_id: str) -> int:
        """The video that has a file under this id; -1 if there is none."""
        found = self._taken.numbers(video_id)
        return next((number for number in found if _video(self._items, number).video_id == video_id), _NONE)

    def _claim(self, item: AnnotatedVideo, places: Sequence[int]) -> None:
        """Assign the file of a certain key to the video; of several files, the one in a preferred folder."""
        place = places[0]
        if len(places) > 1:
            place = min(places, key=lambda place: (_preference(self._files[place], item.hints), place))
        holder, number = self._found[place], self._number_of(item.video_id)
        first = None if number == _NONE else _video(self._items, number)
        if first is not None and first.same_video == item.same_video:
            self._repeated(item, first, place)
        elif place in self._withdrawn or (first is not None and holder == number):
            self._ambiguous(item, place, _SEVERAL)
            if holder != _NONE:
                self._found[place] = _NONE
                self._withdrawn.add(place)
                self._ambiguous(item, place, _SEVERAL)
        elif holder != _NONE:
            self._ambiguous(item, place, f"its file is already that of {_video(self._items, holder).video_id}")
        else:
            number = self._items.append(_kept(item))
            self._found[place] = number
            self._taken.add(item.video_id, number)
            for other in places:
                if other != place:
                    self._spare[other] = number

    def _repeated(self, item: AnnotatedVideo, first: AnnotatedVideo, place: int) -> None:
        kind = "the same caption" if item.caption == first.caption else "another caption"
        if item.range_ms != first.range_ms:
            kind = "another time range"
        detail = f"a second row of this video, with {kind}"
        self._findings.add(REPEATED_ID, item.video_id, self._files[place].name, detail, kind)

    def _ambiguous(self, item: AnnotatedVideo, place: int, detail: str) -> None:
        self._findings.add(AMBIGUOUS, item.video_id, self._files[place].name, detail)

    def result(self) -> MatchedVideos:
        """Videos by the place of their file, in the order of the files; records what could not be matched.

        Weak keys are decided only now, because a later video might have had the same key, or the certain key of the
        file.
        """
        has_weak = bytearray(len(self._files))
        for place, numbers in self._weak_by_place():
            self._settle(place, numbers)
            has_weak[place] = True
        for place, number in enumerate(self._found):
            if number != _NONE or place in self._withdrawn:
                continue
            file = self._files[place]
            if self._spare[place] != _NONE:
                owner = _video(self._items, self._spare[place]).video_id
                self._findings.add(SECOND_FILE, owner, file.name, "another file of this video is used")
            elif not has_weak[place]:
                self._findings.add(EXTRA, "", file.name, "no video of the annotations has this file")
        return MatchedVideos(self._found, self._items)

    def _weak_by_place(self) -> Iterator[tuple[int, list[int]]]:
        """Each file that videos may have by a weak key, with these videos, in the order of the first ones."""
        import numpy as np

        places = np.array(self._weak_places)
        order = np.argsort(places, kind="stable")
        starts = np.flatnonzero(np.diff(places[order], prepend=_NONE))
        ends = np.append(starts[1:], len(order))
        for group in np.argsort(order[starts]):
            members = order[starts[group] : ends[group]].tolist()
            yield self._weak_places[members[0]], [self._weak[member] for member in members]

    def _settle(self, place: int, numbers: Sequence[int]) -> None:
        different: dict[tuple[str, str], int] = {}
        for number in numbers:
            item = _video(self._items, number)
            taken = self._number_of(item.video_id)
            first = different.setdefault(item.same_video, number if taken == _NONE else taken)
            if first != number:
                self._repeated(item, _video(self._items, first), place)
        videos = [(number, _video(self._items, number)) for number in different.values()]
        unmatched = [(number, item) for number, item in videos if self._number_of(item.video_id) == _NONE]
        is_free = self._found[place] == _NONE and place not in self._withdrawn
        if len(unmatched) == len(different) == 1 and is_free:
            self._found[place], item = unmatched[0]
            self._taken.add(item.video_id, self._found[place])
            return
        detail = _SEVERAL if self._found[place] == _NONE else "its file belongs to another video"
        for _, item in unmatched:
            self._ambiguous(item, place, detail)


def _video(items: Spilled, number: int) -> AnnotatedVideo:
    """A video as it is kept, without its keys."""
    video_id, *values = items[number]
    return AnnotatedVideo(video_id, (), (), (), *values)


def _preference(file: VideoFile, hints: tuple[str, ...]) -> int:
    """Rank of a file among several with the same key: the number of the first hint that is one of its folders."""
    folders = file.name.split("/")[:-1]
    return next((rank for rank, hint in enumerate(hints) if hint in folders), len(hints))
