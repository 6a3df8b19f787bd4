"""The dispatcher: who starts a job's run, when, and what becomes of jobs whose run is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from runners.launcher import Launch
from runners.runs import owner_here
from schemas.access import Reach
from schemas.errors import StoreError, StoreUnavailable
from schemas.jobs import Job, JobEnd, JobStatus
from schemas.runs import RunEnd, RunOwner, RunRecord, RunStatus
from service.dispatch.dispatcher import LEASE_SECONDS, Dispatcher, Post
from stores.state.sql import SqlState, open_state
from stores.state.sql_runs import SqlRuns
from tests.integration.service.enrichment_requests import BEGIN, job

ALL = Reach(None)
GONE = replace(owner_here(), pid=2**22 + 1, started="1")
"""A process of this machine that is no more."""


class Clock:
    """Time as a test sets it."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now


@dataclass
class FakeChild:
    """A process that is only said to be there; it has an owner like any other."""

    owner: RunOwner
    opened: bool = False
    turned_away: bool = False
    exit_status: int | None = None

    def open_gate(self) -> None:
        self.opened = True

    def turn_away(self) -> None:
        self.turned_away = True

    def status(self) -> int | None:
        return self.exit_status

    def send(self, number: int) -> None:
        """Nobody is there."""


@dataclass
class FakeLauncher:
    """Starts nothing, and remembers what it was to start."""

    fails: bool = False
    launched: list[Launch] = field(default_factory=list)
    children: list[FakeChild] = field(default_factory=list)

    def start(self, launch: Launch) -> FakeChild:
        if self.fails:
            raise StoreError("there are too many processes")
        self.launched.append(launch)
        # A living process of another machine: nothing on this one is signalled.
        self.children.append(FakeChild(RunOwner("elsewhere", 1, "1")))
        return self.children[-1]

    @property
    def jobs(self) -> list[str]:
        return [launch.words[1] for launch in self.launched]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path, clock: Clock) -> Iterator[SqlState]:
    with closing(open_state(f"sqlite:///{tmp_path / 'state.db'}", clock)) as opened:
        yield opened


@pytest.fixture
def launcher() -> FakeLauncher:
    return FakeLauncher()


@pytest.fixture
def post(state: SqlState, launcher: FakeLauncher, clock: Clock, tmp_path: Path) -> Post:
    return Post(state, launcher, clock, tmp_path / "logs", 2, 3, lambda: None)


@pytest.fixture
def dispatcher(post: Post) -> Dispatcher:
    return Dispatcher(post, "one")


def seen(state: SqlState, number: int) -> Job:
    found = state.jobs.get(f"job-{number:04d}", ALL)
    assert found is not None
    return found


def run_of(state: SqlState, number: int) -> RunRecord:
    found = state.runs.get(str(seen(state, number).run_id))
    assert found is not None
    return found


def test_oldest_jobs_are_started_as_many_as_may_run(
    dispatcher: Dispatcher, state: SqlState, launcher: FakeLauncher
) -> None:
    state.jobs.add([job(number) for number in (5, 3, 1, 9)])
    dispatcher.step()
    dispatcher.step()
    assert launcher.jobs == ["job-0001", "job-0003"]


def test_next_one_is_started_when_one_has_ended(
    dispatcher: Dispatcher, state: SqlState, launcher: FakeLauncher
) -> None:
    state.jobs.add([job(number) for number in (1, 2, 3)])
    dispatcher.step()
    state.jobs.request_cancel("job-0001", ALL, at_once=False)
    state.runs.finish(str(seen(state, 1).run_id), RunEnd(RunStatus.CANCELLED))
    dispatcher.step()
    dispatcher.step()
    assert seen(state, 1).status is JobStatus.CANCELLED
    assert launcher.jobs[2:] == ["job-0003"]


def test_run_tells_whose_it_is_and_for_which_job(
    dispatcher: Dispatcher, state: SqlState, launcher: FakeLauncher
) -> None:
    state.jobs.add([job(1)])
    dispatcher.step()
    run = run_of(state, 1)
    assert (run.organization, run.requested_by, run.job_id) == ("org-1", "user-1", "job-0001")
    assert (run.status, run.owner) == (RunStatus.RUNNING, launcher.children[0].owner)
    assert launcher.children[0].opened


def test_process_whose_job_was_cancelled_meanwhile_is_turned_away(
    dispatcher: Dispatcher, state: SqlState, launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.jobs.add([job(1)])
    add = SqlRuns.add

    def cancel_first(runs: SqlRuns, run: RunRecord) -> None:
        state.jobs.request_cancel("job-0001", ALL, at_once=True)
        add(runs, run)

    monkeypatch.setattr(SqlRuns, "add", cancel_first)
    dispatcher.step()
    child = launcher.children[0]
    assert (child.opened, child.turned_away) == (False, True)
    assert seen(state, 1).status is JobStatus.CANCELLED


def test_job_begun_by_a_dispatcher_that_died_before_the_gate_opened_is_started_again(
    dispatcher: Dispatcher, state: SqlState, launcher: FakeLauncher
) -> None:
    state.jobs.add([job(1)])
    state.runs.add(RunRecord("run-1", "enrichment", RunStatus.QUEUED, GONE, BEGIN, BEGIN))
    state.jobs.begin("job-0001", "run-1")
    dispatcher.step()
    dispatcher.step()
    assert (seen(state, 1).attempts, launcher.jobs) == (2, ["job-0001"])
    lost = state.runs.get("run-1")
    assert lost is not None
    assert lost.status is RunStatus.LOST


def test_store_that_fails_while_a_run_is_begun_leaves_no_process(
    dispatcher: Dispatcher, state: SqlState, launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.jobs.add([job(1)])

    def fail(*_: object) -> bool:
        raise StoreUnavailable("locked")

    monkeypatch.setattr(SqlRuns, "begin", fail)
    with pytest.raises(StoreUnavailable):
        dispatcher.step()
    child = launcher.children[0]
    assert (child.opened, child.turned_away) == (False, True)


def test_process_that_cannot_be_started_leaves_the_job_queued(
    dispatcher: Dispatcher, state: SqlState, launcher: FakeLauncher
) -> None:
    state.jobs.add([job(1)])
    launcher.fails = True
    with pytest.raises(StoreError):
        dispatcher.step()
    assert (seen(state, 1).status, seen(state, 1).attempts) == (JobStatus.QUEUED, 0)


def test_job_that_ends_while_it_is_looked_at_is_not_said_to_be_queued_again(
    dispatcher: Dispatcher, state: SqlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.jobs.add([job(1)])
    dispatcher.step()
    get = SqlRuns.get

    def end_first(runs: SqlRuns, run_id: str) -> RunRecord | None:
        state.jobs.finish("job-0001", run_id, JobEnd(JobStatus.COMPLETED, "out"))
        state.runs.finish(run_id, RunEnd(RunStatus.SUCCEEDED, 0))
        return get(runs, run_id)

    monkeypatch.setattr(SqlRuns, "get", end_first)
    with capture_logs() as lines:
        dispatcher.step()
    assert (lines, seen(state, 1).status) == ([], JobStatus.COMPLETED)


def test_run_that_dies_each_time_fails_the_job_with_a_reason(
    dispatcher: Dispatcher, state: SqlState, launcher: FakeLauncher
) -> None:
    state.jobs.add([job(1)])
    for _ in range(3):
        dispatcher.step()
        launcher.children[-1].exit_status = -9
        dispatcher.step()
    ended = seen(state, 1)
    assert (ended.status, ended.error_code, ended.attempts) == (JobStatus.FAILED, "run_lost", 3)


def test_error_of_the_last_run_is_the_reason(
    dispatcher: Dispatcher, state: SqlState, launcher: FakeLauncher
) -> None:
    state.jobs.add([job(1)])
    for _ in range(3):
        dispatcher.step()
        end = RunEnd(RunStatus.FAILED, 1, "store_unavailable", "/secret/path: locked")
        state.runs.finish(str(seen(state, 1).run_id), end)
        dispatcher.step()
    ended = seen(state, 1)
    assert ended.error_code == "store_unavailable"
    assert "/secret" not in str(ended.error_message)


def test_cancelled_job_has_its_run_asked_to_end(
    dispatcher: Dispatcher, state: SqlState, launcher: FakeLauncher
) -> None:
    state.jobs.add([job(1)])
    dispatcher.step()
    state.jobs.request_cancel("job-0001", ALL, at_once=True)
    dispatcher.step()
    assert run_of(state, 1).cancel_requested_at is not None
    assert seen(state, 1).status is JobStatus.RUNNING


def test_deleted_job_has_its_run_asked_to_end(dispatcher: Dispatcher, state: SqlState) -> None:
    state.jobs.add([job(1)])
    dispatcher.step()
    run = run_of(state, 1)
    state.jobs.delete("job-0001", ALL)
    dispatcher.step()
    asked = state.runs.get(run.id)
    assert asked is not None
    assert asked.cancel_requested_at is not None


def test_run_that_was_cancelled_by_itself_cancels_the_job(
    dispatcher: Dispatcher, state: SqlState
) -> None:
    state.jobs.add([job(1)])
    dispatcher.step()
    state.runs.finish(run_of(state, 1).id, RunEnd(RunStatus.CANCELLED, 130))
    dispatcher.step()
    assert seen(state, 1).status is JobStatus.CANCELLED


def test_run_of_a_machine_that_is_silent_is_lost(
    dispatcher: Dispatcher, state: SqlState, clock: Clock
) -> None:
    state.jobs.add([job(1)])
    dispatcher.step()
    clock.now += timedelta(minutes=3)
    dispatcher.step()  # the lease has run out, too
    dispatcher.step()
    assert seen(state, 1).status is JobStatus.QUEUED


def test_one_of_two_leads(post: Post, state: SqlState, launcher: FakeLauncher) -> None:
    first, second = Dispatcher(post, "one"), Dispatcher(post, "two")
    state.jobs.add([job(1)])
    for each in (first, second):
        each.step()
    assert (first.leads, second.leads, launcher.jobs) == (True, False, ["job-0001"])


def test_another_leads_when_the_leader_is_no_more(
    post: Post, state: SqlState, launcher: FakeLauncher, clock: Clock
) -> None:
    first, second = Dispatcher(post, "one"), Dispatcher(post, "two")
    first.step()
    clock.now += timedelta(seconds=LEASE_SECONDS + 1)
    state.jobs.add([job(1)])
    second.step()
    assert launcher.jobs == ["job-0001"]


def test_leader_that_was_paused_beyond_its_lease_starts_nothing(
    post: Post, state: SqlState, launcher: FakeLauncher, clock: Clock
) -> None:
    first, second = Dispatcher(post, "one"), Dispatcher(post, "two")
    first.step()
    clock.now += timedelta(seconds=LEASE_SECONDS + 1)
    second.step()
    state.jobs.add([job(1)])
    first.step()
    assert (first.leads, launcher.jobs) == (False, [])
