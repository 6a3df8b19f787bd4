"""What is remembered of requests, in SQL: answers under keys, counts, and machines' keys."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from schemas.requests import (
    Answered,
    ApiKey,
    Claim,
    Claimed,
    Counted,
    InProgress,
    OtherRequest,
    StoredResponse,
    Tally,
)
from stores.state.database import Database, insert_into
from stores.state.service_tables import API_KEYS, COUNTERS, IDEMPOTENCY
from stores.state.sql_prune import forget

_PREVIOUS: sa.ColumnElement[int] = sa.literal_column(
    "(SELECT before.count FROM request_counters AS before"
    " WHERE before.name = request_counters.name"
    " AND before.seconds = request_counters.seconds"
    " AND before.period = request_counters.period - 1)",
    sa.BigInteger,
)
"""The count of the period before a row's own; SQLAlchemy would leave the table out."""


class SqlIdempotency:
    """See ``stores.state.service_port.IdempotencyStore``."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def claim(self, key: str, fingerprint: str, lock_seconds: float, keep_seconds: float) -> Claim:
        now = self._clock()
        mine = {
            "fingerprint": fingerprint,
            "token": secrets.token_hex(16),
            "locked_until": now + timedelta(seconds=lock_seconds),
            "kept_until": now + timedelta(seconds=keep_seconds),
        }
        return self._database.write(lambda connection: _claim(connection, key, mine, now))

    def complete(self, key: str, token: str, response: StoredResponse) -> bool:
        answer = sa.update(IDEMPOTENCY).where(*_claimed(key, token)).values(_answer(response))
        return self._database.write(lambda connection: connection.execute(answer).rowcount == 1)

    def release(self, key: str, token: str) -> None:
        gone = sa.delete(IDEMPOTENCY).where(*_claimed(key, token))
        self._database.write(lambda connection: connection.execute(gone))

    def prune(self) -> int:
        return forget(self._database, IDEMPOTENCY, IDEMPOTENCY.c.kept_until <= self._clock())


def _claim(connection: sa.Connection, key: str, mine: dict[str, Any], now: datetime) -> Claim:
    row = _inserted_or_locked(connection, key, mine)
    if row.token == mine["token"]:
        return Claimed(row.token)
    if row.kept_until > now:
        if row.fingerprint != mine["fingerprint"]:
            return OtherRequest()
        if row.response_status is not None:
            return Answered(_response(row))
        if row.locked_until > now:
            return InProgress()
    again = {**mine, "response_status": None, "response_body": None, "response_headers": None}
    connection.execute(sa.update(IDEMPOTENCY).where(IDEMPOTENCY.c.key == key).values(again))
    return Claimed(mine["token"])


def _inserted_or_locked(connection: sa.Connection, key: str, mine: dict[str, Any]) -> sa.Row[Any]:
    """The key's row, new or as it was; nobody else changes it until the transaction ends."""
    insert = insert_into(connection, IDEMPOTENCY).values(key=key, **mine)
    touched = insert.on_conflict_do_update(index_elements=["key"], set_={"key": key})
    return connection.execute(touched.returning(*IDEMPOTENCY.c)).one()


def _claimed(key: str, token: str) -> tuple[sa.ColumnElement[bool], ...]:
    columns = IDEMPOTENCY.c
    return columns.key == key, columns.token == token, columns.response_status.is_(None)


def _answer(response: StoredResponse) -> dict[str, Any]:
    return {
        "response_status": response.status,
        "response_body": response.body,
        "response_headers": dict(response.headers),
    }


def _response(row: sa.Row[Any]) -> StoredResponse:
    return StoredResponse(row.response_status, row.response_body, row.response_headers)


class SqlRequestCounters:
    """See ``stores.state.service_port.RequestCounters``."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def count(self, counted: Sequence[Counted]) -> list[Tally]:
        if not counted:
            return []
        now = self._clock()
        # In one order for all, so that two transactions never wait for each other's rows.
        rows = sorted((each.name, each.seconds, each.period(now)) for each in counted)
        found = self._database.write(lambda connection: _count(connection, rows), durable=False)
        return [found[each.name, each.seconds] for each in counted]

    def prune(self) -> int:
        now = int(self._clock().timestamp())
        looked_at_until = (COUNTERS.c.period + 2) * COUNTERS.c.seconds
        return forget(self._database, COUNTERS, looked_at_until <= now)


def _count(
    connection: sa.Connection, rows: list[tuple[str, int, int]]
) -> dict[tuple[str, int], Tally]:
    names = ("name", "seconds", "period")
    insert = insert_into(connection, COUNTERS).values(count=1)
    added = insert.on_conflict_do_update(
        index_elements=list(names), set_={"count": COUNTERS.c.count + 1}
    )
    current = COUNTERS.c
    # Rows apart from the statement: with rows in it, it would be compiled for each request anew.
    answer = added.returning(current.name, current.seconds, current.count, _PREVIOUS)
    values = [dict(zip(names, row, strict=True)) for row in rows]
    return {
        (name, seconds): Tally(count, previous or 0)
        for name, seconds, count, previous in connection.execute(answer, values)
    }


class SqlApiKeys:
    """See ``stores.state.service_port.ApiKeyStore``."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def add(self, key: ApiKey) -> None:
        values = {**asdict(key), "roles": list(key.roles), "rights": list(key.rights)}
        self._database.write(lambda c: c.execute(sa.insert(API_KEYS).values(**values)))

    def find(self, digest: str) -> ApiKey | None:
        query = sa.select(API_KEYS).where(API_KEYS.c.digest == digest)
        row = self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _key(row)

    def all(self) -> list[ApiKey]:
        query = sa.select(API_KEYS).order_by(API_KEYS.c.created_at.desc(), API_KEYS.c.id.desc())
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [_key(row) for row in rows]

    def revoke(self, key_id: str) -> bool:
        now, columns = self._clock(), API_KEYS.c
        lasts = columns.expires_at.is_(None) | (columns.expires_at > now)
        ended = (
            sa.update(API_KEYS)
            .where(columns.id == key_id, columns.revoked_at.is_(None), lasts)
            .values(revoked_at=now)
        )
        return self._database.write(lambda connection: connection.execute(ended).rowcount == 1)


def _key(row: sa.Row[Any]) -> ApiKey:
    values = row._mapping
    lists = {name: tuple(values[name]) for name in ("roles", "rights")}
    return ApiKey(**{**values, **lists})
