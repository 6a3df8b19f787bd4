"""Runs in SQL. Each change is one conditional statement, so that a status never goes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from schemas.runs import RunEnd, RunOwner, RunRecord, RunStatus
from stores.state.database import Database
from stores.state.tables import RUNS

_ACTIVE = tuple(status for status in RunStatus if not status.is_final)


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

    def latest(self, limit: int) -> list[RunRecord]:
        query = sa.select(RUNS).order_by(RUNS.c.queued_at.desc(), RUNS.c.id.desc()).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [_record(row) for row in rows]

    def begin(self, run_id: str, owner: RunOwner) -> bool:
        now = self._clock()
        started = sa.func.coalesce(RUNS.c.started_at, sa.literal(now, RUNS.c.started_at.type))
        return self._change(
            run_id,
            (*RunStatus.RUNNING.predecessors, RunStatus.RUNNING),
            status=RunStatus.RUNNING.value,
            started_at=started,
            seen_at=now,
            **owner_columns(owner),
        )

    def beat(self, run_id: str, counts: Mapping[str, int] | None = None) -> bool:
        return self._change(run_id, _ACTIVE, seen_at=self._clock(), **_counts_column(counts))

    def finish(self, run_id: str, end: RunEnd, counts: Mapping[str, int] | None = None) -> bool:
        return self._change(
            run_id,
            end.status.predecessors,
            ended_at=self._clock(),
            **{**asdict(end), "status": end.status.value},
            **_counts_column(counts),
        )

    def request_cancel(self, run_id: str) -> bool:
        return self._change(run_id, _ACTIVE, cancel_requested_at=self._clock())

    def prune(self, before: datetime) -> list[RunRecord]:
        gone = sa.delete(RUNS).where(RUNS.c.ended_at < before).returning(*RUNS.c)
        rows = self._database.write(lambda connection: connection.execute(gone).all())
        return [_record(row) for row in rows]

    def _change(self, run_id: str, expected: tuple[RunStatus, ...], **values: Any) -> bool:
        change = change_run(run_id, expected, values)
        return self._database.write(lambda connection: connection.execute(change).rowcount == 1)


def insert_run(connection: sa.Connection, run: RunRecord) -> None:
    """Within another aggregate's transaction."""
    values = {**asdict(run), "status": run.status.value, "counts": dict(run.counts)}
    del values["owner"]
    connection.execute(sa.insert(RUNS).values(**values, **owner_columns(run.owner)))


def change_run(run_id: str, expected: tuple[RunStatus, ...], values: dict[str, Any]) -> sa.Update:
    """The statement that changes a run if it has one of the expected statuses."""
    statuses = [status.value for status in expected]
    here = (RUNS.c.id == run_id) & RUNS.c.status.in_(statuses)
    return sa.update(RUNS).where(here).values(**values)


def owner_columns(owner: RunOwner) -> dict[str, Any]:
    return {f"owner_{name}": value for name, value in asdict(owner).items()}


def _counts_column(counts: Mapping[str, int] | None) -> dict[str, Any]:
    return {} if counts is None else {"counts": dict(counts)}


def _record(row: sa.Row[Any]) -> RunRecord:
    values = dict(row._mapping)
    owner = RunOwner(*(values.pop(f"owner_{name}") for name in ("host", "pid", "started")))
    return RunRecord(**{**values, "status": RunStatus(values["status"]), "owner": owner})
