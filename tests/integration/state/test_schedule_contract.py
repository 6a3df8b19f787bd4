"""What every store of schedules' history does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.errors import StoreError
from schemas.runs import RunOwner, RunStatus
from schemas.schedule import Lease, ScheduleEvent
from stores.state.port import LeaseLost, State
from tests.integration.state.records import START, Clock, entry, run

NAME = "schedule:default"
OTHER = RunOwner("b-host", 12, "7")


@pytest.fixture
def lease(state: State) -> Lease:
    lease = state.leases.acquire(NAME, "a", 3600)
    assert lease is not None
    return lease


def test_an_entry_comes_back_as_it_was_kept(state: State, lease: Lease) -> None:
    kept = entry(event=ScheduleEvent.SKIPPED, missed=3)
    state.history.append(lease, kept)
    assert state.history.last("default", "nightly") == kept


def test_a_job_without_entries_has_no_last_one(state: State) -> None:
    assert state.history.last("default", "nightly") is None


def test_an_entry_brings_the_run_that_it_starts(state: State, lease: Lease) -> None:
    state.history.append(lease, entry(run_id="r1"), run("r1"))
    assert state.runs.get("r1") == run("r1")


def test_one_due_time_is_not_started_twice(state: State, lease: Lease) -> None:
    state.history.append(lease, entry(run_id="r1"), run("r1"))
    with pytest.raises(StoreError):
        state.history.append(lease, entry(run_id="r2"), run("r2"))
    assert state.runs.get("r2") is None


def test_another_attempt_is_another_entry_and_the_last_one(state: State, lease: Lease) -> None:
    state.history.append(lease, entry())
    state.history.append(lease, entry(sequence=1, attempt=2))
    assert state.history.last("default", "nightly") == entry(sequence=1, attempt=2)


def test_who_lost_the_lease_writes_nothing(state: State, lease: Lease, clock: Clock) -> None:
    clock.pass_by(3601)
    with pytest.raises(LeaseLost):
        state.history.append(lease, entry(run_id="r1"), run("r1"))
    assert state.runs.get("r1") is None
    assert state.history.last("default", "nightly") is None


def test_an_older_token_writes_nothing_while_its_holder_leads_again(
    state: State, lease: Lease, clock: Clock
) -> None:
    clock.pass_by(3601)
    assert state.leases.acquire(NAME, "a", 3600) is not None
    with pytest.raises(LeaseLost):
        state.history.append(lease, entry())


def test_a_queued_run_is_handed_over_and_stays_queued(state: State, lease: Lease) -> None:
    state.history.append(lease, entry(run_id="r1"), run("r1"))
    state.history.hand_over(lease, "r1", OTHER)
    found = state.runs.get("r1")
    assert found is not None
    assert (found.owner, found.status) == (OTHER, RunStatus.QUEUED)


def test_who_lost_the_lease_hands_nothing_over(state: State, lease: Lease, clock: Clock) -> None:
    state.history.append(lease, entry(run_id="r1"), run("r1"))
    clock.pass_by(3601)
    with pytest.raises(LeaseLost):
        state.history.hand_over(lease, "r1", OTHER)
    assert state.runs.get("r1") == run("r1")


def test_entries_come_newest_first_of_one_job_or_all(state: State, lease: Lease) -> None:
    kept = [entry(0), entry(1, job="weekly"), entry(2), entry(3, schedule="other")]
    for each in kept:
        state.history.append(lease, each)
    assert state.history.entries("default", None, 9) == [kept[2], kept[1], kept[0]]
    assert state.history.entries("default", "nightly", 1) == [kept[2]]


def test_old_entries_are_forgotten_but_not_a_jobs_newest(state: State, lease: Lease) -> None:
    kept = [entry(0), entry(1), entry(2), entry(0, job="weekly"), entry(0, schedule="other")]
    for each in kept:
        state.history.append(lease, each)
    assert state.history.prune("default", START + timedelta(hours=1)) == 2
    assert state.history.entries("default", None, 9) == [kept[2], kept[3]]
    assert state.history.entries("other", None, 9) == [kept[4]]
