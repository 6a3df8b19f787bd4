"""Bringing a database's tables up to date. Loads alembic, so only if there is something to do."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from schemas.errors import StoreError

_ONE_AT_A_TIME = 0x6C65746865
"""The key of PostgreSQL's advisory lock: "lethe"."""


def upgrade(connection: sa.Connection) -> None:
    """Run the migrations that are missing, within the connection's transaction.

    Raises ``StoreError`` if the tables are those of a newer Lethe.
    """
    if connection.dialect.name == "postgresql":
        # SQLite's writers wait for each other anyway.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        raise StoreError(
            "the state store was written by a newer Lethe: update this one, or name another store"
        ) from error


def alembic_config(connection: sa.Connection) -> Config:
    """What alembic's commands need to work on this connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
