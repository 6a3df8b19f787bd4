"""A SQL database: transactions that are tried again, and errors that are safe to show.

SQLite is used in WAL mode, so that readers never wait; a transaction that writes takes the write
lock when it begins, so that it never fails half way because somebody else wrote meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from schemas.errors import StoreError, StoreUnavailable, UsageError

T = TypeVar("T")

NEWEST = "first"
"""The migration that ``stores.state.tables`` is in step with."""

_BUSY_SECONDS = 1.0
_ATTEMPTS = 8
_CONTENTION = frozenset({"40001", "40P01", "55P03"})
"""PostgreSQL: serialization failure, deadlock, lock not available."""


class Database:
    """One database, by its SQLAlchemy URL; may be used by several threads.

    ``write`` and ``read`` raise ``StoreUnavailable`` and ``StoreError``, with no value in them.
    """

    def __init__(self, url: str) -> None:
        """Raises ``UsageError`` for a URL that is none, or whose driver is not installed."""
        self._engine = _engine(url)
        self._name = self._engine.url.render_as_string(hide_password=True)

    def open(self) -> None:
        """Make the file and its folder if need be, and bring the tables up to date."""
        if self._is_sqlite:
            self._make_folder()
            # In no transaction: it cannot be changed within one.
            self._retried(lambda: self._within("", _use_wal))
        if self.read(_revision) != NEWEST:
            from stores.state.migrate import upgrade

            self.write(upgrade)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in a transaction of its own, again if it met another one."""
        return self._retried(lambda: self._within("BEGIN IMMEDIATE", work))

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """As ``write``, for work that changes nothing."""
        return self._retried(lambda: self._within("BEGIN", work))

    def close(self) -> None:
        self._engine.dispose()

    @property
    def _is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    def _within(self, begin: str, work: Callable[[sa.Connection], T]) -> T:
        with self._engine.connect() as connection:
            connection.execution_options(lethe_begin=begin)
            with connection.begin():
                return work(connection)

    def _retried(self, work: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception(_is_contention),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.02, max=1.0),
            reraise=True,
        )
        try:
            return retrying(work)
        except DBAPIError as error:
            raise self._shown(error) from None
        except SQLAlchemyError as error:
            raise StoreError(f"state store {self._name}: {type(error).__name__}") from None

    def _shown(self, error: DBAPIError) -> StoreError:
        """The error without the statement and its values."""
        reason = (str(error.orig).splitlines() or [type(error.orig).__name__])[0]
        passing = error.connection_invalidated or isinstance(error, sa.exc.OperationalError)
        kind = StoreUnavailable if passing else StoreError
        if isinstance(error, sa.exc.IntegrityError):
            reason = "this is there already"
        return kind(f"state store {self._name}: {reason}")

    def _make_folder(self) -> None:
        folder = Path(self._engine.url.database or "").parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: cannot be made: {error.strerror}") from error


def _engine(url: str) -> sa.Engine:
    try:
        engine = sa.create_engine(url, **_options(url))
    except (ArgumentError, NoSuchModuleError):
        raise UsageError(
            "state.url is no database's: write sqlite:////folder/state.db or "
            "postgresql://user:password@host/database"
        ) from None
    except ImportError:
        raise UsageError(
            "state.url: its driver is missing: pip install 'lethe[postgres]'"
        ) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _leave_transactions_to_us)
        sa.event.listen(engine, "begin", _begin)
    return engine


def _options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": _BUSY_SECONDS}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}


def _leave_transactions_to_us(connection: Any, record: object) -> None:
    """Python's driver would begin transactions late, and none before DDL."""
    del record
    connection.isolation_level = None


def _begin(connection: sa.Connection) -> None:
    statement = connection.get_execution_options()["lethe_begin"]
    if statement:
        connection.exec_driver_sql(statement)


def _use_wal(connection: sa.Connection) -> None:
    connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _is_contention(error: BaseException) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    if getattr(error.orig, "sqlstate", None) in _CONTENTION:
        return True
    return "database is locked" in str(error.orig)


def _revision(connection: sa.Connection) -> str | None:
    """The migration that the tables are at, None if there are none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version
