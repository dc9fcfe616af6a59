"""Which file on disk belongs to which video of the annotations.

Keys that name a video for certain are used first. A weak key, such as the YouTube id without a time range, is used only
where one file and one video have it. Nothing is guessed: all other cases are recorded as findings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from sg.sources.files.disk import VideoFile
from sg.sources.scan.findings import AMBIGUOUS, EXTRA, REPEATED_ID, SECOND_FILE, Findings
from sg.sources.scan.items import AnnotatedVideo


class FileMatcher:
    """Takes the videos of the annotations one by one. Its memory grows with the files, not with the annotations,
    which may have 230 million rows."""

    def __init__(
        self, files: Sequence[VideoFile], keys_of: Callable[[VideoFile], Iterable[str]], findings: Findings
    ) -> None:
        self._files, self._findings = files, findings
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, file in enumerate(files):
            for key in dict.fromkeys(keys_of(file)):
                self._places[key].append(place)
        # Files are known by their number in `files`, their "place".
        self._found: dict[int, AnnotatedVideo] = {}
        self._weak: dict[int, list[AnnotatedVideo]] = defaultdict(list)
        self._spare: dict[int, str] = {}
        self._taken: set[str] = set()

    def take(self, item: AnnotatedVideo) -> bool:
        """Match a video; return whether a file belongs to it, or may belong to it (by a weak key)."""
        for key in (item.video_id, *item.keys):
            if key in self._places:
                self._claim(item, key)
                return True
        for key in item.weak_keys:
            places = self._places.get(key, [])
            if len(places) > 1:
                detail = f"{len(places)} files have the name {key!r}"
                self._findings.add(AMBIGUOUS, item.video_id, self._files[places[0]].name, detail)
                return True
            if places:
                self._weak[places[0]].append(item)
                return True
        return False

    def _claim(self, item: AnnotatedVideo, key: str) -> None:
        """Assign the file of a certain key to the video; of several files, the one in a preferred folder."""
        places = self._places[key]
        place = places[0]
        if len(places) > 1:
            place = min(places, key=lambda place: (_preference(self._files[place], item.hints), place))
        holder = self._found.get(place)
        if item.video_id in self._taken:
            self._findings.add(REPEATED_ID, item.video_id, self._files[place].name, "a second row of this video")
        elif holder is not None:
            detail = f"its file is already that of {holder.video_id}"
            self._findings.add(AMBIGUOUS, item.video_id, self._files[place].name, detail)
        else:
            self._found[place] = item
            self._taken.add(item.video_id)
            self._spare.update((other, item.video_id) for other in places if other != place)

    def result(self) -> dict[int, AnnotatedVideo]:
        """Videos by the place of their file, in the order of the files; records what could not be matched.

        Weak keys are decided only now, because a later video might have had the same key, or the certain key of the
        file.
        """
        for place, items in self._weak.items():
            self._settle(place, {item.video_id: item for item in reversed(items)})
        for place, file in enumerate(self._files):
            if place in self._found:
                continue
            owner = self._spare.get(place)
            if owner:
                self._findings.add(SECOND_FILE, owner, file.name, "another file of this video is used")
            elif place not in self._weak:
                self._findings.add(EXTRA, "", file.name, "no video of the annotations has this file")
        return dict(sorted(self._found.items()))

    def _settle(self, place: int, items: dict[str, AnnotatedVideo]) -> None:
        name = self._files[place].name
        unmatched = [item for video_id, item in items.items() if video_id not in self._taken]
        if len(unmatched) == 1 and len(items) == 1 and place not in self._found:
            self._found[place] = unmatched[0]
            self._taken.add(unmatched[0].video_id)
            return
        for item in unmatched:
            detail = "its file belongs to another video" if place in self._found else "several videos fit this file"
            self._findings.add(AMBIGUOUS, item.video_id, name, detail)


def _preference(file: VideoFile, hints: tuple[str, ...]) -> int:
    """Rank of a file among several with the same key: the number of the first hint that is one of its folders."""
    folders = file.name.split("/")[:-1]
    return next((rank for rank, hint in enumerate(hints) if hint in folders), len(hints))
