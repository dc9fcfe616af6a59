"""Captioning runs of tests, and what their ledgers hold."""

from __future__ import annotations

import sqlite3

from sg.caption.hosted.run import ledger_path, recipe_of
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.caption.ledger import reading
from sg.sources.config import DataConfig
from tests.caption.hosted.builder import caption


def run(data: DataConfig, config: HostedCaptionerConfig) -> dict[str, str]:
    """Caption the data; returns the state of every video."""
    caption(data, config)
    return states(data, config)


def states(data: DataConfig, config: HostedCaptionerConfig) -> dict[str, str]:
    with reading.open_for_reading(ledger_path(data, config)) as db:
        query = "SELECT video_id, state FROM task WHERE recipe=?"
        return dict(db.execute(query, (recipe_of(config).name,)).fetchall())


def ledger(data: DataConfig, config: HostedCaptionerConfig) -> sqlite3.Connection:
    return reading.open_for_reading(ledger_path(data, config))
