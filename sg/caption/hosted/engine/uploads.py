"""The service's file store: each file is uploaded once and deleted after its last use, within the store's size."""

import asyncio
import time
from collections.abc import Callable, Collection
from pathlib import Path

from sg.caption.hosted.pricing import FILE_STORE_BYTES
from sg.caption.hosted.services.records import Failure, FileService, Kind, StoredFile

PREFIX = "files/sg-"
KEPT_S = 47 * 3600
"""The service deletes files after 48 hours; ours count as expired one hour earlier."""


def store_name(media_sha256: str) -> str:
    """The name of a file in the store, from its content: two uploads of the same bytes have the same name."""
    return f"sg-{media_sha256[:32]}"


class FileStore:
    """Uploads with a reference count per file, and an account of the bytes in the store.

    The store of a project is small (20 GiB), shared with other programs, and full for everyone when it is full. So
    space is reserved before an upload, and a file is deleted as soon as no request refers to it.

    Args:
        service: the service that keeps the files.
        say: prints a line for the user.
        cap: the size of the store in bytes.
        poll_s: the first pause between two looks at a file that the service processes.
        give_up_s: the maximum time to wait for such a file.
        look_again_s: seconds between two looks at the whole store while it is full.
    """

    def __init__(
        self,
        service: FileService,
        say: Callable[[str], None],
        *,
        cap: int = FILE_STORE_BYTES,
        poll_s: float = 0.5,
        give_up_s: float = 600.0,
        look_again_s: float = 60.0,
    ) -> None:
        self._service, self._say = service, say
        self._cap, self._poll_s, self._give_up_s, self._look_again_s = cap, poll_s, give_up_s, look_again_s
        self._sizes: dict[str, int] = {}
        self._foreign = 0
        self._users: dict[str, int] = {}
        self._ready: dict[str, tuple[StoredFile, float]] = {}
        """Files that may be used, each with the time of its upload."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._space = asyncio.Condition()

    @property
    def held_bytes(self) -> int:
        """Bytes in the store by our account: uploaded, being uploaded, and files of other programs."""
        return self._foreign + sum(self._sizes.values())

    @property
    def room_bytes(self) -> int:
        """Bytes that still fit."""
        return self._cap - self.held_bytes

    def hold(self, name: str, size: int) -> None:
        """Count a file that the caller uploads itself (the input file of a batch job)."""
        self._sizes[name] = size

    async def let_go(self, name: str) -> None:
        """Delete a file that was counted with `hold`."""
        await self._service.delete_file(name)
        await self._free(name)

    async def sweep(self, keep: Collection[str] = ()) -> Failure | None:
        """Delete our files that no request or job needs, and count the files of other programs.

        Our files of an earlier run are known by `PREFIX`: a killed run leaves them behind. `keep` are the input files
        of unfinished batch jobs.
        """
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
        # Assigned at the end, in one step: uploads that wait for space read the sum between two deletions.
        self._foreign = foreign
        return None

    async def use(self, path: Path, media_sha256: str, size: int, mime_type: str) -> StoredFile | Failure:
        """The file in the store, in state ACTIVE; call `done_with` when the request is over, also after a failure."""
        name = f"files/{store_name(media_sha256)}"
        self._users[name] = self._users.get(name, 0) + 1
        # One lock per file: of two requests for the same bytes, the second waits and uses the upload of the first.
        async with self._locks.setdefault(name, asyncio.Lock()):
            file, uploaded_at = self._ready.get(name, (None, 0.0))
            if file is not None and time.time() - uploaded_at < KEPT_S:
                return file
            await self._wait_for_space(name, size)
            found = await self._put(path, name, mime_type)
            if isinstance(found, Failure):
                await self._free(name)
                return found
            self._ready[name] = found, time.time()
            return found

    async def done_with(self, media_sha256: str, *, lost: bool = False) -> None:
        """End a use; the last one deletes the file. `lost`: the service no longer has it, so it is uploaded again."""
        name = f"files/{store_name(media_sha256)}"
        self._users[name] -= 1
        if lost:
            self._ready.pop(name, None)
        if self._users[name]:
            return
        del self._users[name]
        if name in self._sizes:
            await self._service.delete_file(name)
            await self._free(name)
        self._locks.pop(name, None)

    def say_full(self) -> None:
        """Print what the run waits for."""
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
                except TimeoutError:
                    # Files of other programs are deleted, or expire, without a notice: look at the store again.
                    await self.sweep()
            self._sizes[name] = size

    async def _put(self, path: Path, name: str, mime_type: str) -> StoredFile | Failure:
        stored = await self._service.upload(path, name.removeprefix("files/"), mime_type)
        if isinstance(stored, Failure):
            # 409: the name exists. It is made from the content, so the file that is there is the same one.
            if stored.code != 409:
                return stored
            stored = await self._service.get_file(name)
        pause, until = self._poll_s, time.monotonic() + self._give_up_s
        while isinstance(stored, StoredFile) and stored.state != "ACTIVE":
            if stored.state == "FAILED":
                # Under its name the next upload would find it again.
                await self._service.delete_file(name)
                if stored.problem is not None and stored.problem.kind in (Kind.TRANSIENT, Kind.QUOTA):
                    return stored.problem
                return Failure(Kind.MEDIA, "the service could not read the uploaded file")
            if time.monotonic() > until:
                return Failure(Kind.TRANSIENT, f"the uploaded file stayed in state {stored.state}", 0, "TIMEOUT")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 5.0)
            stored = await self._service.get_file(name)
        return stored

    async def _free(self, name: str) -> None:
        self._ready.pop(name, None)
        async with self._space:
            self._sizes.pop(name, None)
            self._space.notify_all()
