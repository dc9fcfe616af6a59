"""The ledger: one SQLite file with the state of every video, every request, every answer and all costs.

An attempt is committed before its request leaves. Its answer, the video's new state and its cost are one transaction
afterwards. So a killed process loses at most the answers in flight, and the ledger knows how many they were.
`result.task_key` is the primary key, so a task has one result whatever happens.
"""

import contextlib
import json
import math
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg.caption.hosted.services.records import Usage
from sg.caption.ledger.reading import check, check_answers, damaged, naming_file, sealed
from sg.caption.ledger.schema import MIGRATIONS, TABLES, VERSION
from sg.core.errors import ConfigError, DataError
from sg.core.mistakes import check_choice

PENDING, LEASED, SUBMITTED = "pending", "leased", "submitted"
SUCCEEDED, BLOCKED, REJECTED, FAILED = "succeeded", "blocked", "rejected", "failed_permanent"
DEFERRED = "deferred"
"""The service failed at every attempt of this run: the next run asks again."""
"""The video is no longer in the manifest, or it was forgotten."""
TERMINAL = (SUCCEEDED, BLOCKED, REJECTED, FAILED)
RETRY_STATES = (BLOCKED, REJECTED, FAILED, SUBMITTED)
TASK_COLUMNS = "task_key, item_key, video_id, position, attempts, tries, first_try_at, item, last_error"
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "afs", "lustre", "beegfs", "gpfs", "ceph")


@dataclass(frozen=True, slots=True)
class NewTask:
    """A video to caption with one recipe (prompt, model, settings); `item` is its manifest row, as JSON."""

    task_key: str
    item_key: str
    video_id: str
    position: int
    item: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A task in the ledger; `tries` counts special tries: with a stricter prompt, with a proxy, ..."""

    task_key: str
    item_key: str
    video_id: str
    position: int
    attempts: int = 0
    tries: Mapping[str, int] = field(default_factory=dict)
    first_try_at: float | None = None
    item: str = ""
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt ended."""

    http_code: int = 0
    error_class: str = ""
    error: str = ""
    retry_after_s: float | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    request_id: str = ""
    model_version: str = ""


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """The state of a task after an attempt; in a terminal state, `record` is the provenance of its result."""

    state: str
    next_try_at: float = 0.0
    attempts: int = 0
    tries: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""
    text: str = ""
    record: str = ""


class Ledger:
    """One ledger file, open for writing. Its methods are plain SQL; `LedgerJournal` runs them in groups.

    Raises:
        ConfigError: the folder lies on a network file system.
        DataError: the file is damaged, or a newer version of the program wrote it.
    """

    def __init__(self, path: Path) -> None:
        _refuse_network_file_system(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.run_id = ""
        self.longest_pause_s = math.inf
        # Random upper bits keep attempt ids of different ledgers apart, so that merging them is a plain copy.
        self._next_attempt = secrets.randbits(30) << 32
        path.open("a").close()  # its error names the file; that of SQLite does not
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
        try:
            with naming_file(path):
                self._begin()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise damaged(path, str(error)) from error

    def _begin(self) -> None:
        """Check the file, and convert it from an older version."""
        self.connection.execute("PRAGMA journal_mode=WAL")
        # FULL: a commit is on the disk when it returns. A lost commit could be a lost paid answer.
        self.connection.execute("PRAGMA synchronous=FULL")
        check(self.connection, self.path)
        with self.transaction():
            self._migrate()
        check_answers(self.connection, self.path)

    def _migrate(self) -> None:
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise DataError(f"{self.path} was written by a newer version of this program (ledger version {version}).")
        if version == 0:
            statements = [statement for statement in TABLES.split(";") if statement.strip()]
        else:
            statements = [statement for old in range(version, VERSION) for statement in MIGRATIONS[old]]
        for statement in statements:
            self.connection.execute(statement)
        self.connection.execute(f"PRAGMA user_version={VERSION}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements of the block, or none."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def start_run(self, config: str, versions: str, longest_pause_s: float = math.inf) -> int:
        """Start a run: open tasks of an earlier one become pending again. Returns the number of lost requests.

        If the clock was ahead, the ledger holds times in the future. Requests count as sent by now, and a task that
        would wait for longer than `longest_pause_s` is due.

        A request in flight at a crash may have been billed: it counts as spent, at the price that was reserved for it.
        """
        now, self.longest_pause_s = time.time(), longest_pause_s
        self.run_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}-{secrets.token_hex(4)}"
        with self.transaction() as db:
            db.execute("UPDATE run SET status='killed', ended=? WHERE status='running'", (now,))
            row = db.execute("SELECT COUNT(*), TOTAL(reserved_usd) FROM attempt WHERE state='open'").fetchone()
            db.execute("UPDATE attempt SET state='lost', ended=?, cost_usd=reserved_usd WHERE state='open'", (now,))
            db.execute("UPDATE task SET state='pending' WHERE state='leased'")
            db.execute("UPDATE attempt SET started=? WHERE started>?", (now, now))
            db.execute("UPDATE batch_job SET created=? WHERE created>?", (now, now))
            reset = "UPDATE task SET state='pending', attempts=0, first_try_at=NULL, next_try_at=0"
            db.execute(f"{reset} WHERE state='deferred'")
            values = (self.run_id, config, versions, now)
            db.execute("INSERT INTO run (run_id, config, versions, started) VALUES (?, ?, ?, ?)", values)
            if row[1]:
                self.spend(row[1], 0, 0)
        return int(row[0])

    def end_run(self, status: str) -> None:
        """Record how the run ended."""
        with self.transaction() as db:
            db.execute("UPDATE run SET status=?, ended=? WHERE run_id=?", (status, time.time(), self.run_id))

    def set_tasks(self, recipe: str, tasks: Iterable[NewTask]) -> None:
        """Make these the tasks of the recipe: new ones become pending, pending ones that are not among them withdrawn.

        Raises:
            DataError: two of them have the same video id.
        """
        with self.transaction() as db:
            db.execute(
                "CREATE TEMP TABLE IF NOT EXISTS current (task_key TEXT PRIMARY KEY, video_id TEXT UNIQUE) "
                "WITHOUT ROWID"
            )
            db.execute("DELETE FROM current")
            db.executemany(
                "INSERT INTO task (task_key, item_key, recipe, video_id, position, item) VALUES (?, ?, ?, ?, ?, ?) "
                # A key stands for a recipe and a video: other values for these are damage.
                "ON CONFLICT (task_key) DO UPDATE SET (item_key, recipe, video_id, position, item) = "
                "(excluded.item_key, excluded.recipe, excluded.video_id, excluded.position, excluded.item) "
                "WHERE (item_key, recipe, video_id, position, item) IS NOT "
                "(excluded.item_key, excluded.recipe, excluded.video_id, excluded.position, excluded.item)",
                self._noted(recipe, tasks),
            )
            db.execute(
                "UPDATE task SET state='withdrawn' WHERE recipe=? AND state='pending' "
                "AND (task_key NOT IN (SELECT task_key FROM current) OR video_id IN (SELECT video_id FROM tombstone))",
                (recipe,),
            )
            db.execute(
                "UPDATE task SET state='pending' WHERE recipe=? AND state='withdrawn' "
                "AND task_key IN (SELECT task_key FROM current) AND video_id NOT IN (SELECT video_id FROM tombstone)",
                (recipe,),
            )

    def _noted(self, recipe: str, tasks: Iterable[NewTask]) -> Iterator[tuple[Any, ...]]:
        """Rows to insert, one after the other, so that memory does not grow with the number of tasks."""
        for task in tasks:
            try:
                self.connection.execute("INSERT INTO current VALUES (?, ?)", (task.task_key, task.video_id))
            except sqlite3.IntegrityError:
                raise DataError(
                    f"video id {task.video_id!r} appears twice in the manifest: ids of a manifest are unique"
                ) from None
            yield task.task_key, task.item_key, recipe, task.video_id, task.position, task.item

    def requeue(self, recipe: str, states: Iterable[str]) -> int:
        """Make tasks in these terminal states pending again, without their results; returns their number.

        `submitted` gives all unfinished batch jobs up: their videos are asked, and paid for, again.

        Raises:
            ConfigError: a state is none of `RETRY_STATES`.
        """
        count = 0
        with self.transaction() as db:
            for state in states:
                check_choice("captioner.retry_states", state, RETRY_STATES)
                if state == SUBMITTED:
                    db.execute("UPDATE batch_job SET state='closed', error='given up' WHERE state!='closed'")
                keys = "SELECT task_key FROM task WHERE recipe=? AND state=?"
                db.execute(f"DELETE FROM result WHERE task_key IN ({keys})", (recipe, state))
                reset = "UPDATE task SET state='pending', attempts=0, tries='{}', first_try_at=NULL, batch_job=NULL"
                count += db.execute(f"{reset} WHERE recipe=? AND state=?", (recipe, state)).rowcount
        return count

    def claim(self, recipe: str, now: float, limit: int) -> list[Task]:
        """Lease the next tasks that are due, in the order of the manifest."""
        rows = self.connection.execute(
            f"SELECT {TASK_COLUMNS} FROM task WHERE recipe=? AND state='pending' "
            "AND (next_try_at<=? OR next_try_at>?) ORDER BY position LIMIT ?",
            (recipe, now, now + self.longest_pause_s, limit),
        ).fetchall()
        self.connection.executemany("UPDATE task SET state='leased' WHERE task_key=?", [(row[0],) for row in rows])
        return [task_of(row) for row in rows]

    def release(self, recipe: str, task_keys: Iterable[str] | None = None) -> None:
        """Make leased tasks pending again whose request did not leave: these, or all."""
        release = "UPDATE task SET state='pending' WHERE recipe=? AND state='leased'"
        if task_keys is None:
            self.connection.execute(release, (recipe,))
        else:
            self.connection.executemany(f"{release} AND task_key=?", [(recipe, key) for key in task_keys])

    def next_due(self, recipe: str) -> float | None:
        """When the next pending task is due; None if no task is pending."""
        due_at = "CASE WHEN next_try_at>? THEN 0 ELSE next_try_at END"
        query = f"SELECT MIN({due_at}) FROM task WHERE recipe=? AND state='pending'"
        (due,) = self.connection.execute(query, (time.time() + self.longest_pause_s, recipe)).fetchone()
        return None if due is None else float(due)

    def begin_attempt(self, task: Task, transport: str, tokens: int, usd: float) -> int:
        """Record a request before it leaves, with its reserved tokens and cost; returns its id."""
        self._next_attempt += 1
        self.connection.execute(
            "INSERT INTO attempt (attempt_id, task_key, run_id, started, transport, reserved_tokens, reserved_usd) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._next_attempt, task.task_key, self.run_id, time.time(), transport, tokens, usd),
        )
        return self._next_attempt

    def end_attempt(self, attempt: int, end: AttemptEnd) -> None:
        """Record how a request ended, and its cost."""
        self.connection.execute(
            "UPDATE attempt SET ended=?, state='done', http_code=?, error_class=?, error=?, retry_after_s=?, "
            "input_tokens=?, output_tokens=?, thinking_tokens=?, cost_usd=?, request_id=?, model_version=? "
            "WHERE attempt_id=?",
            (
                *(time.time(), end.http_code, end.error_class, _storable(end.error), end.retry_after_s),
                *(end.usage.input, end.usage.output, end.usage.thinking, end.cost_usd),
                *(_storable(end.request_id), _storable(end.model_version), attempt),
            ),
        )
        if end.cost_usd or end.usage.total:
            self.spend(end.cost_usd, end.usage.total, 1)

    def end_task(self, task: Task, end: TaskEnd) -> None:
        """Put a task into its next state, with its result if the state is terminal.

        The first result of a task stays: a late second answer changes neither the result nor the state.
        """
        now = time.time()
        if end.state in TERMINAL:
            text, record = _storable(end.text), _storable(end.record)
            self.connection.execute(
                "INSERT INTO result (task_key, status, text, record, created) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (task_key) DO NOTHING",
                (task.task_key, end.state, text, sealed(end.state, text, record), now),
            )
        self.connection.execute(
            "UPDATE task SET state=?, attempts=?, tries=?, next_try_at=?, last_error=?, "
            "first_try_at=COALESCE(first_try_at, ?), batch_job=NULL "
            "WHERE task_key=? AND state NOT IN ('succeeded', 'blocked', 'rejected', 'failed_permanent')",
            (
                *(
                    end.state,
                    end.attempts,
                    json.dumps(dict(end.tries)),
                    end.next_try_at,
                    _storable(end.last_error[:300]),
                ),
                *(now, task.task_key),
            ),
        )

    def spend(self, usd: float, tokens: int, requests: int) -> None:
        """Add to the costs of this run in this minute."""
        self.connection.execute(
            "INSERT INTO spend VALUES (?, ?, ?, ?, ?) ON CONFLICT (minute, source) DO UPDATE SET "
            "usd=usd+excluded.usd, tokens=tokens+excluded.tokens, requests=requests+excluded.requests",
            (int(time.time() // 60), self.run_id, usd, tokens, requests),
        )


def task_of(row: Sequence[Any]) -> Task:
    """The task of a row of `TASK_COLUMNS`; further columns are ignored."""
    key, item_key, video_id, position, attempts, tries, *rest = row[:9]
    return Task(key, item_key, video_id, position, attempts, json.loads(tries), *rest)


def _storable(text: str) -> str:
    """The text with U+FFFD for lone surrogates: JSON can hold them, UTF-8 and so SQLite cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse_network_file_system(folder: Path) -> None:
    """SQLite's write-ahead log needs shared memory, which network file systems do not have."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    mounts = [(fields[1].replace("\\040", " "), fields[2]) for line in lines if len(fields := line.split()) > 2]
    full = folder.absolute()
    inside = [(len(point), kind) for point, kind in mounts if full.is_relative_to(point)]
    kind = max(inside, default=(0, ""))[1]
    if kind.startswith(_NETWORK_FILE_SYSTEMS):
        raise ConfigError(
            f"The ledger cannot be in {folder}, which is a network file system ({kind}): set data.dir to a local "
            "folder."
        )
