"""State in SQLite, which is a file, or in PostgreSQL, for several machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from stores.state.database import Database
from stores.state.sql_leases import SqlLeases
from stores.state.sql_runs import SqlRuns
from stores.state.sql_schedule import SqlScheduleHistory


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class SqlState:
    """All aggregates of one database."""

    runs: SqlRuns
    leases: SqlLeases
    history: SqlScheduleHistory
    close: Callable[[], None]


def open_state(url: str, clock: Callable[[], datetime] = utc_now) -> SqlState:
    """The state at a SQLAlchemy URL; tables are made or brought up to date.

    Raises ``UsageError`` for a bad URL, ``StoreUnavailable`` and ``StoreError``.
    """
    database = Database(url)
    database.open()
    return SqlState(
        SqlRuns(database, clock),
        SqlLeases(database, clock),
        SqlScheduleHistory(database, clock),
        database.close,
    )
