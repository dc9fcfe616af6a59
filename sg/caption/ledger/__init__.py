"""The ledger: one SQLite file per task; all SQL is in this folder."""
