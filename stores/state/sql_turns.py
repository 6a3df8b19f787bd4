"""Taking turns: of those who look first and then add by what they saw, one does at a time."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa


def take_turn(connection: sa.Connection, *names: str) -> None:
    """Have whoever takes a turn of these names wait until this transaction has ended.

    On SQLite all who write do anyway.
    """
    if connection.dialect.name == "postgresql":
        name = "\0".join(names).encode()
        key = int.from_bytes(hashlib.sha256(name).digest()[:8], signed=True)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
