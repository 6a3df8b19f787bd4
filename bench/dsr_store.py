"""A state store with very many data subject requests, filled in bulk.

Through the tables of the adapter, but past its transactions: no event and no audit entry is made.
The rows are those that it would write, and so are the indexes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from dsr.submit import request_id_of
from schemas.dsr import Dsr, DsrStatus, Forwarding, Identity, IdentityType, Regulation, RequestType
from stores.state.database import Database
from stores.state.dsr_rows import row_of
from stores.state.dsr_tables import DSR_SUBJECTS, DSRS
from stores.subjects import Subjects

ORGANIZATION = "org-1"
EACH = 10
"""Requests of a subject: the first one is open."""

_CHUNK = 20_000
_SPREAD = timedelta(days=20)
_SCATTER = 7919
"""A prime, by which neighbours in the table are far apart in time: as they are by random ids."""

_SEALED = 200
"""Bytes, about as many as an email needs."""


@dataclass(frozen=True)
class Many:
    """So many requests, the last of them received at ``newest``."""

    count: int
    newest: datetime

    @property
    def subjects(self) -> int:
        return max(1, self.count // EACH)

    def id_of(self, number: int) -> str:
        """The id of a request: they are evenly spread, and grow with the number."""
        return request_id_of(f"{number * (16**32 // self.count):032x}")

    def email_of(self, number: int) -> str:
        """The email of the subject of a request."""
        return f"subject-{number % self.subjects}@example.com"

    def request(self, number: int, subjects: Subjects) -> Dsr:
        """A request, as it is kept."""
        email = Identity(IdentityType.EMAIL, self.email_of(number))
        at = self.newest - _SPREAD * (number * _SCATTER % self.count / self.count)
        is_open = number < self.subjects
        return Dsr(
            id=self.id_of(number),
            organization=ORGANIZATION,
            owner="user-1",
            regulation=Regulation.GDPR,
            type=RequestType.ERASURE,
            status=DsrStatus.SUBMITTED if is_open else DsrStatus.COMPLETED,
            received_at=at,
            updated_at=at,
            due_at=at + timedelta(days=30),
            subjects=(subjects.hash_of(email),),
            sealed=os.urandom(_SEALED),
            forwarding=Forwarding("bench", "here", 1, at, None, "bench"),
            closed_at=None if is_open else at,
            version=3,
        )


def fill(database: Database, many: Many, subjects: Subjects) -> None:
    """Put all of them into an empty store."""
    indexes = [*DSRS.indexes, *DSR_SUBJECTS.indexes]
    database.write(lambda connection: _each(connection, "drop", indexes))
    for chunk in _chunks(many, subjects):
        database.write(partial(_insert, requests=chunk), durable=False)
    database.write(lambda connection: _each(connection, "create", indexes))


def now() -> datetime:
    return datetime.now(UTC)


def _chunks(many: Many, subjects: Subjects) -> Iterator[list[Dsr]]:
    for first in range(0, many.count, _CHUNK):
        numbers = range(first, min(first + _CHUNK, many.count))
        yield [many.request(number, subjects) for number in numbers]


def _insert(connection: sa.Connection, requests: Sequence[Dsr]) -> None:
    connection.execute(sa.insert(DSRS), [vars(row_of(dsr)) for dsr in requests])
    connection.execute(sa.insert(DSR_SUBJECTS), [_subject(dsr) for dsr in requests])


def _subject(dsr: Dsr) -> dict[str, Any]:
    return {
        "request_id": dsr.id,
        "subject": dsr.subjects[0],
        "organization": dsr.organization,
        "regulation": dsr.regulation,
        "type": dsr.type,
        "received_at": dsr.received_at,
        "open": 0 if dsr.status.is_final else 1,
    }


def _each(connection: sa.Connection, verb: str, indexes: Sequence[sa.Index]) -> None:
    for index in indexes:
        getattr(index, verb)(connection)
