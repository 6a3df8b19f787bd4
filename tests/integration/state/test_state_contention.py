"""Transactions that meet others are made again; readers and later events wait for nobody."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from schemas.errors import StoreUnavailable
from schemas.events import Event, Topic
from schemas.jobs import JobQuery
from stores.state.database import Database
from stores.state.sql import SqlState, open_state
from stores.state.sql_outbox import insert_events
from tests.integration.state.records import ALL, START, job
from tests.waiting import PATIENCE

WRITERS = 40


@pytest.fixture
def server(postgres: str) -> Iterator[Database]:
    """PostgreSQL with a table of two rows."""
    database = Database(postgres)
    database.write(lambda connection: connection.execute(sa.text("CREATE TABLE t (id int, n int)")))
    database.write(lambda c: c.execute(sa.text("INSERT INTO t VALUES (1, 0), (2, 0)")))
    yield database
    database.close()


class Meeting:
    """Has the first attempts of two threads meet in the middle."""

    def __init__(self) -> None:
        self.attempts: list[str] = []
        self._barrier = threading.Barrier(2)

    def attend(self, name: str) -> None:
        self.attempts.append(name)
        if self.attempts.count(name) == 1:
            self._barrier.wait(PATIENCE)


def both(first: Callable[[], object], second: Callable[[], object]) -> None:
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result(PATIENCE)


def added(connection: sa.Connection, row: int) -> None:
    connection.execute(sa.text("UPDATE t SET n = n + 1 WHERE id = :row"), {"row": row})


def numbers(database: Database) -> list[int]:
    query = sa.text("SELECT n FROM t ORDER BY id")
    return [*database.read(lambda connection: connection.scalars(query).all())]


def test_a_transaction_that_met_another_in_a_deadlock_is_made_again(server: Database) -> None:
    meeting = Meeting()

    def work(name: str, rows: tuple[int, int]) -> Callable[[], None]:
        def change(connection: sa.Connection) -> None:
            added(connection, rows[0])
            meeting.attend(name)
            added(connection, rows[1])

        return lambda: server.write(change)

    both(work("a", (1, 2)), work("b", (2, 1)))
    assert numbers(server) == [2, 2]
    assert len(meeting.attempts) == 3


def test_a_transaction_that_cannot_be_put_in_a_row_is_made_again(server: Database) -> None:
    meeting = Meeting()

    def work(name: str) -> Callable[[], None]:
        def change(connection: sa.Connection) -> None:
            connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
            known = connection.scalar(sa.text("SELECT n FROM t WHERE id = 1"))
            meeting.attend(name)
            connection.execute(sa.text("UPDATE t SET n = :n WHERE id = 1"), {"n": known + 1})

        return lambda: server.write(change)

    both(work("a"), work("b"))
    assert numbers(server) == [2, 0]
    assert len(meeting.attempts) == 3


def test_a_transaction_that_waited_too_long_for_a_lock_is_made_again(
    server: Database, postgres: str
) -> None:
    other = psycopg.connect(postgres)
    other.execute("UPDATE t SET n = 10 WHERE id = 1")
    attempts: list[int] = []

    def change(connection: sa.Connection) -> None:
        attempts.append(1)
        if len(attempts) == 2:
            other.commit()
        connection.execute(sa.text("SET LOCAL lock_timeout = '20ms'"))
        added(connection, 1)

    server.write(change)
    assert (numbers(server), len(attempts)) == ([11, 0], 2)


def test_a_server_that_is_lost_is_unavailable_and_then_found_again(server: Database) -> None:
    end = "SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(StoreUnavailable):
        server.write(lambda connection: connection.execute(sa.text(end)))
    assert numbers(server) == [0, 0]


def event(topic_id: str) -> Event:
    return Event(Topic("dsr", topic_id), 1, None, None, START, {})


def topics(state: SqlState) -> list[str]:
    return [stored.event.topic.id for stored in state.outbox.after(0, 9)]


def test_an_event_is_held_back_until_an_earlier_one_is_there(postgres: str) -> None:
    state = open_state(postgres)
    written, go_on = threading.Event(), threading.Event()

    def slowly(connection: sa.Connection) -> None:
        insert_events(connection, [event("first")])
        written.set()
        go_on.wait(PATIENCE)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(state.database.write, slowly)
        written.wait(PATIENCE)
        second = pool.submit(state.outbox.append, event("second"))
        held_back = [topics(state) for _ in range(20)]
        assert not second.done()
        go_on.set()
        first.result(PATIENCE)
        second.result(PATIENCE)
    assert held_back == [[]] * 20
    assert topics(state) == ["first", "second"]


def test_waiting_goes_on_after_its_connection_was_lost(postgres: str) -> None:
    state = open_state(postgres)
    assert not state.outbox.wait(0, 0.01)
    with psycopg.connect(postgres, autocommit=True) as other:
        listens = "SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND datname = %s"
        name = sa.engine.make_url(postgres).database
        (row,) = other.execute(listens, ("%coalesce(max(place)%", name)).fetchall()
        other.execute("SELECT pg_terminate_backend(%s)", row)
    assert state.outbox.wait(0, PATIENCE)  # as there may be something
    assert not state.outbox.wait(0, 0.01)
    state.outbox.append(event("first"))
    assert state.outbox.wait(0, PATIENCE)


def test_readers_find_a_connection_while_many_wait_to_write(tmp_path: Path) -> None:
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(state.jobs.add, [job(f"j{n}")]) for n in range(WRITERS)]
        found = [state.jobs.count(JobQuery("enrichment"), ALL) for _ in range(50)]
        assert not any(map(Future[None].done, writing))
        other.execute("COMMIT")
        for done in writing:
            done.result(PATIENCE)
    assert found == [0] * 50
    assert state.jobs.count(JobQuery("enrichment"), ALL) == WRITERS
