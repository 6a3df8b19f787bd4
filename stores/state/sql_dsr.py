"""Data subject requests in SQL.

A transaction locks the hashes of subjects and the request, then the audit log, then the events: all
in this order, so that no two wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from schemas.access import Reach
from schemas.audit import AuditDraft
from schemas.dsr import (
    Dsr,
    DsrCursor,
    DsrQuery,
    DsrStatus,
    DueCursor,
    OpenTally,
    Regulation,
    RequestType,
    event_of_dsr,
)
from schemas.dsr_lake import LakeState
from schemas.errors import StoreError
from stores.state.database import Database, insert_into
from stores.state.dsr_rows import DsrRow, check_apart, dsr_of, open_exists, row_of
from stores.state.dsr_tables import (
    AT_LAKE,
    DSR_SUBJECTS,
    DSRS,
    OPEN,
    STILL_OPEN,
    TO_ASK_ABOUT,
    TO_CANCEL,
    TO_MINIMISE,
    WAITING,
)
from stores.state.sql_audit import insert_entries
from stores.state.sql_outbox import insert_events
from stores.state.sql_reach import within

_PLACE = (DSRS.c.received_at, DSRS.c.id)
_CLAIM = ("organization", "subject", "regulation", "type")

Condition = sa.ColumnElement[bool] | sa.TextClause


class SqlDsr:
    """See ``stores.state.dsr_port.DsrStore``."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def add(self, requests: Sequence[Dsr], drafts: Sequence[AuditDraft]) -> None:
        check_apart(requests)

        def work(connection: sa.Connection) -> None:
            _insert_subjects(connection, requests)
            connection.execute(sa.insert(DSRS), [_columns(dsr) for dsr in requests])
            self._tell(connection, requests, drafts)

        if requests:
            self._database.write(work)

    def get(self, request_id: str, reach: Reach) -> Dsr | None:
        found = self.get_many([request_id], reach)
        return found[0] if found else None

    def get_many(self, request_ids: Sequence[str], reach: Reach) -> list[Dsr]:
        query = sa.select(DSRS).where(DSRS.c.id.in_(request_ids), *_within(reach))
        found = {dsr.id: dsr for dsr in self._all(query)}
        return [found[one] for one in request_ids if one in found]

    def find(self, query: DsrQuery, reach: Reach) -> list[Dsr]:
        found, place = sa.select(DSRS).where(*_within(reach)), _PLACE
        if query.subject is not None:
            # Sorted by the hashes' own copies, so that their index gives the order.
            place = (DSR_SUBJECTS.c.received_at, DSR_SUBJECTS.c.request_id)
            of_subject = DSR_SUBJECTS.c.request_id == DSRS.c.id
            found = found.join(DSR_SUBJECTS, of_subject)
            found = found.where(DSR_SUBJECTS.c.subject == query.subject)
        if query.group_hash is not None:
            found = found.where(DSRS.c.group_hash == query.group_hash)
        if query.status is not None:
            found = found.where(DSRS.c.status == query.status.value)
        if query.after is not None:
            found = found.where(_is_older(place, query.after))
        newest_first = [column.desc() for column in place]
        return self._all(found.order_by(*newest_first).limit(query.limit))

    def change(self, changed: Dsr, draft: AuditDraft) -> Dsr | None:
        kept = replace(changed, version=changed.version + 1)

        def work(connection: sa.Connection) -> Dsr | None:
            put = sa.update(DSRS).where(*_may_become(changed)).values(_columns(kept))
            if connection.execute(put).rowcount != 1:
                return None
            _update_subjects(connection, kept)
            self._tell(connection, [kept], [draft])
            return kept

        return self._database.write(work)

    def waiting(self, now: datetime, limit: int) -> list[Dsr]:
        first = sa.select(DSRS).where(WAITING, _is_due(now), ~_follows_another())
        return self._all(first.order_by(*_PLACE).limit(limit))

    def to_cancel(self, now: datetime, limit: int) -> list[Dsr]:
        found = sa.select(DSRS).where(TO_CANCEL, _is_due(now))
        return self._all(found.order_by(*_PLACE).limit(limit))

    def to_ask_about(self, now: datetime, limit: int) -> list[Dsr]:
        found = sa.select(DSRS).where(TO_ASK_ABOUT, DSRS.c.next_try_at <= now)
        return self._all(found.order_by(DSRS.c.next_try_at, DSRS.c.id).limit(limit))

    def at_lake(self, states: Collection[LakeState], limit: int) -> list[Dsr]:
        wanted = DSRS.c.lake_state.in_([state.value for state in states])
        found = sa.select(DSRS).where(AT_LAKE, wanted, DSRS.c.cancel_requested_at.is_(None))
        return self._all(found.order_by(DSRS.c.lake_state, *_PLACE).limit(limit))

    def due_before(
        self, moment: datetime, reach: Reach, limit: int, after: DueCursor | None = None
    ) -> list[Dsr]:
        found = sa.select(DSRS).where(OPEN, DSRS.c.due_at < moment, *_within(reach))
        if after is not None:
            place = sa.tuple_(DSRS.c.due_at, DSRS.c.id)
            known = (sa.literal(after.due_at, DSRS.c.due_at.type), sa.literal(after.id))
            found = found.where(place > sa.tuple_(*known))
        return self._all(found.order_by(DSRS.c.due_at, DSRS.c.id).limit(limit))

    def tally(self, due_before: datetime) -> OpenTally:
        is_queued, is_parked = DSRS.c.status == DsrStatus.QUEUED.value, DSRS.c.parked_reason
        counted = sa.select(
            _counted(DSRS.c.status == DsrStatus.HELD.value),
            _counted(is_queued & is_parked.is_(None)),
            _counted(is_parked.is_not(None)),
            _counted(DSRS.c.due_at < due_before),
        ).where(OPEN)
        row = self._database.read(lambda connection: connection.execute(counted).one())
        return OpenTally(*map(int, row))

    def to_minimise(self, closed_before: datetime, limit: int) -> list[Dsr]:
        found = sa.select(DSRS).where(TO_MINIMISE, DSRS.c.closed_at < closed_before)
        return self._all(found.order_by(DSRS.c.closed_at, DSRS.c.id).limit(limit))

    def _tell(
        self, connection: sa.Connection, requests: Sequence[Dsr], drafts: Sequence[AuditDraft]
    ) -> None:
        insert_entries(connection, drafts, self._clock)
        insert_events(connection, [event_of_dsr(dsr) for dsr in requests])

    def _all(self, query: sa.Select[Any]) -> list[Dsr]:
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [_dsr(row) for row in rows]


def _insert_subjects(connection: sa.Connection, requests: Sequence[Dsr]) -> None:
    """Raises ``OpenRequestExists``; of those who add the same at once, all but one wait for it."""
    rows = sorted((row for dsr in requests for row in _subjects(dsr)), key=_claim)
    if not rows:
        return
    insert = insert_into(connection, DSR_SUBJECTS).values(rows).on_conflict_do_nothing()
    inserted = connection.execute(insert.returning(DSR_SUBJECTS.c.subject)).all()
    if len(inserted) != len(rows):
        raise _why_not(connection, rows)


def _why_not(connection: sa.Connection, rows: list[dict[str, Any]]) -> StoreError:
    claims = [_claim(row) for row in rows]
    known = sa.select(DSR_SUBJECTS.c.request_id).where(
        STILL_OPEN, sa.tuple_(*(DSR_SUBJECTS.c[name] for name in _CLAIM)).in_(claims)
    )
    added = {row["request_id"] for row in rows}
    ids = list(connection.scalars(known))
    others = [one for one in ids if one not in added]
    if not ids:
        return StoreError("state store: this request is there already")
    return open_exists((others or ids)[0])


def _claim(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in _CLAIM)


def _subjects(dsr: Dsr) -> list[dict[str, Any]]:
    known = {
        "request_id": dsr.id,
        "organization": dsr.organization,
        "regulation": dsr.regulation.value,
        "type": dsr.type.value,
        "received_at": dsr.received_at,
        "open": 0 if dsr.status.is_final else 1,
    }
    return [{**known, "subject": subject} for subject in dict.fromkeys(dsr.subjects)]


def _update_subjects(connection: sa.Connection, dsr: Dsr) -> None:
    of_request = DSR_SUBJECTS.c.request_id == dsr.id
    gone = DSR_SUBJECTS.c.subject.not_in(dsr.subjects)
    connection.execute(sa.delete(DSR_SUBJECTS).where(of_request, gone))
    if dsr.status.is_final:
        connection.execute(sa.update(DSR_SUBJECTS).where(of_request).values(open=0))


def _may_become(changed: Dsr) -> list[Condition]:
    """Whether the version that was read is there, and may become this."""
    to = changed.status
    before = [status for status in DsrStatus if status is to or status.may_become(to)]
    is_read = (DSRS.c.id == changed.id, DSRS.c.version == changed.version)
    return [*is_read, DSRS.c.status.in_([status.value for status in before])]


def _follows_another() -> sa.ColumnElement[bool]:
    """Whether a request that came before waits too, and shares a subject."""
    mine, its, earlier = DSR_SUBJECTS.alias(), DSR_SUBJECTS.alias(), DSRS.alias()
    shared = its.join(mine, its.c.subject == mine.c.subject).join(
        earlier, earlier.c.id == its.c.request_id
    )
    waits = (earlier.c.status == DsrStatus.QUEUED.value, earlier.c.parked_reason.is_(None))
    came_before = sa.tuple_(its.c.received_at, its.c.request_id) < sa.tuple_(*_PLACE)
    return sa.exists(
        sa.select(sa.literal(1))
        .select_from(shared)
        .where(mine.c.request_id == DSRS.c.id, its.c.organization == DSRS.c.organization)
        .where(came_before, *waits)
        .correlate(DSRS)
    )


def _counted(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.count(sa.case((which, 1)))


def _is_due(now: datetime) -> sa.ColumnElement[bool]:
    return DSRS.c.next_try_at.is_(None) | (DSRS.c.next_try_at <= now)


def _is_older(place: tuple[sa.Column[Any], ...], cursor: DsrCursor) -> sa.ColumnElement[bool]:
    time, request_id = place
    known = (sa.literal(cursor.received_at, time.type), sa.literal(cursor.id))
    return sa.tuple_(time, request_id) < sa.tuple_(*known)


def _within(reach: Reach) -> list[sa.ColumnElement[bool]]:
    return within(reach, DSRS.c.organization, DSRS.c.owner)


def _columns(dsr: Dsr) -> dict[str, Any]:
    row = row_of(dsr)
    enums = {"regulation": row.regulation, "type": row.type, "status": row.status}
    named = {name: value.value for name, value in enums.items()}
    return {**vars(row), **named, "subjects": [*row.subjects]}


def _dsr(row: sa.Row[Any]) -> Dsr:
    values = row._mapping
    kept = {
        "regulation": Regulation(values["regulation"]),
        "type": RequestType(values["type"]),
        "status": DsrStatus(values["status"]),
        "subjects": tuple(values["subjects"]),
    }
    return dsr_of(DsrRow(**{**values, **kept}))
