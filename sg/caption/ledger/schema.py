"""The tables of the ledger. A ledger is only ever migrated forward; `PRAGMA user_version` is the version of a file."""

VERSION = 3

TABLES = """
CREATE TABLE run (
    run_id TEXT PRIMARY KEY, config TEXT NOT NULL, versions TEXT NOT NULL,
    started REAL NOT NULL, ended REAL, status TEXT NOT NULL DEFAULT 'running');
CREATE TABLE task (
    task_key TEXT PRIMARY KEY, item_key TEXT NOT NULL, recipe TEXT NOT NULL, video_id TEXT NOT NULL,
    position INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'pending', attempts INTEGER NOT NULL DEFAULT 0,
    tries TEXT NOT NULL DEFAULT '{}', next_try_at REAL NOT NULL DEFAULT 0, first_try_at REAL,
    last_error TEXT NOT NULL DEFAULT '', batch_job TEXT, media TEXT,
    item TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE INDEX task_by_state ON task (recipe, state, position);
CREATE INDEX task_by_job ON task (batch_job) WHERE batch_job IS NOT NULL;
CREATE TABLE attempt (
    attempt_id INTEGER PRIMARY KEY, task_key TEXT NOT NULL, run_id TEXT NOT NULL, started REAL NOT NULL, ended REAL,
    state TEXT NOT NULL DEFAULT 'open', transport TEXT NOT NULL, reserved_tokens INTEGER NOT NULL,
    reserved_usd REAL NOT NULL, http_code INTEGER, error_class TEXT, error TEXT, retry_after_s REAL,
    input_tokens INTEGER, output_tokens INTEGER, thinking_tokens INTEGER, cost_usd REAL,
    request_id TEXT, model_version TEXT);
CREATE INDEX attempt_open ON attempt (state) WHERE state = 'open';
CREATE INDEX attempt_by_task ON attempt (task_key);
CREATE INDEX attempt_by_start ON attempt (started);
CREATE TABLE result (
    task_key TEXT PRIMARY KEY, status TEXT NOT NULL, text TEXT NOT NULL, record TEXT NOT NULL,
    created REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE batch_job (
    display_name TEXT PRIMARY KEY, job_name TEXT, state TEXT NOT NULL, model TEXT NOT NULL, input_file TEXT,
    output_file TEXT, task_count INTEGER NOT NULL, tokens INTEGER NOT NULL, reserved_usd REAL NOT NULL,
    created REAL NOT NULL, error TEXT NOT NULL DEFAULT '');
CREATE TABLE spend (
    minute INTEGER NOT NULL, source TEXT NOT NULL, usd REAL NOT NULL, tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL, PRIMARY KEY (minute, source)) WITHOUT ROWID;
CREATE TABLE tombstone (video_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE recipe (name TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID;
"""

MIGRATIONS = {
    1: ("ALTER TABLE task ADD COLUMN clip TEXT NOT NULL DEFAULT ''",),
    2: (
        "ALTER TABLE task RENAME COLUMN clip TO item",
        "ALTER TABLE task RENAME COLUMN film TO media",
        "CREATE TABLE recipe (name TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID",
        "DROP TABLE IF EXISTS upload",
    ),
}
"""By the version of a file: the statements that make the next version of it. Every run fills in `item` again."""
