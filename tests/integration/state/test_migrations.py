"""A database of an earlier Lethe is brought up to date with what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from schemas.audit import AuditDraft
from schemas.dsr import DsrStatus, DueNotice
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


EARLIER_REQUEST = {
    "id": "d1",
    "organization": "org-1",
    "owner": "ana",
    "regulation": "gdpr",
    "type": "erasure",
    "status": "submitted",
    "received_at": 1_795_262_400_123_456,
    "updated_at": 1_795_262_400_123_456,
    "due_at": 1_797_854_400_123_456,
    "subjects": '["a"]',
    "sealed": b"sealed",
    "risk": '{"score": 0.4, "reasons": ["subject_velocity"]}',
    "processor": "one",
    "attempts": 1,
    "version": 1,
}


def kept_at(url: str, revision: str, table: str, row: Mapping[str, object]) -> str:
    """The URL of a database of this revision, with this row in it."""
    database = Database(url)
    columns, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    insert = sa.text(f"INSERT INTO {table} ({columns}) VALUES ({values})")

    def work(connection: sa.Connection) -> None:
        command.upgrade(alembic_config(connection), revision)
        connection.execute(insert, row)

    if database.is_sqlite:
        Path(url.removeprefix("sqlite:///")).parent.mkdir()
    database.write(work)
    database.close()
    return url


@pytest.fixture
def first(sql_url: str) -> str:
    """The URL of a database that knows of runs, leases and schedules alone, with a run in it."""
    return kept_at(sql_url, "first", "runs", EARLIER)


def test_a_run_of_an_earlier_lethe_is_there(first: str) -> None:
    kept = replace(run(counts={"read": 3}), status=RunStatus.RUNNING)
    assert kept.queued_at == START
    assert open_state(first).runs.find(RunQuery(), ALL) == [kept]


def test_a_run_of_an_earlier_lethe_goes_on_and_is_told_of(first: str) -> None:
    state = open_state(first)
    assert state.runs.finish("r1", RunEnd(RunStatus.SUCCEEDED, 0))
    assert there(state.runs.get("r1")).version == 2
    assert [stored.event.version for stored in events_of(state, "run")] == [2]


def test_a_request_of_an_earlier_lethe_is_asked_about_and_goes_on(sql_url: str) -> None:
    state = open_state(kept_at(sql_url, "webhooks", "dsrs", EARLIER_REQUEST))
    [dsr] = state.dsr.to_ask_about(START, 9)
    assert (dsr.due_notice, dsr.group_hash, dsr.lake, dsr.risk.features) == (None, None, None, {})
    noticed = replace(dsr, due_notice=DueNotice(7, 2), status=DsrStatus.IN_PROGRESS)
    assert state.dsr.change(noticed, AuditDraft("drain", "org-1", "dsr.told", "dsr:d1")) is not None
    assert there(state.dsr.get("d1", ALL)).due_notice == DueNotice(7, 2)
