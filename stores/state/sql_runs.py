"""Runs in SQL: a run's row is locked, changed by a function of ``run_changes``, and told of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from schemas import run_changes
from schemas.access import Reach
from schemas.runs import RunEnd, RunOwner, RunQuery, RunRecord, RunStatus, event_of_run
from stores.state.database import Database
from stores.state.sql_outbox import insert_events
from stores.state.sql_reach import within
from stores.state.tables import RUNS

Change = Callable[[RunRecord, datetime], RunRecord | None]
"""What becomes of a run at a time, None if nothing may."""


class SqlRuns:
    """See ``stores.state.port.RunStore``."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def add(self, run: RunRecord) -> None:
        self._database.write(lambda connection: insert_run(connection, run))

    def get(self, run_id: str) -> RunRecord | None:
        query = sa.select(RUNS).where(RUNS.c.id == run_id)
        row = self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _record(row)

    def visible(self, run_id: str, reach: Reach) -> RunRecord | None:
        query = sa.select(RUNS).where(RUNS.c.id == run_id, *_within(reach))
        row = self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _record(row)

    def find(self, query: RunQuery, reach: Reach) -> list[RunRecord]:
        found = sa.select(RUNS).where(*_matching(query), *_within(reach))
        found = found.order_by(RUNS.c.queued_at.desc(), RUNS.c.id.desc())
        found = found.limit(query.limit).offset(query.offset)
        rows = self._database.read(lambda connection: connection.execute(found).all())
        return [_record(row) for row in rows]

    def begin(self, run_id: str, owner: RunOwner) -> bool:
        return self._change(run_id, lambda run, now: run_changes.begun(run, owner, now))

    def beat(self, run_id: str, counts: Mapping[str, int] | None = None) -> bool:
        return self._change(run_id, lambda run, now: run_changes.seen(run, counts, now))

    def finish(self, run_id: str, end: RunEnd, counts: Mapping[str, int] | None = None) -> bool:
        return self._change(run_id, lambda run, now: run_changes.ended(run, end, counts, now))

    def request_cancel(self, run_id: str) -> bool:
        return self._change(run_id, run_changes.asked_to_end)

    def prune(self, before: datetime) -> list[RunRecord]:
        gone = sa.delete(RUNS).where(RUNS.c.ended_at < before).returning(*RUNS.c)
        rows = self._database.write(lambda connection: connection.execute(gone).all())
        return [_record(row) for row in rows]

    def _change(self, run_id: str, change: Change) -> bool:
        """Lock the run, if it is there, make of it what ``change`` says, and tell of it."""
        now = self._clock()

        def work(connection: sa.Connection) -> bool:
            locked = sa.select(RUNS).where(RUNS.c.id == run_id).with_for_update()
            row = connection.execute(locked).first()
            before = None if row is None else _record(row)
            after = None if before is None else change(before, now)
            if before is None or after is None:
                return False
            _store(connection, before, after, now)
            return True

        return self._database.write(work)


def _store(connection: sa.Connection, before: RunRecord, after: RunRecord, now: datetime) -> None:
    told = run_changes.is_told(before, after)
    after = replace(after, version=before.version + told)
    connection.execute(sa.update(RUNS).where(RUNS.c.id == after.id).values(_columns(after)))
    if told:
        insert_events(connection, [event_of_run(after, now)])


def insert_run(connection: sa.Connection, run: RunRecord) -> None:
    """As the last thing of a transaction, which may be another aggregate's."""
    connection.execute(sa.insert(RUNS).values(_columns(run)))
    insert_events(connection, [event_of_run(run, run.queued_at)])


def owner_columns(owner: RunOwner) -> dict[str, Any]:
    return {f"owner_{name}": value for name, value in asdict(owner).items()}


def _columns(run: RunRecord) -> dict[str, Any]:
    values = {**asdict(run), "status": run.status.value, "counts": dict(run.counts)}
    del values["owner"]
    return {**values, **owner_columns(run.owner)}


def _within(reach: Reach) -> list[sa.ColumnElement[bool]]:
    return within(reach, RUNS.c.organization, RUNS.c.requested_by)


def _matching(query: RunQuery) -> list[sa.ColumnElement[bool]]:
    wanted = {RUNS.c.status: query.status, RUNS.c.kind: query.kind, RUNS.c.job_id: query.job_id}
    conditions = [column == str(value) for column, value in wanted.items() if value is not None]
    if query.after is not None:
        after = sa.literal(query.after.queued_at, RUNS.c.queued_at.type), sa.literal(query.after.id)
        conditions.append(sa.tuple_(RUNS.c.queued_at, RUNS.c.id) < sa.tuple_(*after))
    return conditions


def _record(row: sa.Row[Any]) -> RunRecord:
    values = dict(row._mapping)
    owner = RunOwner(*(values.pop(f"owner_{name}") for name in ("host", "pid", "started")))
    return RunRecord(**{**values, "status": RunStatus(values["status"]), "owner": owner})
