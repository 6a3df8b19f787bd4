"""Waiting for an event to be written, by whatever process.

SQLite tells whether another connection has changed the file since it was last asked: that takes
some microseconds, so it is asked every 20 ms. PostgreSQL sends a notification when a transaction
with events has ended; as one can be lost with its connection, the table is looked at every second.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.pool import PoolProxiedConnection

from stores.state.database import Database
from stores.state.service_tables import EVENTS

CHANNEL = "lethe_events"
"""What PostgreSQL's notifications are sent to. They carry nothing."""

_LOOK_EVERY = 0.02
_DOUBT_AFTER = 1.0
_NEWEST = "SELECT coalesce(max(place), 0) FROM events"


class Waiter(Protocol):
    """What waits, by one thread."""

    def wait(self, place: int, seconds: float) -> bool:
        """See ``stores.state.service_port.Outbox``."""

    def close(self) -> None:
        """Let go of its connection."""


def waiter_of(database: Database) -> Waiter:
    """The way to wait for this kind of database. Connects when it is first used."""
    return SqliteWaiter(database) if database.is_sqlite else PostgresWaiter(database)


def newest_place(connection: sa.Connection) -> int:
    """The place of the newest event, 0 if there is none."""
    return connection.scalar(sa.select(sa.func.max(EVENTS.c.place))) or 0


class _Connected:
    """A connection of its own, made when it is needed, and again after it was lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: PoolProxiedConnection | None = None

    def _driver(self) -> Any:
        """The driver's own connection, which this kind of use needs."""
        if self._connection is None:
            self._connection = self._database.own_connection()
            self._set_up(self._connection.dbapi_connection)
        return self._connection.dbapi_connection

    def _set_up(self, driver: Any) -> None:
        """Make a new connection ready."""

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class SqliteWaiter(_Connected):
    """Looks whether the file has changed, and if so, whether that was an event."""

    def wait(self, place: int, seconds: float) -> bool:
        until, known = time.monotonic() + seconds, None
        driver = self._driver()
        while True:
            version = _number(driver, "PRAGMA data_version")
            if version != known and _number(driver, _NEWEST) > place:
                return True
            known, left = version, until - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _LOOK_EVERY))


class PostgresWaiter(_Connected):
    """Listens for notifications."""

    def wait(self, place: int, seconds: float) -> bool:
        """A lost connection is taken for news: whoever asks next connects again."""
        import psycopg

        until = time.monotonic() + seconds
        try:
            return self._wait(self._driver(), place, until)
        except psycopg.Error:
            self.close()
            return True

    def _wait(self, driver: Any, place: int, until: float) -> bool:
        while _number(driver, _NEWEST) <= place:
            left = until - time.monotonic()
            if left <= 0:
                return False
            for _ in driver.notifies(timeout=min(left, _DOUBT_AFTER), stop_after=1):
                pass
        return True

    def _set_up(self, driver: Any) -> None:
        driver.autocommit = True
        driver.execute(f"LISTEN {CHANNEL}")


def _number(driver: Any, query: str) -> int:
    return int(driver.execute(query).fetchone()[0])
