"""Which film on disk belongs to which video of the annotations: certain names first, then names that are unique."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from sg.sources.scan.disk import VideoFile
from sg.sources.scan.findings import AMBIGUOUS, EXTRA, REPEATED_ID, SECOND_FILE, Findings
from sg.sources.scan.items import AnnotatedVideo


class FileMatcher:
    """Takes the videos of the annotations one after the other; its memory grows with the films, not with them."""

    def __init__(
        self, files: Sequence[VideoFile], keys_of: Callable[[VideoFile], Iterable[str]], findings: Findings
    ) -> None:
        self._clips, self._findings = files, findings
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, file in enumerate(files):
            for key in dict.fromkeys(keys_of(file)):
                self._places[key].append(place)
        self._found: dict[int, AnnotatedVideo] = {}
        self._weak: dict[int, list[AnnotatedVideo]] = defaultdict(list)
        self._spare: dict[int, str] = {}
        self._taken: set[str] = set()

    def take(self, item: AnnotatedVideo) -> bool:
        """Whether there is a film that is, or may turn out to be, this video's."""
        for key in (item.video_id, *item.keys):
            if key in self._places:
                self._claim(item, key)
                return True
        for key in item.weak_keys:
            places = self._places.get(key, [])
            if len(places) > 1:
                detail = f"{len(places)} films fit the name {key!r}"
                self._findings.add(AMBIGUOUS, item.video_id, self._clips[places[0]].name, detail)
                return True
            if places:
                self._weak[places[0]].append(item)
                return True
        return False

    def _claim(self, item: AnnotatedVideo, key: str) -> None:
        """The film of a certain name, the preferred one where there are several."""
        places = self._places[key]
        place = places[0]
        if len(places) > 1:
            place = min(places, key=lambda place: (_preference(self._clips[place], item.hints), place))
        holder = self._found.get(place)
        if item.video_id in self._taken:
            self._findings.add(REPEATED_ID, item.video_id, self._clips[place].name, "a second row of this video")
        elif holder is not None:
            detail = f"its film is already that of {holder.video_id}"
            self._findings.add(AMBIGUOUS, item.video_id, self._clips[place].name, detail)
        else:
            self._found[place] = item
            self._taken.add(item.video_id)
            self._spare.update((other, item.video_id) for other in places if other != place)

    def result(self) -> dict[int, AnnotatedVideo]:
        """Videos by the place of their file, in the order of the files; tells what stayed open."""
        for place, items in self._weak.items():
            self._settle(place, {item.video_id: item for item in reversed(items)})
        for place, file in enumerate(self._clips):
            if place in self._found:
                continue
            owner = self._spare.get(place)
            if owner:
                self._findings.add(SECOND_FILE, owner, file.name, "another film of this video is taken")
            elif place not in self._weak:
                self._findings.add(EXTRA, "", file.name, "the annotations do not speak of it")
        return dict(sorted(self._found.items()))

    def _settle(self, place: int, items: dict[str, AnnotatedVideo]) -> None:
        name = self._clips[place].name
        open_items = [item for video_id, item in items.items() if video_id not in self._taken]
        if len(open_items) == 1 and len(items) == 1 and place not in self._found:
            self._found[place] = open_items[0]
            self._taken.add(open_items[0].video_id)
            return
        for item in open_items:
            detail = "its film belongs to another video" if place in self._found else "several videos fit this film"
            self._findings.add(AMBIGUOUS, item.video_id, name, detail)


def _preference(file: VideoFile, hints: tuple[str, ...]) -> int:
    """Rank of a film among several of a name: by the first hint that is one of its folders."""
    folders = file.name.split("/")[:-1]
    return next((rank for rank, hint in enumerate(hints) if hint in folders), len(hints))
