"""A SQL database: transactions that are tried again, and errors that are safe to show.

SQLite is used in WAL mode, so that readers never wait; a transaction that writes takes the write
lock when it begins, so that it never fails half way because somebody else wrote meanwhile. Threads
of one process queue up for it at a lock of their own, before they take a connection: writers that
wait would keep connections from readers. Between processes there is no queue, only looking again;
SQLite would sleep for longer and longer in between, 100 ms in the end, for a lock that is mostly
held for one.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from schemas.errors import StoreError, StoreUnavailable, UsageError
from stores.state.port import AlreadyThere

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

NEWEST = "lake"
"""The migration that ``stores.state.tables`` is in step with."""

_BUSY_SECONDS = 1.0
_LOOK_EVERY = 0.001
"""Seconds between two looks whether another process still writes; up to twice as many."""

_ATTEMPTS = 8
_QUEUE_SECONDS = 15.0
"""How long a thread waits for the others of its process that write."""

_POOL = {"pool_size": 8, "max_overflow": 24, "pool_timeout": 15.0}
"""Connections that are kept, and those that more threads than these have for a moment."""

_CONTENTION = frozenset({"40001", "40P01", "55P03"})
"""PostgreSQL: serialization failure, deadlock, lock not available."""

_POSTGRES = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "options": "-c lock_timeout=5s -c idle_in_transaction_session_timeout=20s",
}
"""Nobody waits for ever: for an answer, a lock, or a transaction of a process that stands still."""

_LOCK = "BEGIN IMMEDIATE"
_LOCKED = "database is locked"
"""What SQLite says where another one writes."""

_BEGIN: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "sqlite": {
        "read": ("BEGIN",),
        "write": ("PRAGMA synchronous=FULL", _LOCK),
        "write lightly": ("PRAGMA synchronous=NORMAL", _LOCK),
    },
    "postgresql": {"write lightly": ("SET LOCAL synchronous_commit TO off",)},
}
"""What a transaction of each kind begins with; on PostgreSQL the driver begins it."""


class Database:
    """One database, by its SQLAlchemy URL; may be used by several threads.

    ``write`` and ``read`` raise ``StoreUnavailable`` and ``StoreError``, with no value in them.
    """

    def __init__(self, url: str) -> None:
        """Raises ``UsageError`` for a URL that is none, or whose driver is not installed."""
        self._engine = _engine(url)
        self._name = self._engine.url.render_as_string(hide_password=True)
        self._writing = threading.Lock()

    def open(self) -> None:
        """Make the file and its folder if need be, and bring the tables up to date."""
        if self.is_sqlite:
            self._make_folder()
            # In no transaction: it cannot be changed within one.
            self._retried(lambda: self._within("set up", _use_wal))
        if self.read(_revision) != NEWEST:
            from stores.state.migrate import upgrade

            self.write(upgrade)

    def write(self, work: Callable[[sa.Connection], T], durable: bool = True) -> T:
        """Do ``work`` in a transaction of its own, again if it met another one.

        What is not ``durable`` survives the death of all processes, but maybe not a power cut: it
        does not wait for the disk.
        """
        kind = "write" if durable else "write lightly"

        def attempt() -> T:
            with self._turn():
                return self._within(kind, work)

        return self._retried(attempt)

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """As ``write``, for work that changes nothing."""
        return self._retried(lambda: self._within("read", work))

    def own_connection(self) -> PoolProxiedConnection:
        """A connection for one thread that keeps it, and begins transactions itself."""
        with self._errors_shown():
            connection = self._engine.raw_connection()
            connection.detach()
            return connection

    def close(self) -> None:
        self._engine.dispose()

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    def _turn(self) -> AbstractContextManager[None]:
        """This process's turn to write, where there is one writer at a time anyway."""
        return self._queued() if self.is_sqlite else nullcontext()

    @contextmanager
    def _queued(self) -> Iterator[None]:
        if not self._writing.acquire(timeout=_QUEUE_SECONDS):
            raise StoreUnavailable(f"state store {self._name}: too many wait to write to it")
        try:
            yield
        finally:
            self._writing.release()

    def _within(self, kind: str, work: Callable[[sa.Connection], T]) -> T:
        with self._engine.connect() as connection:
            connection.execution_options(lethe_kind=kind)
            with connection.begin():
                return work(connection)

    def _retried(self, work: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception(_is_contention),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.02, max=1.0),
            reraise=True,
        )
        with self._errors_shown():
            return retrying(work)

    @contextmanager
    def _errors_shown(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._shown(error) from None
        except sa.exc.TimeoutError:
            raise StoreUnavailable(f"state store {self._name}: no connection is free") from None
        except SQLAlchemyError as error:
            raise StoreError(f"state store {self._name}: {type(error).__name__}") from None

    def _shown(self, error: DBAPIError) -> StoreError:
        """The error without the statement and its values."""
        reason = (str(error.orig).splitlines() or [type(error.orig).__name__])[0]
        passing = error.connection_invalidated or isinstance(error, sa.exc.OperationalError)
        kind = StoreUnavailable if passing else StoreError
        if isinstance(error, sa.exc.IntegrityError):
            kind, reason = AlreadyThere, "this is there already"
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
        sa.event.listen(engine, "do_execute", _wait_for_lock)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {**_POOL, "connect_args": {"timeout": _BUSY_SECONDS}}
    return {**_POOL, "pool_pre_ping": True, "connect_args": _POSTGRES}


def _leave_transactions_to_us(connection: Any, record: object) -> None:
    """Python's driver would begin transactions late, and none before DDL."""
    del record
    connection.isolation_level = None


def _begin(connection: sa.Connection) -> None:
    kind = connection.get_execution_options()["lethe_kind"]
    for statement in _BEGIN[connection.dialect.name].get(kind, ()):
        connection.exec_driver_sql(statement)


def _wait_for_lock(cursor: Any, statement: str, parameters: object, context: object) -> bool:
    """Run the statement that takes SQLite's write lock, and no other one; whether it did.

    Raises if another process keeps the lock for too long.
    """
    del parameters, context
    if statement != _LOCK:
        return False
    until = time.monotonic() + _BUSY_SECONDS
    cursor.execute("PRAGMA busy_timeout=0")
    try:
        while not _is_locked(cursor, is_last=time.monotonic() >= until):
            time.sleep(random.uniform(_LOOK_EVERY, 2 * _LOOK_EVERY))
    finally:
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000:.0f}")
    return True


def _is_locked(cursor: Any, is_last: bool) -> bool:
    try:
        cursor.execute(_LOCK)
    except sqlite3.OperationalError as error:
        if is_last or _LOCKED not in str(error):
            raise
        return False
    return True


def _use_wal(connection: sa.Connection) -> None:
    connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def insert_into(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that can say what is to be done about a row that is there already."""
    # Loaded when needed: the other database's dialect costs a command's start some 20 ms.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def _is_contention(error: BaseException) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    if getattr(error.orig, "sqlstate", None) in _CONTENTION:
        return True
    return _LOCKED in str(error.orig)


def _revision(connection: sa.Connection) -> str | None:
    """The migration that the tables are at, None if there are none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version
