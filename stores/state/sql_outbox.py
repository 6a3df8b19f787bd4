"""Events in SQL.

A reader asks for places greater than the last it saw, so places have to become visible in their
order. SQLite has one writer at a time anyway. On PostgreSQL a transaction takes a lock before it
takes places and keeps it until it has ended; it is the last thing that a transaction does, so that
it is held for a moment and nobody waits for something else while holding it. The other way, to read
only what is older than the oldest transaction under way, costs writers nothing, but lets any long
transaction of the whole server hold up every event.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from schemas.events import Event, StoredEvent, Topic
from stores.state.database import Database
from stores.state.service_tables import EVENTS
from stores.state.sql_prune import forget
from stores.state.sql_waiting import CHANNEL, Waiter, newest_place, waiter_of

_IN_ORDER = 0x6576656E7473
"""The key of PostgreSQL's advisory lock: "events"."""


class SqlOutbox:
    """See ``stores.state.service_port.Outbox``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._of_thread = threading.local()
        self._waiters: list[Waiter] = []

    def append(self, event: Event) -> None:
        self._database.write(lambda connection: insert_events(connection, [event]))

    def newest(self) -> int:
        return self._database.read(newest_place)

    def after(self, place: int, limit: int) -> list[StoredEvent]:
        query = sa.select(EVENTS).where(EVENTS.c.place > place).order_by(EVENTS.c.place)
        rows = self._database.read(lambda connection: connection.execute(query.limit(limit)).all())
        return [StoredEvent(row.place, _event(row)) for row in rows]

    def of(self, topic: Topic, after_version: int, limit: int) -> list[Event]:
        query = (
            sa.select(EVENTS)
            .where(EVENTS.c.topic_kind == topic.kind, EVENTS.c.topic_id == topic.id)
            .where(EVENTS.c.version > after_version)
            .order_by(EVENTS.c.version)
            .limit(limit)
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [_event(row) for row in rows]

    def wait(self, place: int, seconds: float) -> bool:
        return self._waiter().wait(place, seconds)

    def prune(self, before: datetime) -> int:
        return forget(self._database, EVENTS, EVENTS.c.at < before)

    def close(self) -> None:
        for waiter in self._waiters:
            waiter.close()

    def _waiter(self) -> Waiter:
        """A thread's own: of what one connection is told, another does not hear."""
        found: Waiter | None = getattr(self._of_thread, "waiter", None)
        if found is None:
            found = self._of_thread.waiter = waiter_of(self._database)
            self._waiters.append(found)
        return found


def insert_events(connection: sa.Connection, events: Sequence[Event]) -> None:
    """Add events as the last thing that a transaction does; see above for why the last."""
    if not events:
        return
    on_server = connection.dialect.name == "postgresql"
    if on_server:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_IN_ORDER)))
    connection.execute(sa.insert(EVENTS), [_columns(event) for event in events])
    if on_server:
        connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))


def _columns(event: Event) -> dict[str, Any]:
    return {
        "topic_kind": event.topic.kind,
        "topic_id": event.topic.id,
        "version": event.version,
        "organization": event.organization,
        "owner": event.owner,
        "at": event.at,
        "payload": dict(event.payload),
    }


def _event(row: sa.Row[Any]) -> Event:
    topic = Topic(row.topic_kind, row.topic_id)
    return Event(topic, row.version, row.organization, row.owner, row.at, row.payload)
