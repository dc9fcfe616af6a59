"""Locks between machines that share an address, where the locks of a file system do not reach.

Who wants the lock writes a claim, a small file, and then lists the claims: who finds only its own holds the lock,
everybody else withdraws and tries again after a random pause. Two cannot both find only their own, because the second
of two writes comes before the list of its writer (stores list what was written before). The holder rewrites its claim
every `BEAT_S`. Others watch the claim on their own clock, so clocks may differ: one that has not changed for
`EXPIRES_S` (environment variable `SG_LEASE_S`) is that of a dead machine. It is marked as dead, so that its holder
notices if it lives after all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sg.core.errors import DataError
from sg.core.fingerprints import fingerprint
from sg.core.places.mirror import LEASES, Mirror

log = logging.getLogger(__name__)

EXPIRES_S = float(os.environ.get("SG_LEASE_S", "150"))
BEAT_S = EXPIRES_S / 7
PAUSE_S = min(2.0, BEAT_S)
_DEAD = ".dead"


@contextlib.contextmanager
def leased(mirror: Mirror, lock: str) -> Iterator[None]:
    """Hold the lock of this name among all machines in the block. The caller holds its lock on this machine already.

    Raises:
        DataError: the store fails, or another machine took the lock over because this one was silent too long.
    """
    claims = _Claims(mirror, f"{LEASES}/{fingerprint(lock)}", lock)
    own = claims.acquire()
    ended = threading.Event()
    beat = threading.Thread(target=claims.keep, args=(own, ended), daemon=True)
    beat.start()
    try:
        yield
        if mirror.store.entry(f"{own}{_DEAD}") is not None:
            raise DataError(
                f"Another machine took over {mirror.store.address}/{lock}, because this one was silent for more than "
                f"{EXPIRES_S:.0f} s: run the same command again."
            )
    finally:
        ended.set()
        beat.join()
        with contextlib.suppress(DataError):
            mirror.store.delete([own])


def machine_name(mirror: Mirror) -> str:
    """Names this machine and its copy of the place; processes that share both exclude each other by a file lock."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return fingerprint(
        [boot.read_text(encoding="utf-8") if boot.is_file() else "", socket.gethostname(), str(mirror.folder)]
    )


@dataclass(slots=True)
class _Claims:
    """The claims on one lock; `seen` holds, for each, its tag and the local time when this tag was first seen."""

    mirror: Mirror
    folder: str
    lock: str
    seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    def acquire(self) -> str:
        """Wait for the lock; returns the name of the own claim."""
        own = f"{self.folder}/{machine_name(self.mirror)}-{secrets.token_hex(4)}"
        is_logged = False
        while True:
            if not self._others(own):
                self.mirror.store.write(own, _body(0))
                if not self._others(own):
                    return own
                self.mirror.store.delete([own])
            elif not is_logged:
                is_logged = True
                log.info("%s is in use on another machine: waiting", self.lock)
            time.sleep(PAUSE_S * random.uniform(0.5, 1.5))

    def _others(self, own: str) -> list[str]:
        """The living claims of others. Earlier ones of this machine are dead: it holds its own lock now."""
        now, living, here = time.monotonic(), [], f"{self.folder}/{machine_name(self.mirror)}-"
        for name, entry in self.mirror.store.list(self.folder).items():
            if name == own or name.endswith(_DEAD):
                continue
            tag, since = self.seen.get(name, ("", now))
            self.seen[name] = (entry.tag, since if tag == entry.tag else now)
            if name.startswith(here) or now - self.seen[name][1] > EXPIRES_S:
                if not name.startswith(here):
                    log.warning("%s: its holder has been silent for %.0f s and is replaced", self.lock, EXPIRES_S)
                    self.mirror.store.write(f"{name}{_DEAD}", b"")
                self.mirror.store.delete([name])
            else:
                living.append(name)
        return living

    def keep(self, own: str, ended: threading.Event) -> None:
        """Rewrite the claim until the lock is released."""
        count = 0
        while not ended.wait(BEAT_S):
            count += 1
            try:
                self.mirror.store.write(own, _body(count))
            except DataError as error:
                log.warning("%s", error)


def _body(count: int) -> bytes:
    return f"{socket.gethostname()} {count}\n".encode()
