"""A database of an earlier Lethe is brought up to date with what is in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from schemas.runs import RunEnd, RunQuery, RunStatus
from stores.state.database import Database
from stores.state.migrate import alembic_config
from stores.state.sql import open_state
from tests.integration.state.records import ALL, OWNER, START, events_of, run, there

EARLIER = {
    "id": "r1",
    "kind": "deliver",
    "status": "running",
    "owner_host": OWNER.host,
    "owner_pid": OWNER.pid,
    "owner_started": OWNER.started,
    "queued_at": 1_795_262_400_123_456,
    "seen_at": 1_795_262_400_123_456,
    "counts": '{"read": 3}',
}


@pytest.fixture
def first(sql_url: str, tmp_path: Path) -> str:
    """The URL of a database that knows of runs, leases and schedules alone, with a run in it."""
    database = Database(sql_url)
    columns, values = ", ".join(EARLIER), ", ".join(f":{name}" for name in EARLIER)
    insert = sa.text(f"INSERT INTO runs ({columns}) VALUES ({values})")

    def work(connection: sa.Connection) -> None:
        command.upgrade(alembic_config(connection), "first")
        connection.execute(insert, EARLIER)

    (tmp_path / "folder").mkdir()
    database.write(work)
    database.close()
    return sql_url


def test_a_run_of_an_earlier_lethe_is_there(first: str) -> None:
    kept = replace(run(counts={"read": 3}), status=RunStatus.RUNNING)
    assert kept.queued_at == START
    assert open_state(first).runs.find(RunQuery(), ALL) == [kept]


def test_a_run_of_an_earlier_lethe_goes_on_and_is_told_of(first: str) -> None:
    state = open_state(first)
    assert state.runs.finish("r1", RunEnd(RunStatus.SUCCEEDED, 0))
    assert there(state.runs.get("r1")).version == 2
    assert [stored.event.version for stored in events_of(state, "run")] == [2]
