"""The service's file store: each film once, deleted after its last use, never more than the store holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from pathlib import Path

from sg.caption.hosted.pricing import FILE_STORE_BYTES
from sg.caption.hosted.services.records import Failure, FileService, Kind, StoredFile
from sg.caption.ledger.journal import Journal
from sg.caption.ledger.ledger import Ledger

PREFIX = "files/sg-"
KEPT_S = 47 * 3600
"""The service deletes files after 48 hours; ours count as gone a little earlier."""


def store_name(media_sha256: str) -> str:
    """The name of a film in the store, by its content: a second upload of the same bytes meets the first."""
    return f"sg-{media_sha256[:32]}"


class FileStore:
    """Uploads with a count of users for each file and an account of bytes against the store's size."""

    def __init__(
        self,
        service: FileService,
        journal: Journal,
        ledger: Ledger,
        say: Callable[[str], None],
        *,
        cap: int = FILE_STORE_BYTES,
        poll_s: float = 0.5,
        give_up_s: float = 600.0,
        look_again_s: float = 60.0,
    ) -> None:
        self._service, self._journal, self._ledger, self._say = service, journal, ledger, say
        self._cap, self._poll_s, self._give_up_s, self._look_again_s = cap, poll_s, give_up_s, look_again_s
        self._sizes: dict[str, int] = {}
        self._foreign = 0
        self._users: dict[str, int] = {}
        self._ready: dict[str, tuple[StoredFile, float]] = {}
        """Files that may be used, and when each was uploaded."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._space = asyncio.Condition()

    @property
    def held_bytes(self) -> int:
        """Bytes in the store by our account: uploaded, being uploaded, and files of others."""
        return self._foreign + sum(self._sizes.values())

    @property
    def room_bytes(self) -> int:
        """Bytes that still fit."""
        return self._cap - self.held_bytes

    def hold(self, name: str, size: int) -> None:
        """Count a file that somebody else uploads (a batch job's input)."""
        self._sizes[name] = size

    async def let_go(self, name: str) -> None:
        """Delete a file that was counted with `hold`."""
        await self._service.delete_file(name)
        async with self._space:
            self._sizes.pop(name, None)
            self._space.notify_all()

    async def sweep(self, keep: Collection[str] = ()) -> Failure | None:
        """Delete our files that no job of the ledger needs; count what else is in the store."""
        listed = await self._service.list_files()
        if isinstance(listed, Failure):
            return listed
        foreign = 0
        for file in listed:
            if file.name in self._sizes:
                continue
            if file.name in keep:
                self._sizes[file.name] = file.size
            elif file.name.startswith(PREFIX):
                await self._service.delete_file(file.name)
            else:
                foreign += file.size
        self._foreign = foreign  # at once: films that wait for room look at it between deletions
        return None

    async def use(self, path: Path, media_sha256: str, size: int, mime_type: str) -> StoredFile | Failure:
        """The film in the store, ACTIVE; call `done_with` when its request is over."""
        name = f"files/{store_name(media_sha256)}"
        self._users[name] = self._users.get(name, 0) + 1
        async with self._locks.setdefault(name, asyncio.Lock()):
            file, uploaded_at = self._ready.get(name, (None, 0.0))
            if file is not None and time.time() - uploaded_at < KEPT_S:
                return file
            await self._wait_for_space(name, size)
            found = await self._put(path, name, mime_type)
            if isinstance(found, Failure):
                await self._drop(name)
                return found
            self._ready[name] = found, time.time()
            await self._note(found, size)
            return found

    async def done_with(self, media_sha256: str, *, lost: bool = False) -> None:
        """One user fewer; the last one deletes the file. `lost` says that the service no longer knows it."""
        name = f"files/{store_name(media_sha256)}"
        self._users[name] -= 1
        if lost:
            self._ready.pop(name, None)
        if self._users[name]:
            return
        del self._users[name]
        if name in self._sizes:
            await self._service.delete_file(name)
            await self._drop(name)
        self._locks.pop(name, None)

    def say_full(self) -> None:
        """Tell what is being waited for."""
        self._say(
            f"waiting for the file store: {self.held_bytes / 1e9:.1f} of {self._cap / 1e9:.1f} GB are in use, "
            f"{self._foreign / 1e9:.1f} of them by files that are not ours, until files are deleted or expire"
        )

    async def _wait_for_space(self, name: str, size: int) -> None:
        def fits() -> bool:
            return self.held_bytes - self._sizes.get(name, 0) + size <= self._cap

        async with self._space:
            if not fits():
                self.say_full()
            while not fits():
                try:
                    await asyncio.wait_for(self._space.wait(), self._look_again_s)
                except TimeoutError:  # files of others are deleted, or expire, without a word
                    await self.sweep()
            self._sizes[name] = size

    async def _put(self, path: Path, name: str, mime_type: str) -> StoredFile | Failure:
        stored = await self._service.upload(path, name.removeprefix("files/"), mime_type)
        if isinstance(stored, Failure):
            if stored.code != 409:
                return stored
            stored = await self._service.get_file(name)
        pause, until = self._poll_s, time.monotonic() + self._give_up_s
        while isinstance(stored, StoredFile) and stored.state == "PROCESSING":
            if time.monotonic() > until:
                return Failure(Kind.TRANSIENT, "the uploaded film was not ready in time", 0, "TIMEOUT")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 5.0)
            stored = await self._service.get_file(name)
        if isinstance(stored, StoredFile) and stored.state == "FAILED":
            return Failure(Kind.MEDIA, "the service could not read the uploaded film")
        return stored

    async def _note(self, file: StoredFile, size: int) -> None:
        values = (file.name, file.uri, file.state, size, time.time() + KEPT_S)

        def write() -> None:
            self._ledger.connection.execute("INSERT OR REPLACE INTO upload VALUES (?, ?, ?, ?, ?)", values)

        await self._journal.write(write)

    async def _drop(self, name: str) -> None:
        self._ready.pop(name, None)

        def write() -> None:
            self._ledger.connection.execute("DELETE FROM upload WHERE name=?", (name,))

        await self._journal.write(write)
        async with self._space:
            self._sizes.pop(name, None)
            self._space.notify_all()
