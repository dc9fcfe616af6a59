"""The files behind the clips of a run: which exist, which can be read, and their content.

A stage is named by the content of the files that it trains on, so this has to be known before training. The content of
an encoded clip is recorded in the visual-token cache. `clips.json` in the work folder records what the cache cannot:
files that could not be read, and files that were opened for a run without the cache. Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.visual_tokens.store import INFO_FILE, VisualTokenStore
from sg.core.content import file_content, file_stamp, file_state
from sg.core.files import file_lock, read_record, write_record
from sg.core.fingerprints import fingerprint
from sg.core.identity import Identity
from sg.train.data.samples import Clip

MISSING = "there is no such file"
_FILES_A_KEY = 4
"""Number of files that are remembered for a key; the others are opened again."""
LOOKS_AT_ONCE = 16
"""Number of files that are looked at in parallel: on a network file system one look takes a millisecond."""


@dataclass(frozen=True, slots=True)
class Media:
    """What is known about the files of clips, by clip key.

    Attributes:
        content: content hash of each readable file.
        problems: why a clip cannot be used: `MISSING`, or the reason why its file cannot be read.
        unknown: clips that have not been opened yet.
    """

    content: Mapping[str, str]
    problems: Mapping[str, str]
    unknown: Mapping[str, Clip]

    def of(self, clips: Iterable[Clip]) -> dict[str, str | int]:
        """The media of `clips` as an input of an identity: their number, and a hash over keys and contents."""
        content = {clip.key: self.content.get(clip.key, "") for clip in clips}
        return {"clips": len(content), "content": fingerprint(content)}


_LEADS_OUT = re.compile(r"(^|/)\.\.(/|$)|^/|//|\0")
"""In the key of a clip, which ends in its path: `..`, an absolute path (behind the name of its source), a zero byte."""


@dataclass(frozen=True, slots=True)
class _OpenedFile:
    """A file of `clips.json`; `problem` is empty if it could be read."""

    stamp: str
    content: str
    problem: str


class ClipFiles:
    """Looks at the files of clips.

    Args:
        work: the work folder, which holds the visual tokens and `clips.json`.
        tokens: identity of the visual tokens, or None when the run does not use their cache.
    """

    def __init__(self, work: Path, tokens: Identity | None) -> None:
        self.tokens = None if tokens is None else cache_folder(work, tokens)
        self.path = work / "clips.json"
        self._store: VisualTokenStore | None = None

    def look(self, clips: Iterable[Clip]) -> Media:
        """What is known about the files of `clips`; opens none of them."""
        unique = {clip.key: clip for clip in clips}
        store, opened = self._encoded(), self._opened()
        with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
            looks = list(pool.map(lambda clip: self._look(clip, store, opened), unique.values()))
        content = {key: found for key, (found, _) in zip(unique, looks, strict=True) if found is not None}
        problems = {key: reason for key, (_, reason) in zip(unique, looks, strict=True) if reason}
        unknown = {key: clip for key, clip in unique.items() if key not in content and key not in problems}
        return Media(content, problems, unknown)

    def _look(
        self, clip: Clip, store: VisualTokenStore | None, opened: Mapping[str, list[_OpenedFile]]
    ) -> tuple[str | None, str]:
        """(content, problem) of a clip; (None, "") when it is unknown."""
        if _LEADS_OUT.search(clip.key):
            return None, "its path leads out of the folder of the media"
        stamp = file_stamp(clip.path)
        if stamp is None:
            return None, MISSING
        # A copied or touched file has another stamp but the same content: its tokens stay valid.
        source = None if store is None else store.source_of(clip.key, clip.path, stamp)
        if source is not None:
            return source.content, ""
        files = opened.get(clip.key, [])
        known = next((file for file in files if file.stamp == stamp), None)
        if known is None and files:
            content = _content(clip.path)
            known = next((file for file in files if file.content == content), None)
        if known is None:
            return None, ""
        if known.problem:
            return None, known.problem
        return (known.content, "") if self.tokens is None else (None, "")

    def record(self, clips: Iterable[Clip], stamps: Mapping[str, str | None], problems: Mapping[str, str]) -> None:
        """Record that `clips` were opened, with the `problems` of those that cannot be read.

        Args:
            stamps: stamp of each file, taken before it was opened: a file that was replaced since is opened again.
        """
        new: dict[str, list[str]] = {}
        for clip in clips:
            stamp, state = stamps[clip.key], file_state(clip.path)
            if stamp is not None and file_stamp(clip.path) == stamp:
                # A file that may not be opened has no content; its stamp alone identifies it.
                new[clip.key] = [stamp, "" if state is None else state.content, problems.get(clip.key, "")]
        if not new:
            return
        with file_lock(self.path.with_suffix(".lock")):
            recorded = self._recorded()
            # A key can stand for several files, such as those of two demo worlds.
            for key, file in new.items():
                others = [other for other in recorded.get(key, []) if other[:2] != file[:2]]
                recorded[key] = [*others, file][-_FILES_A_KEY:]
            write_record(self.path, recorded)

    def _encoded(self) -> VisualTokenStore | None:
        """The visual tokens that exist by now."""
        if self.tokens is None or not (self.tokens / INFO_FILE).is_file():
            return None
        if self._store is None:
            self._store = VisualTokenStore(self.tokens)
        self._store.refresh()
        return self._store

    def _opened(self) -> dict[str, list[_OpenedFile]]:
        return {key: [_OpenedFile(*file) for file in files] for key, files in self._recorded().items()}

    def _recorded(self) -> dict[str, list[list[str]]]:
        found = read_record(self.path)
        # Earlier versions recorded one file per key.
        return {key: [files] if files and isinstance(files[0], str) else files for key, files in found.items()}


def _content(path: Path) -> str:
    """Content hash of the file, or "" for one that may not be read."""
    try:
        return file_content(path)
    except OSError:
        return ""


def cache_folder(root: Path, made_by: Identity) -> Path:
    """Folder of the tokens that `made_by` names (tower weights, merging, frame sampling, pixels), below `root`."""
    return root / "visual_tokens" / made_by.name
