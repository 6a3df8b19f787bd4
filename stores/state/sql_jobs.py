"""Jobs in SQL: a job's row is locked, changed by a function of ``job_changes``, and told of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from schemas import job_changes
from schemas.access import Reach
from schemas.jobs import Job, JobEnd, JobQuery, JobStatus, PartProgress, event_of_job
from stores.state.database import Database, insert_into
from stores.state.service_tables import IN_SIGHT, JOB_PARTS, JOBS, UNFINISHED
from stores.state.sql_outbox import insert_events
from stores.state.sql_prune import forget
from stores.state.sql_reach import within
from stores.state.sql_turns import take_turn

_NEWEST_FIRST = (JOBS.c.created_at.desc(), JOBS.c.id.desc())

Condition = sa.ColumnElement[bool] | sa.TextClause

Change = Callable[[sa.Connection, Job], Job | None]
"""What becomes of a job, None if nothing may."""


class SqlJobs:
    """See ``stores.state.service_port.JobStore``."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def add(self, jobs: Sequence[Job]) -> None:
        if jobs:
            self._database.write(lambda connection: _insert(connection, jobs))

    def add_once(self, job: Job) -> Job:
        return self._database.write(lambda connection: _insert_once(connection, job))

    def get(self, job_id: str, reach: Reach) -> Job | None:
        query = sa.select(JOBS).where(*_visible(job_id, reach))
        row = self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _job(row)

    def find(self, query: JobQuery, reach: Reach) -> list[Job]:
        found = sa.select(JOBS).where(*_matching(query, reach)).order_by(*_NEWEST_FIRST)
        if query.after is not None:
            place = sa.tuple_(JOBS.c.created_at, JOBS.c.id)
            found = found.where(place < sa.tuple_(*_place(query.after.created_at, query.after.id)))
        return self._all(found.limit(query.limit).offset(query.offset))

    def count(self, query: JobQuery, reach: Reach) -> int:
        counted = sa.select(sa.func.count()).select_from(JOBS).where(*_matching(query, reach))
        return self._database.read(lambda connection: connection.scalar(counted)) or 0

    def unfinished(self, limit: int) -> list[Job]:
        found = sa.select(JOBS).where(UNFINISHED)
        return self._all(found.order_by(JOBS.c.created_at, JOBS.c.id).limit(limit))

    def begin(self, job_id: str, run_id: str) -> Job | None:
        return self._change(_of(job_id), lambda _, job: job_changes.begun(job, run_id))

    def requeue(self, job_id: str, run_id: str) -> Job | None:
        return self._change(_of(job_id), lambda _, job: job_changes.requeued(job, run_id))

    def plan(
        self, job_id: str, run_id: str, fingerprint: str, contacts: int, batches: int
    ) -> Job | None:
        return self._change(
            _of(job_id),
            lambda _, job: job_changes.planned(job, run_id, fingerprint, contacts, batches),
        )

    def report(self, job_id: str, progress: PartProgress) -> None:
        # A power cut ends the run, too, and the next one tells again of all that is done.
        self._database.write(lambda c: _report(c, job_id, progress), durable=False)

    def advance(self, job_id: str, run_id: str) -> Job | None:
        """Looks first whether there is something to write, as writers wait for each other."""
        advanced = self._database.read(lambda c: _advanced(c, job_id, run_id))
        if advanced is None or advanced[0] == advanced[1]:
            return None if advanced is None else advanced[0]
        return self._change(_of(job_id), lambda c, job: _with_parts(c, job, run_id))

    def finish(self, job_id: str, run_id: str | None, end: JobEnd) -> Job | None:
        def change(connection: sa.Connection, job: Job) -> Job | None:
            sums = _sums(connection, job_id)
            return job_changes.ended(job, run_id, end, self._clock(), *sums)

        return self._change(_of(job_id), change)

    def request_cancel(self, job_id: str, reach: Reach, at_once: bool) -> Job | None:
        def change(_: sa.Connection, job: Job) -> Job | None:
            return job_changes.asked_to_end(job, self._clock(), at_once)

        return self._change(_visible(job_id, reach), change)

    def delete(self, job_id: str, reach: Reach) -> bool:
        def change(_: sa.Connection, job: Job) -> Job:
            return job_changes.taken_away(job, self._clock())

        return self._change(_visible(job_id, reach), change) is not None

    def prune(self, before: datetime) -> int:
        return forget(self._database, JOBS, JOBS.c.ended_at < before)

    def _all(self, query: sa.Select[Any]) -> list[Job]:
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [_job(row) for row in rows]

    def _change(self, which: list[Condition], change: Change) -> Job | None:
        """Lock the job, if it is there, and make of it what ``change`` says."""

        def work(connection: sa.Connection) -> Job | None:
            row = connection.execute(sa.select(JOBS).where(*which).with_for_update()).first()
            if row is None:
                return None
            return self._store(connection, _job(row), change)

        return self._database.write(work)

    def _store(self, connection: sa.Connection, before: Job, change: Change) -> Job | None:
        after = change(connection, before)
        if after is None or after == before:
            return after
        after = replace(after, version=before.version + 1, updated_at=self._clock())
        values = _columns(after)
        connection.execute(sa.update(JOBS).where(JOBS.c.id == before.id).values(values))
        if after.status.is_final and not before.status.is_final:
            # However it ended: one that was queued again may have parts, too.
            connection.execute(sa.delete(JOB_PARTS).where(JOB_PARTS.c.job_id == before.id))
        insert_events(connection, [event_of_job(after)])
        return after


def _insert(connection: sa.Connection, jobs: Sequence[Job]) -> None:
    connection.execute(sa.insert(JOBS), [_columns(job) for job in jobs])
    insert_events(connection, [event_of_job(job) for job in jobs])


def _insert_once(connection: sa.Connection, job: Job) -> Job:
    take_turn(connection, job.organization, job.kind, job.fingerprint)
    alike = (
        sa.select(JOBS)
        .where(JOBS.c.organization == job.organization, JOBS.c.kind == job.kind)
        .where(JOBS.c.fingerprint == job.fingerprint, IN_SIGHT)
        .order_by(*_NEWEST_FIRST)
    )
    known = (_job(row) for row in connection.execute(alike))
    before = next((other for other in known if other.stands_for_repeats), None)
    if before is None:
        _insert(connection, [job])
    return before or job


def _report(connection: sa.Connection, job_id: str, progress: PartProgress) -> None:
    """Nothing is kept of a job that has ended, or is gone: nobody would clear it away.

    The job's row is held, so that it does not end between the look at it and the insert.
    """
    figures = ("processed_batches", "failed_contacts")
    known = sa.select(
        JOBS.c.id,
        sa.literal(progress.part),
        *(sa.literal(getattr(progress, figure), sa.BigInteger) for figure in figures),
    ).where(JOBS.c.id == job_id, UNFINISHED)
    known = known.with_for_update(read=True)
    insert = insert_into(connection, JOB_PARTS).from_select(["job_id", "part", *figures], known)
    greatest = {
        figure: _greater(JOB_PARTS.c[figure], insert.excluded[figure]) for figure in figures
    }
    connection.execute(
        insert.on_conflict_do_update(index_elements=["job_id", "part"], set_=greatest)
    )


def _greater(one: sa.ColumnElement[int], other: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.case((one >= other, one), else_=other)


def _advanced(connection: sa.Connection, job_id: str, run_id: str) -> tuple[Job, Job] | None:
    """The job as it is, and as its parts have it."""
    row = connection.execute(sa.select(JOBS).where(*_of(job_id))).first()
    after = None if row is None else _with_parts(connection, _job(row), run_id)
    return None if row is None or after is None else (_job(row), after)


def _with_parts(connection: sa.Connection, job: Job, run_id: str) -> Job | None:
    return job_changes.advanced(job, run_id, *_sums(connection, job.id))


def _sums(connection: sa.Connection, job_id: str) -> tuple[int, int]:
    processed, failed = JOB_PARTS.c.processed_batches, JOB_PARTS.c.failed_contacts
    sums = sa.select(sa.func.sum(processed), sa.func.sum(failed))
    row = connection.execute(sums.where(JOB_PARTS.c.job_id == job_id)).one()
    return int(row[0] or 0), int(row[1] or 0)


def _of(job_id: str) -> list[Condition]:
    return [JOBS.c.id == job_id]


def _visible(job_id: str, reach: Reach) -> list[Condition]:
    reachable = within(reach, JOBS.c.organization, JOBS.c.owner)
    return [JOBS.c.id == job_id, IN_SIGHT, *reachable]


def _matching(query: JobQuery, reach: Reach) -> list[Condition]:
    status = [] if query.status is None else [JOBS.c.status == query.status.value]
    reachable = within(reach, JOBS.c.organization, JOBS.c.owner)
    return [JOBS.c.kind == query.kind, IN_SIGHT, *status, *reachable]


def _place(created_at: datetime, job_id: str) -> tuple[sa.ColumnElement[Any], ...]:
    return sa.literal(created_at, JOBS.c.created_at.type), sa.literal(job_id)


def _columns(job: Job) -> dict[str, Any]:
    return {**vars(job), "status": job.status.value, "parameters": dict(job.parameters)}


def _job(row: sa.Row[Any]) -> Job:
    values = row._mapping
    return Job(**{**values, "status": JobStatus(values["status"])})
