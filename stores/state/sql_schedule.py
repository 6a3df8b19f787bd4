"""The history of schedules in SQL. Every write proves its lease in its own transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from schemas.runs import RunOwner, RunRecord, RunStatus
from schemas.schedule import Lease, ScheduleEntry, ScheduleEvent
from stores.state.database import Database
from stores.state.sql_leases import check_lease
from stores.state.sql_runs import insert_run, owner_columns
from stores.state.tables import RUNS
from stores.state.tables import SCHEDULE_HISTORY as HISTORY

_NEWEST_FIRST = (HISTORY.c.due_at.desc(), HISTORY.c.sequence.desc(), HISTORY.c.job)


class SqlScheduleHistory:
    """See ``stores.state.port.ScheduleHistory``."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def append(self, lease: Lease, entry: ScheduleEntry, run: RunRecord | None = None) -> None:
        values = {**asdict(entry), "event": entry.event.value}

        def work(connection: sa.Connection) -> None:
            check_lease(connection, lease, self._clock())
            connection.execute(sa.insert(HISTORY).values(**values))
            if run is not None:
                insert_run(connection, run)

        self._database.write(work)

    def hand_over(self, lease: Lease, run_id: str, owner: RunOwner) -> None:
        queued = (RUNS.c.id == run_id) & (RUNS.c.status == RunStatus.QUEUED.value)
        change = sa.update(RUNS).where(queued).values(**owner_columns(owner))

        def work(connection: sa.Connection) -> None:
            check_lease(connection, lease, self._clock())
            connection.execute(change)

        self._database.write(work)

    def last(self, schedule: str, job: str) -> ScheduleEntry | None:
        return next(iter(self.entries(schedule, job, 1)), None)

    def entries(self, schedule: str, job: str | None, limit: int) -> list[ScheduleEntry]:
        query = sa.select(HISTORY).where(HISTORY.c.schedule == schedule)
        if job is not None:
            query = query.where(HISTORY.c.job == job)
        query = query.order_by(*_NEWEST_FIRST).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [_entry(row) for row in rows]

    def prune(self, schedule: str, before: datetime) -> int:
        old = (HISTORY.c.schedule == schedule) & (HISTORY.c.at < before)
        newer = HISTORY.alias()
        superseded = sa.exists().where(
            newer.c.schedule == HISTORY.c.schedule,
            newer.c.job == HISTORY.c.job,
            newer.c.due_at > HISTORY.c.due_at,
        )
        gone = sa.delete(HISTORY).where(old, superseded)
        return self._database.write(lambda connection: connection.execute(gone).rowcount)


def _entry(row: sa.Row[Any]) -> ScheduleEntry:
    values = dict(row._mapping)
    return ScheduleEntry(**{**values, "event": ScheduleEvent(values["event"])})
