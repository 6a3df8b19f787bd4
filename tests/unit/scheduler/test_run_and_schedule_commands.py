"""``lethe runs`` and ``lethe schedule`` over a state store that has something to show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runners.cli import build_app
from runners.runs import owner_here
from schemas.errors import LetheError
from schemas.runs import RunEnd, RunOwner, RunRecord, RunStatus
from schemas.schedule import ScheduleEntry, ScheduleEvent
from stores.state.sql import SqlState, open_state, utc_now

SCHEDULE = "jobs:\n  nightly:\n    cron: '0 2 * * *'\n    command: [replay, --lake, lake]\n"
LONG_ID = "20261121T010022-6be4-2dee47"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlState]:
    monkeypatch.setenv("LETHE_STATE__URL", f"sqlite:///{tmp_path / 'state.db'}")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    monkeypatch.chdir(tmp_path)
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield state
    state.close()


def said(*words: str) -> str:
    result = CliRunner().invoke(build_app(words[0]), [*words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def refused(*words: str) -> str:
    with pytest.raises(LetheError) as caught:
        said(*words)
    return caught.value.message


def add_run(state: SqlState, run_id: str = LONG_ID, **more: Any) -> RunRecord:
    now = utc_now()
    run = RunRecord(run_id, "deliver", RunStatus.QUEUED, owner_here(), now, now)
    state.runs.add(replace(run, **more))
    return run


def add_entry(state: SqlState) -> None:
    lease = state.leases.acquire("schedule:default", "host:4711:99", 60)
    assert lease is not None
    now, run = utc_now(), add_run(state)
    entry = ScheduleEntry(
        "default", "nightly", now, 0, ScheduleEvent.STARTED, now, "x", 1, 3, run.id
    )
    state.history.append(lease, entry)


def test_runs_are_listed_with_ids_that_are_whole(
    state: SqlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    add_run(state, schedule="nightly")
    line = said("runs", "list").splitlines()[1]
    assert line.split() == [LONG_ID, "deliver", "nightly", "queued"]


def test_a_run_whose_process_is_gone_is_shown_as_lost(state: SqlState) -> None:
    add_run(state, owner=RunOwner(owner_here().host, 1, "not its start"))
    assert "lost" in said("runs", "list")
    assert json.loads(said("runs", "show", LONG_ID, "--json"))["status"] == "lost"


def test_runs_are_listed_as_json_a_line_each(state: SqlState) -> None:
    for run_id in ("a", "b"):
        add_run(state, run_id)
    lines = said("runs", "list", "--json", "--limit", "2").splitlines()
    assert {json.loads(line)["id"] for line in lines} == {"a", "b"}


def test_a_failed_run_shows_its_error_and_counts(state: SqlState) -> None:
    add_run(state)
    state.runs.finish(
        LONG_ID, RunEnd(RunStatus.FAILED, 1, "bad_input", "it is gone"), {"dead_letters": 1234}
    )
    shown = said("runs", "show", LONG_ID)
    assert "bad_input: it is gone" in shown
    assert "dead letters  1,234" in shown


def test_who_asked_for_a_run_and_for_which_job_is_shown(state: SqlState) -> None:
    add_run(state, requested_by="ana", organization="org-1", job_id="j1")
    shown = said("runs", "show", LONG_ID)
    assert "ana of org-1" in shown
    assert "j1" in shown


def test_the_log_of_a_run_is_printed(state: SqlState, tmp_path: Path) -> None:
    (tmp_path / "r.log").write_text("what it said\n")
    add_run(state, log_path=str(tmp_path / "r.log"))
    assert said("runs", "show", LONG_ID, "--log").endswith("what it said\n")


@pytest.mark.parametrize("path", [None, "/nowhere/r.log"])
def test_a_log_that_is_not_there_is_an_error(state: SqlState, path: str | None) -> None:
    add_run(state, log_path=path)
    assert "log" in refused("runs", "show", LONG_ID, "--log")


@pytest.mark.parametrize("command", ["show", "cancel"])
def test_an_unknown_run_is_an_error(state: SqlState, command: str) -> None:
    assert "there is no run r9" in refused("runs", command, "r9")


def test_a_lost_run_cannot_be_cancelled(state: SqlState) -> None:
    add_run(state, owner=RunOwner(owner_here().host, 1, "not its start"))
    assert "it is lost" in refused("runs", "cancel", LONG_ID)


def test_a_run_elsewhere_is_asked_to_end(state: SqlState) -> None:
    add_run(state, owner=RunOwner("elsewhere", 1, "1"))
    assert said("runs", "cancel", LONG_ID) == f"run {LONG_ID} is asked to end\n"
    found = state.runs.get(LONG_ID)
    assert found is not None
    assert found.cancel_requested_at is not None


def test_jobs_are_listed_with_leader_and_last_run(state: SqlState) -> None:
    add_entry(state)
    listed = said("schedule", "list", "--config", "schedule.yaml")
    assert listed.splitlines()[1].split()[-1] == "queued"
    assert "leader: process 4711 on host" in listed


def test_history_shows_what_was_done(state: SqlState) -> None:
    add_entry(state)
    line = said("schedule", "history", "--config", "schedule.yaml").splitlines()[1]
    assert line.split()[0] == "nightly"
    assert line.split()[3:] == ["started", "1", "3", LONG_ID, "queued"]


def test_history_is_for_programs_too(state: SqlState) -> None:
    add_entry(state)
    said_line = said("schedule", "history", "--config", "schedule.yaml", "--json")
    assert json.loads(said_line)["run_id"] == LONG_ID


def test_history_of_an_unknown_job_is_refused(state: SqlState) -> None:
    words = ("schedule", "history", "--config", "schedule.yaml", "--job", "weekly")
    assert "choose one of nightly" in refused(*words)
