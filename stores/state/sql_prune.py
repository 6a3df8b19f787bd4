"""Forgetting rows a few at a time, so that no other writer waits for long."""

from __future__ import annotations

import sqlalchemy as sa

from stores.state.database import Database

_AT_ONCE = 2_000


def forget(database: Database, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
    """Delete the rows of a table that a condition holds for; how many."""
    total, gone = 0, _AT_ONCE
    while gone == _AT_ONCE:
        gone = database.write(lambda connection: _forget_some(connection, table, which))
        total += gone
    return total


def _forget_some(connection: sa.Connection, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
    key = sa.tuple_(*table.primary_key.columns)
    some = sa.select(*table.primary_key.columns).where(which).limit(_AT_ONCE)
    return connection.execute(sa.delete(table).where(key.in_(some))).rowcount
