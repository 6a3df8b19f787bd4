"""The audit log in SQL.

Numbers have no gap and each entry holds the hash of the one before it, so entries are added one at
a time. SQLite has one writer at a time anyway. On PostgreSQL a transaction takes a lock before it
looks for the newest entry and keeps it until it has ended; whatever else it locks it locks before,
but for the lock of the events, which comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from schemas.access import Reach
from schemas.audit import AuditCheckpoint, AuditDraft, AuditEntry, AuditHead, chained
from stores.state.audit_rows import read_detail, written_detail
from stores.state.database import Database, insert_into
from stores.state.dsr_tables import AUDIT_CHECKPOINTS, AUDIT_ENTRIES
from stores.state.sql_reach import within

_IN_ORDER = 0x6175646974
"""The key of PostgreSQL's advisory lock: "audit"."""

_PAGE = 500

_ENTRIES, _CHECKPOINTS = AUDIT_ENTRIES.c, AUDIT_CHECKPOINTS.c


class SqlAudit:
    """See ``stores.state.dsr_port.AuditLog``."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def append(self, draft: AuditDraft) -> AuditEntry:
        return self._database.write(lambda c: insert_entries(c, [draft], self._clock)[0])

    def head(self) -> AuditHead:
        return self._database.read(_head)

    def entries(self, after: int, limit: int) -> list[AuditEntry]:
        return self._some(after, limit)

    def of(self, resource: str, reach: Reach) -> Iterator[AuditEntry]:
        reachable = within(reach, _ENTRIES.organization, _ENTRIES.actor)
        after, more = 0, True
        while more:
            some = self._some(after, _PAGE, _ENTRIES.resource == resource, *reachable)
            yield from some
            more = len(some) == _PAGE
            after = some[-1].sequence if some else after

    def keep_checkpoint(self, checkpoint: AuditCheckpoint) -> None:
        def work(connection: sa.Connection) -> None:
            insert = insert_into(connection, AUDIT_CHECKPOINTS).values(**vars(checkpoint))
            connection.execute(insert.on_conflict_do_nothing())

        self._database.write(work)

    def checkpoints(self, after: int, limit: int) -> list[AuditCheckpoint]:
        query = sa.select(AUDIT_CHECKPOINTS).where(_CHECKPOINTS.sequence > after)
        in_order = query.order_by(_CHECKPOINTS.sequence, _CHECKPOINTS.key_id).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(in_order).all())
        return [AuditCheckpoint(**row._mapping) for row in rows]

    def newest_checkpoint(self) -> AuditCheckpoint | None:
        newest = sa.select(AUDIT_CHECKPOINTS).order_by(
            _CHECKPOINTS.sequence.desc(), _CHECKPOINTS.at.desc()
        )
        row = self._database.read(lambda connection: connection.execute(newest.limit(1)).first())
        return None if row is None else AuditCheckpoint(**row._mapping)

    def _some(self, after: int, limit: int, *which: sa.ColumnElement[bool]) -> list[AuditEntry]:
        query = sa.select(AUDIT_ENTRIES).where(_ENTRIES.sequence > after, *which)
        in_order = query.order_by(_ENTRIES.sequence).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(in_order).all())
        return [_entry(row) for row in rows]


def insert_entries(
    connection: sa.Connection, drafts: Sequence[AuditDraft], clock: Callable[[], datetime]
) -> list[AuditEntry]:
    """Add entries within a transaction that locks nothing more hereafter, but for its events."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_IN_ORDER)))
    head, at, entries = _head(connection), clock(), []
    for draft in drafts:
        entries.append(chained(draft, at, head))
        head = entries[-1].head
    if entries:
        connection.execute(sa.insert(AUDIT_ENTRIES), [_columns(entry) for entry in entries])
    return entries


def _head(connection: sa.Connection) -> AuditHead:
    newest = sa.select(_ENTRIES.sequence, _ENTRIES.hash).order_by(_ENTRIES.sequence.desc())
    row = connection.execute(newest.limit(1)).first()
    return AuditHead() if row is None else AuditHead(row.sequence, row.hash)


def _columns(entry: AuditEntry) -> dict[str, Any]:
    draft = {**vars(entry.draft), "detail": written_detail(entry.draft)}
    return {**{name: value for name, value in vars(entry).items() if name != "draft"}, **draft}


def _entry(row: sa.Row[Any]) -> AuditEntry:
    detail = read_detail(row.detail)
    draft = AuditDraft(row.actor, row.organization, row.action, row.resource, detail)
    return AuditEntry(row.sequence, row.at, draft, row.previous, row.hash)
