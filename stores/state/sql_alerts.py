"""What alerts have been told, in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa

from stores.state.database import Database, insert_into
from stores.state.webhook_tables import ALERTS


class SqlAlertMemory:
    """See ``stores.notify.memory.AlertMemory``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def since(self, key: str) -> datetime | None:
        query = sa.select(ALERTS.c.at).where(ALERTS.c.key == key)
        return self._database.read(lambda connection: connection.scalar(query))

    def known(self, keys: Sequence[str]) -> frozenset[str]:
        query = sa.select(ALERTS.c.key).where(ALERTS.c.key.in_(keys))
        return self._database.read(lambda connection: frozenset(connection.scalars(query)))

    def remember(self, key: str, at: datetime) -> datetime:
        known = self.since(key)
        if known is not None:
            return known
        values = {"key": key, "at": at}

        def add(connection: sa.Connection) -> None:
            insert = insert_into(connection, ALERTS).values(**values)
            connection.execute(insert.on_conflict_do_nothing())

        self._database.write(add)
        return self.since(key) or at

    def forget(self, key: str) -> None:
        if self.since(key) is not None:
            gone = sa.delete(ALERTS).where(ALERTS.c.key == key)
            self._database.write(lambda connection: connection.execute(gone))

    def prune(self, before: datetime) -> int:
        old = sa.delete(ALERTS).where(ALERTS.c.at < before)
        if self._database.read(_any_before(before)) is None:
            return 0
        return self._database.write(lambda connection: connection.execute(old).rowcount)


def _any_before(before: datetime) -> Callable[[sa.Connection], str | None]:
    query = sa.select(ALERTS.c.key).where(ALERTS.c.at < before).limit(1)
    return lambda connection: connection.scalar(query)
