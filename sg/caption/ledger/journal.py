"""Group commit: all operations that wait go into one transaction, outside the event loop."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from sg.caption.ledger.ledger import Ledger

Result = TypeVar("Result")


class LedgerJournal:
    """Runs ledger operations in order; `write` returns when its operation is on the disk.

    While one group is committed the next one gathers, so a hundred operations cost one flush of the disk. An operation
    that fails is raised in its own caller and does not roll back its neighbours: their answers are paid for.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def write(self, operation: Callable[[], Result]) -> Result:
        """Run `operation` inside the next group's transaction and wait for its commit."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        self._wake.set()
        # Shielded: a cancelled caller must not cancel the transaction, which holds the operations of others too.
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Commit all waiting operations, and stop."""
        while self._waiting:
            await asyncio.sleep(0.01)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = self._waiting[:]
                commit = asyncio.to_thread(self._commit, [operation for operation, _ in group])
                values = await asyncio.shield(asyncio.ensure_future(commit))
                del self._waiting[: len(group)]
                for (_, future), value in zip(group, values, strict=True):
                    if future.done():
                        continue
                    if isinstance(value, Exception):
                        future.set_exception(value)
                    else:
                        future.set_result(value)

    def _commit(self, operations: list[Callable[[], Any]]) -> list[Any]:
        """The results of the operations; if one of them fails, each gets a transaction of its own, or its error."""
        try:
            with self._ledger.transaction():
                return [operation() for operation in operations]
        except Exception as error:  # noqa: BLE001 - raised again in the caller that waits
            if len(operations) == 1:
                return [error]
        return [self._commit([operation])[0] for operation in operations]
