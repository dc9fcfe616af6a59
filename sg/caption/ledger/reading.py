"""Read-only queries: states, costs, quota use, results."""

from __future__ import annotations

import datetime
import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from sg.core.checksums import CHECKSUM_KEY, CHECKSUM_UNSET, is_intact, with_checksum
from sg.core.errors import DataError, MissingInputError

PACIFIC = ZoneInfo("America/Los_Angeles")


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of a task in a terminal state: its text and its provenance."""

    task_key: str
    item_key: str
    video_id: str
    status: str
    text: str
    record: dict[str, Any]
    created: float


def open_for_reading(path: Path, whole: bool = True) -> sqlite3.Connection:
    """The ledger at `path`, read-only; `whole=False` does not check all of it, which takes seconds if it is large.

    A process that is killed while it creates the first ledger leaves a file without tables: that is not a ledger yet.

    Raises:
        MissingInputError: the file does not exist.
        DataError: it is damaged.
    """
    missing = MissingInputError(f"There is no ledger {path}: python -m sg.caption data=… captioner=gemini makes one.")
    if not path.is_file():
        raise missing
    with naming_file(path):
        connection = _connect(path)
        try:
            if whole:
                check(connection, path)
            query = "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('task', 'result')"
            (tables,) = connection.execute(query).fetchone()
            if whole and tables == 2:
                check_answers(connection, path)
        except sqlite3.OperationalError:  # such as a lock, or missing permissions: nothing is known about the content
            raise
        except (sqlite3.DatabaseError, DataError) as error:
            connection.close()
            raise error if isinstance(error, DataError) else damaged(path, str(error)) from error
    if tables != 2:
        connection.close()
        is_used = any(path.with_name(name).exists() for name in ("captions.parquet", "runs"))
        raise damaged(path, "it holds no tasks") if tables or is_used else missing
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that only reads, also in a folder that cannot be written, such as on a read-only disk.

    There SQLite cannot make the files that several processes need. A ledger without a log (`-wal`) is whole without
    them; one with a log is not.
    """
    with path.open("rb"):
        pass  # its error names the file; that of SQLite does not
    is_open_elsewhere = any(path.with_name(path.name + end).exists() for end in ("-wal", "-shm"))
    immutable = "" if is_open_elsewhere or os.access(path.parent, os.W_OK, effective_ids=True) else "&immutable=1"
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro{immutable}", uri=True, timeout=60)


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Let SQLite's errors about a lock, the disk or permissions in the block name the ledger at `path`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        error.filename = str(path)  # type: ignore[attr-defined]  # `disk_problem` reads it
        raise


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Check the structure of the whole file, also of its indexes; `results` checks the answers.

    Raises:
        DataError: it is damaged.
    """
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise damaged(path, found)


def check_answers(connection: sqlite3.Connection, path: Path) -> None:
    """Check that every task in a terminal state has its answer, and every answer a task in its state.

    Without its answer, a video would lose its caption; without its state, it would be bought again.

    Raises:
        DataError: they disagree.
    """
    ended = "t.state IN ('succeeded', 'blocked', 'rejected', 'failed_permanent')"
    query = (
        f"SELECT COUNT(*) FROM (SELECT t.task_key FROM task t LEFT JOIN result r USING (task_key) WHERE {ended} "
        "AND r.status IS NOT t.state UNION SELECT r.task_key FROM result r LEFT JOIN task t USING (task_key) "
        f"WHERE NOT ({ended}) OR t.state IS NULL)"
    )
    (count,) = connection.execute(query).fetchone()
    if count:
        raise damaged(path, f"the states of {count:,} tasks and their answers disagree")


def sealed(status: str, text: str, record: str) -> str:
    """The record of a result, a JSON object, with a checksum over all three: SQLite misses changed letters."""
    if not record.endswith("}"):
        return record
    comma = "," if record != "{}" else ""
    marked = f'{status}{text}{record[:-1]}{comma}"{CHECKSUM_KEY}":"{CHECKSUM_UNSET}"}}'
    return with_checksum(marked)[len(status) + len(text) :]


def damaged(path: Path, reason: str) -> DataError:
    """The error of a damaged ledger: a new one would buy all of its captions again."""
    return DataError(
        f"{path}, the ledger of what was bought, is damaged ({' '.join(reason.split())}): restore it from a backup. "
        "The answers so far are in the files beside it. To buy everything again, move the ledger and these files away."
    )


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Raise what SQLite says about damage in the block as a DataError that names the ledger at `path`.

    Changed letters in the names of columns are found only by the statement that needs them.
    """
    try:
        with naming_file(path):
            yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
            raise  # a lock, a full disk, missing permissions
        raise damaged(path, str(error)) from error


def bought_again(db: sqlite3.Connection, recipe: str, video_ids: Iterable[str]) -> list[str]:
    """Those of `video_ids` that will be asked, although they have captions: the ledger knows no answer for them."""
    query = "SELECT video_id, MAX(state='succeeded'), MAX(state='pending') FROM task WHERE recipe=? GROUP BY video_id"
    pending = {video_id for video_id, is_done, is_open in db.execute(query, (recipe,)) if is_open and not is_done}
    return [video_id for video_id in video_ids if video_id in pending]


def states(db: sqlite3.Connection, recipe: str) -> dict[str, int]:
    """The number of tasks in each state."""
    rows = db.execute("SELECT state, COUNT(*) FROM task WHERE recipe=? GROUP BY state ORDER BY state", (recipe,))
    return dict(rows.fetchall())


def last_error(db: sqlite3.Connection, recipe: str, state: str) -> str:
    """The most frequent last error of the tasks in this state; empty if there is none."""
    query = (
        "SELECT last_error FROM task WHERE recipe=? AND state=? AND last_error!='' "
        "GROUP BY last_error ORDER BY COUNT(*) DESC, last_error LIMIT 1"
    )
    row = db.execute(query, (recipe, state)).fetchone()
    return str(row[0]) if row else ""


def last_errors(db: sqlite3.Connection, recipe: str) -> dict[str, str]:
    """The last error of every task that has one, by video id."""
    query = "SELECT video_id, last_error FROM task WHERE recipe=? AND last_error!=''"
    return dict(db.execute(query, (recipe,)).fetchall())


def estimated_costs(db: sqlite3.Connection, run_id: str) -> int:
    """The number of captions of a run whose costs are estimated, because the service reported no usable counts."""
    query = "SELECT COUNT(*) FROM attempt WHERE run_id=? AND http_code=200 AND error_class='' AND error!=''"
    return int(db.execute(query, (run_id,)).fetchone()[0])


def spent_usd(db: sqlite3.Connection) -> float:
    """All costs of the ledger in USD; lost requests count at their reserved price.

    They are there twice, by minute and by request. If a changed file makes them disagree, the larger sum counts.
    """
    return max(_costs(db))


def costs_disagree(db: sqlite3.Connection) -> bool:
    """Whether the costs by minute and by request differ by more than rounding."""
    return not math.isclose(*_costs(db), rel_tol=1e-6, abs_tol=1e-9)


def _costs(db: sqlite3.Connection) -> tuple[float, float]:
    (by_minute,) = db.execute("SELECT TOTAL(usd) FROM spend").fetchone()
    (by_request,) = db.execute("SELECT TOTAL(cost_usd) FROM attempt").fetchone()
    return float(by_minute), float(by_request)


def requests_since(db: sqlite3.Connection, since: float) -> int:
    """The number of requests that left since a time; lines of batch jobs are not requests."""
    return int(
        db.execute("SELECT COUNT(*) FROM attempt WHERE started>=? AND transport!='batch'", (since,)).fetchone()[0]
    )


def recent_requests(db: sqlite3.Connection, since: float) -> list[tuple[float, int, float]]:
    """Start, tokens and USD of the requests since a time, which a new process counts in its windows."""
    query = (
        "SELECT started, MAX(reserved_tokens, COALESCE(input_tokens, 0)), COALESCE(cost_usd, reserved_usd) "
        "FROM attempt WHERE started>=? AND transport!='batch' ORDER BY started"
    )
    return [(float(a), int(b), float(c)) for a, b, c in db.execute(query, (since,))]


def spent_since(db: sqlite3.Connection, since: float) -> tuple[float, int, int]:
    """USD, tokens and answered requests since a time, counted in whole minutes."""
    query = "SELECT TOTAL(usd), TOTAL(tokens), TOTAL(requests) FROM spend WHERE minute>=?"
    usd, tokens, requests = db.execute(query, (int(since // 60),)).fetchone()
    return float(usd), int(tokens), int(requests)


def results_since(db: sqlite3.Connection, since: float) -> int:
    """The number of results since a time."""
    return int(db.execute("SELECT COUNT(*) FROM result WHERE created>?", (since,)).fetchone()[0])


def files_of_jobs(db: sqlite3.Connection) -> list[str]:
    """Names of the input files of unfinished batch jobs, as they are in the service's file store."""
    rows = db.execute("SELECT input_file FROM batch_job WHERE state IN ('creating', 'submitted')")
    return [name for (name,) in rows if name]


def lost_requests(db: sqlite3.Connection) -> int:
    """The number of requests that were in flight when a process was killed; each may have been billed."""
    return int(db.execute("SELECT COUNT(*) FROM attempt WHERE state='lost'").fetchone()[0])


def results(db: sqlite3.Connection, recipe: str, state: str | None = None) -> Iterator[Recorded]:
    """Results, or those of one terminal state, in the order of the manifest."""
    if state is None:
        yield from _recorded(db, recipe, "ORDER BY t.position, t.task_key")
    else:  # this order needs no sorting: it is that of the index `task_by_state`
        yield from _recorded(db, recipe, "AND t.state=? ORDER BY t.position", state)


def texts(db: sqlite3.Connection, recipe: str, state: str) -> Iterator[str]:
    """The texts of the results of a terminal state, in any order."""
    query = f"SELECT r.text {_RESULTS} AND t.state=?"
    yield from (text for (text,) in db.execute(query, (recipe, state)))


def results_by_item(db: sqlite3.Connection, recipe: str) -> Iterator[Recorded]:
    """Results in the order of their item keys, which does not depend on the manifest."""
    yield from _recorded(db, recipe, "ORDER BY t.item_key")


def first_results(db: sqlite3.Connection, recipe: str, count: int) -> Iterator[Recorded]:
    """The first `count` results, in the order of their creation."""
    yield from _recorded(db, recipe, f"ORDER BY r.created, t.task_key LIMIT {count:d}")


_RESULTS = (
    "FROM task t CROSS JOIN result r USING (task_key) "
    "WHERE t.recipe=? AND t.video_id NOT IN (SELECT video_id FROM tombstone)"
)


def _recorded(db: sqlite3.Connection, recipe: str, rest: str, *values: str) -> Iterator[Recorded]:
    query = f"SELECT t.task_key, t.item_key, t.video_id, r.status, r.text, r.record, r.created {_RESULTS} {rest}"
    (_, _, path) = db.execute("PRAGMA database_list").fetchone()
    with naming_damage(Path(path)):
        for key, item, video_id, status, text, record, created in db.execute(query, (recipe, *values)):
            if not is_intact(f"{status}{text}{record}".encode()):
                raise sqlite3.DatabaseError(f"the checksum of the answer for video {video_id!r} differs")
            try:
                provenance = json.loads(record)
            except ValueError as error:
                raise sqlite3.DatabaseError(str(error)) from error
            provenance.pop(CHECKSUM_KEY, None)
            yield Recorded(key, item, video_id, status, text, provenance, created)


def errors(db: sqlite3.Connection) -> dict[str, int]:
    """The number of failed requests by class."""
    query = "SELECT error_class, COUNT(*) FROM attempt WHERE error_class!='' GROUP BY 1 ORDER BY 2 DESC"
    return dict(db.execute(query).fetchall())


def pacific_midnight(now: float, days: int = 0) -> float:
    """The midnight in California at which the day of `now` began, or `days` later; days have 23 to 25 hours there."""
    day = datetime.datetime.fromtimestamp(now, PACIFIC).date() + datetime.timedelta(days=days)
    return datetime.datetime.combine(day, datetime.time(), PACIFIC).timestamp()
