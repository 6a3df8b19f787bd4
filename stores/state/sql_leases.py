"""Leases in SQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from schemas.schedule import Lease
from stores.state.database import Database
from stores.state.port import LeaseLost
from stores.state.tables import LEASES


class SqlLeases:
    """See ``stores.state.port.LeaseStore``."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def acquire(self, name: str, holder: str, seconds: float) -> Lease | None:
        return self._database.write(
            lambda connection: self._acquire(connection, name, holder, seconds)
        )

    def renew(self, lease: Lease, seconds: float) -> Lease:
        def work(connection: sa.Connection) -> Lease:
            check_lease(connection, lease, self._clock())
            renewed = Lease(lease.name, lease.holder, lease.token, self._until(seconds))
            connection.execute(_held(lease).values(expires_at=renewed.expires_at))
            return renewed

        return self._database.write(work)

    def release(self, lease: Lease) -> None:
        ended = _held(lease).values(expires_at=self._clock())
        self._database.write(lambda connection: connection.execute(ended))

    def current(self, name: str) -> Lease | None:
        query = sa.select(LEASES).where(LEASES.c.name == name)
        row = self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else Lease(**row._mapping)

    def _acquire(
        self, connection: sa.Connection, name: str, holder: str, seconds: float
    ) -> Lease | None:
        """Take it if it has expired; the first one ever makes it, unless another one just did."""
        until = self._until(seconds)
        mine = {"holder": holder, "expires_at": until}
        taken = (
            sa.update(LEASES)
            .where(LEASES.c.name == name, LEASES.c.expires_at <= self._clock())
            .values(token=LEASES.c.token + 1, **mine)
            .returning(LEASES.c.token)
        )
        token = connection.scalar(taken)
        if token is None and not _exists(connection, name):
            token = 1
            if not _insert_if_absent(connection, {"name": name, "token": token, **mine}):
                return None
        return None if token is None else Lease(name, holder, token, until)

    def _until(self, seconds: float) -> datetime:
        return self._clock() + timedelta(seconds=seconds)


def check_lease(connection: sa.Connection, lease: Lease, now: datetime) -> None:
    """Hold the lease's row until the transaction ends. Raises ``LeaseLost``."""
    query = (
        sa.select(LEASES.c.token)
        .where(LEASES.c.name == lease.name, LEASES.c.holder == lease.holder)
        .where(LEASES.c.token == lease.token, LEASES.c.expires_at > now)
        .with_for_update()
    )
    if connection.scalar(query) is None:
        raise LeaseLost(f"the lease {lease.name!r} has expired, or is another's by now")


def _held(lease: Lease) -> sa.Update:
    mine = (LEASES.c.holder == lease.holder) & (LEASES.c.token == lease.token)
    return sa.update(LEASES).where(LEASES.c.name == lease.name, mine)


def _exists(connection: sa.Connection, name: str) -> bool:
    return connection.scalar(sa.select(LEASES.c.name).where(LEASES.c.name == name)) is not None


def _insert_if_absent(connection: sa.Connection, values: dict[str, object]) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(LEASES).values(**values))
    except sa.exc.IntegrityError:
        return False
    return True
