"""Batch jobs in the ledger, from before their creation until their answers are read."""

from collections.abc import Iterable
from dataclasses import dataclass

from sg.caption.ledger.ledger import TASK_COLUMNS, Ledger, Task, task_of


@dataclass(frozen=True, slots=True)
class RecordedJob:
    """An unfinished job of `num_tasks` videos.

    `job_name` is the service's name of it, None until the service has confirmed the job.
    """

    display_name: str
    job_name: str | None
    input_file: str | None
    created: float
    tokens: int
    reserved_usd: float
    num_tasks: int


def unfinished_jobs(ledger: Ledger) -> list[RecordedJob]:
    """Jobs whose answers have not been read, oldest first."""
    rows = ledger.connection.execute(
        "SELECT display_name, job_name, input_file, created, tokens, reserved_usd, task_count FROM batch_job "
        "WHERE state IN ('creating', 'submitted') ORDER BY created"
    )
    return [RecordedJob(*row) for row in rows.fetchall()]


def add_job(ledger: Ledger, job: RecordedJob, model: str, tasks: list[tuple[str, str]]) -> None:
    """Record a job before it is created; `tasks` are the keys in it, each with its media file as JSON."""
    values = (job.display_name, "creating", model, job.input_file, job.num_tasks, job.tokens, job.reserved_usd)
    ledger.connection.execute(
        "INSERT INTO batch_job (display_name, state, model, input_file, task_count, tokens, reserved_usd, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, job.created),
    )
    ledger.connection.executemany(
        "UPDATE task SET state='submitted', batch_job=?, media=? WHERE task_key=?",
        [(job.display_name, media, key) for key, media in tasks],
    )


def confirm_job(ledger: Ledger, display_name: str, job_name: str) -> None:
    """Record that the service has the job, under `job_name`."""
    ledger.connection.execute(
        "UPDATE batch_job SET state='submitted', job_name=? WHERE display_name=?", (job_name, display_name)
    )


def unanswered_tasks(ledger: Ledger, display_name: str) -> Iterable[tuple[Task, str]]:
    """The tasks of a job that have no answer yet, each with its media file as JSON."""
    query = f"SELECT {TASK_COLUMNS}, media FROM task WHERE batch_job=? AND state='submitted'"
    rows = ledger.connection.execute(query, (display_name,)).fetchall()
    return [(task_of(row), row[-1]) for row in rows]


def close_job(ledger: Ledger, display_name: str, reason: str) -> None:
    """End a job; tasks without an answer become pending again."""
    db = ledger.connection
    db.execute("UPDATE batch_job SET state='closed', error=? WHERE display_name=?", (reason[:300], display_name))
    db.execute(
        "UPDATE task SET state='pending', batch_job=NULL WHERE batch_job=? AND state='submitted'", (display_name,)
    )
