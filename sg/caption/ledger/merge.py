"""Merging the ledgers of shards, copying answers between ledgers, and forgetting videos."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from sg.caption.ledger.ledger import BLOCKED, REJECTED, SUCCEEDED, TERMINAL, Ledger
from sg.caption.ledger.reading import open_for_reading
from sg.core.errors import MissingInputError

_ANSWERED = (SUCCEEDED, BLOCKED, REJECTED)
_COPIED = ("run", "attempt", "result", "spend", "tombstone", "recipe")


def merge(into: Path, others: Sequence[Path]) -> str:
    """Copy the rows of other ledgers into one. Equal keys are equal rows, so a repeated merge changes nothing.

    Raises:
        MissingInputError: one of the others does not exist.
    """
    for path in others:
        if not path.is_file():
            raise MissingInputError(f"There is no ledger {path}: merge takes those of the shards (ledger-0of2.sqlite).")
    with contextlib.closing(Ledger(into)) as ledger:
        for path in others:
            Ledger(path).close()  # migrates it to this version
            ledger.connection.execute("ATTACH ? AS other", (str(path),))
            with ledger.transaction() as db:
                for table in _COPIED:
                    db.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM other.{table}")
                db.execute("INSERT OR IGNORE INTO main.task SELECT * FROM other.task")
                marks = ", ".join("?" * len(TERMINAL))
                db.execute(
                    "UPDATE main.task SET (state, attempts, tries, last_error) = "
                    "(SELECT state, attempts, tries, last_error FROM other.task o WHERE o.task_key=main.task.task_key) "
                    f"WHERE state NOT IN ({marks}) AND task_key IN "
                    f"(SELECT task_key FROM other.task WHERE state IN ({marks}))",
                    (*TERMINAL, *TERMINAL),
                )
            ledger.connection.execute("DETACH other")
        (count,) = ledger.connection.execute("SELECT COUNT(*) FROM result").fetchone()
    return f"{into} now has {count:,} results"


def adopt(ledger: Ledger, other: Path, recipe: str) -> int:
    """Copy the answers that another ledger has for pending tasks of this one; returns their number.

    Only texts and states are copied: costs and quota use stay in the other ledger. The other ledger may be in use and
    is not changed.
    """
    marks = ", ".join("?" * len(_ANSWERED))
    ledger.connection.execute("ATTACH ? AS other", (str(other),))
    try:
        with ledger.transaction() as db:
            adopted = db.execute(
                "INSERT OR REPLACE INTO main.result SELECT r.* FROM main.task t "
                "JOIN other.task o USING (task_key) JOIN other.result r USING (task_key) "
                f"WHERE t.recipe=? AND t.state='pending' AND o.state IN ({marks})",
                (recipe, *_ANSWERED),
            ).rowcount
            db.execute(
                "UPDATE main.task SET (state, attempts, tries, last_error) = "
                "(SELECT state, attempts, tries, last_error FROM other.task o WHERE o.task_key=main.task.task_key) "
                "WHERE recipe=? AND state='pending' AND task_key IN (SELECT task_key FROM main.result) "
                f"AND task_key IN (SELECT task_key FROM other.task WHERE state IN ({marks}))",
                (recipe, *_ANSWERED),
            )
    finally:
        ledger.connection.execute("DETACH other")
    return int(adopted)


def answered_keys(path: Path, recipe: str) -> set[str]:
    """Keys of the tasks for which a ledger has an answer that `adopt` would copy."""
    with contextlib.closing(open_for_reading(path)) as db:
        marks = ", ".join("?" * len(_ANSWERED))
        rows = db.execute(f"SELECT task_key FROM task WHERE recipe=? AND state IN ({marks})", (recipe, *_ANSWERED))
        return {key for (key,) in rows}


def forget(path: Path, video_ids: Iterable[str]) -> int:
    """Remove the texts of these videos for good and never ask for them again; returns the number of removed results."""
    with contextlib.closing(Ledger(path)) as ledger:
        ledger.connection.execute("PRAGMA secure_delete=ON")  # removed texts are overwritten, not only unlinked
        removed = _forget(ledger, video_ids)
        ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return removed


def _forget(ledger: Ledger, video_ids: Iterable[str]) -> int:
    with ledger.transaction() as db:
        ids = [(video_id,) for video_id in video_ids]
        db.executemany("INSERT OR IGNORE INTO tombstone VALUES (?)", ids)
        keys = "SELECT task_key FROM task WHERE video_id IN (SELECT video_id FROM tombstone)"
        removed = db.execute(f"DELETE FROM result WHERE task_key IN ({keys})").rowcount
        db.execute("UPDATE task SET state='withdrawn', item='' WHERE video_id IN (SELECT video_id FROM tombstone)")
    return int(removed)
