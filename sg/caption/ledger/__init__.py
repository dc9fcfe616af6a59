"""The ledger of a captioner: one SQLite file with every video, request and answer. All SQL is in this folder."""
