"""What every store of runs does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.access import Reach
from schemas.errors import StoreError
from schemas.runs import RunCursor, RunEnd, RunOwner, RunQuery, RunStatus, shown_run
from stores.state.port import State
from tests.integration.state.records import (
    ALL,
    OWNER,
    START,
    AnyState,
    Clock,
    entry,
    events_of,
    run,
    there,
)

OTHER = RunOwner("b-host", 12, "7")
FINAL = [status for status in RunStatus if status.is_final]
SUCCESS = RunEnd(RunStatus.SUCCEEDED, 0)


def status_of(state: State, run_id: str = "r1") -> RunStatus:
    found = state.runs.get(run_id)
    assert found is not None
    return found.status


def test_a_run_comes_back_as_it_was_kept(state: State) -> None:
    kept = run(schedule="nightly", log_path="/logs/r1.log", counts={"read": 3})
    state.runs.add(kept)
    assert state.runs.get("r1") == kept


def test_an_unknown_run_is_none(state: State) -> None:
    assert state.runs.get("r1") is None


def test_an_id_is_taken_once_and_the_error_shows_no_value(state: State) -> None:
    state.runs.add(run())
    with pytest.raises(StoreError, match="there already") as caught:
        state.runs.add(run(kind="secret"))
    assert "secret" not in caught.value.message


def test_a_run_that_begins_is_its_new_owners(state: State, clock: Clock) -> None:
    state.runs.add(run())
    clock.pass_by(2)
    assert state.runs.begin("r1", OTHER)
    found = state.runs.get("r1")
    assert found is not None
    assert (found.status, found.owner, found.started_at) == ("running", OTHER, clock.now)


def test_beginning_twice_keeps_the_first_time(state: State, clock: Clock) -> None:
    state.runs.add(run())
    state.runs.begin("r1", OTHER)
    clock.pass_by(5)
    assert state.runs.begin("r1", OTHER)
    found = state.runs.get("r1")
    assert found is not None
    assert (found.started_at, found.seen_at) == (START, clock.now)


def test_an_end_is_kept_with_its_time_error_and_counts(state: State, clock: Clock) -> None:
    state.runs.add(run())
    state.runs.begin("r1", OWNER)
    clock.pass_by(9)
    assert state.runs.finish("r1", RunEnd(RunStatus.FAILED, 1, "bad_input", "gone"), {"read": 5})
    found = state.runs.get("r1")
    assert found is not None
    assert (found.ended_at, found.exit_status) == (clock.now, 1)
    assert (found.error_code, found.error_message) == ("bad_input", "gone")
    assert found.counts == {"read": 5}


def test_an_end_without_counts_keeps_those_there_are(state: State) -> None:
    state.runs.add(run(counts={"read": 3}))
    state.runs.finish("r1", SUCCESS)
    found = state.runs.get("r1")
    assert found is not None
    assert found.counts == {"read": 3}


def test_a_sign_of_life_brings_time_and_counts(state: State, clock: Clock) -> None:
    state.runs.add(run())
    clock.pass_by(15)
    assert state.runs.beat("r1", {"read": 7})
    found = state.runs.get("r1")
    assert found is not None
    assert (found.seen_at, found.counts) == (clock.now, {"read": 7})


@pytest.mark.parametrize("status", FINAL)
def test_a_run_that_has_ended_cannot_be_changed(state: State, status: RunStatus) -> None:
    state.runs.add(run())
    state.runs.finish("r1", RunEnd(status))
    before = state.runs.get("r1")
    changed = [
        state.runs.begin("r1", OTHER),
        state.runs.beat("r1", {"read": 1}),
        state.runs.request_cancel("r1"),
        state.runs.finish("r1", SUCCESS),
    ]
    assert changed == [False] * 4
    assert state.runs.get("r1") == before


def test_nothing_is_done_about_an_unknown_run(state: State) -> None:
    runs = state.runs
    assert not runs.begin("r1", OWNER)
    assert not runs.finish("r1", SUCCESS)


def test_a_request_to_cancel_is_seen_by_the_owner(state: State, clock: Clock) -> None:
    state.runs.add(run())
    assert state.runs.request_cancel("r1")
    found = state.runs.get("r1")
    assert found is not None
    assert found.cancel_requested_at == clock.now


def test_newest_runs_come_first(state: State) -> None:
    for number in range(4):
        state.runs.add(run(f"r{number}", queued_at=START + timedelta(microseconds=number)))
    assert [found.id for found in state.runs.find(RunQuery(3), ALL)] == ["r3", "r2", "r1"]


def test_only_runs_that_ended_before_are_forgotten(state: State, clock: Clock) -> None:
    for name in ("old", "new", "alive"):
        state.runs.add(run(name))
    state.runs.finish("old", SUCCESS)
    clock.pass_by(60)
    state.runs.finish("new", SUCCESS)
    assert [gone.id for gone in state.runs.prune(clock.now)] == ["old"]
    assert {found.id for found in state.runs.find(RunQuery(9), ALL)} == {"new", "alive"}


ASKED = {"organization": "org-1", "requested_by": "ana", "job_id": "j1"}
QUERY = RunQuery()


def test_who_asked_for_a_run_is_kept(state: State) -> None:
    state.runs.add(run(**ASKED))
    assert state.runs.get("r1") == run(**ASKED)


@pytest.mark.parametrize("reach", [Reach("org-1"), Reach("org-1", "ana"), ALL])
def test_a_run_is_visible_within_reach(state: State, reach: Reach) -> None:
    state.runs.add(run(**ASKED))
    assert state.runs.visible("r1", reach) == run(**ASKED)
    assert state.runs.find(QUERY, reach) == [run(**ASKED)]


@pytest.mark.parametrize("reach", [Reach("org-2"), Reach("org-1", "ben")])
def test_a_run_out_of_reach_is_not_there(state: State, reach: Reach) -> None:
    state.runs.add(run(**ASKED))
    assert state.runs.visible("r1", reach) is None
    assert state.runs.find(QUERY, reach) == []


def test_a_run_that_nobody_asked_the_service_for_is_in_no_organization(state: State) -> None:
    state.runs.add(run())
    assert state.runs.find(QUERY, Reach("org-1")) == []
    assert state.runs.find(QUERY, ALL) == [run()]


def test_runs_are_found_by_status_kind_and_job(state: State) -> None:
    for found in (run("r1", kind="job", **ASKED), run("r2", kind="job"), run("r3", **ASKED)):
        state.runs.add(found)
    state.runs.begin("r2", OWNER)
    assert ids(state, RunQuery(status=RunStatus.RUNNING)) == ["r2"]
    assert {*ids(state, RunQuery(kind="job"))} == {"r1", "r2"}
    assert ids(state, RunQuery(kind="job", job_id="j1")) == ["r1"]


def test_pages_by_cursor_hold_each_run_once_while_others_are_added(state: State) -> None:
    for number in range(5):
        state.runs.add(run(f"r{number}", queued_at=START + timedelta(seconds=number // 2)))
    first = state.runs.find(RunQuery(limit=2), ALL)
    state.runs.add(run("new", queued_at=START + timedelta(hours=1)))
    rest = RunQuery(after=RunCursor(first[-1].queued_at, first[-1].id))
    assert [found.id for found in first] + ids(state, rest) == ["r4", "r3", "r2", "r1", "r0"]


def test_an_offset_skips_runs(state: State) -> None:
    for number in range(4):
        state.runs.add(run(f"r{number}", queued_at=START + timedelta(seconds=number)))
    assert ids(state, RunQuery(limit=2, offset=1)) == ["r2", "r1"]


def ids(state: State, query: RunQuery) -> list[str]:
    return [found.id for found in state.runs.find(query, ALL)]


def test_changes_of_a_run_are_told_in_order(state: AnyState) -> None:
    state.runs.add(run(**ASKED))
    state.runs.begin("r1", OTHER)
    state.runs.beat("r1", {"read": 3})
    state.runs.request_cancel("r1")
    state.runs.finish("r1", RunEnd(RunStatus.CANCELLED, 130))
    events = [stored.event for stored in events_of(state, "run")]
    assert [event.version for event in events] == [1, 2, 3, 4, 5]
    assert {(event.organization, event.owner) for event in events} == {("org-1", "ana")}
    assert events[-1].payload == shown_run(there(state.runs.get("r1")))


def test_a_mere_sign_of_life_is_not_told(state: AnyState, clock: Clock) -> None:
    state.runs.add(run())
    clock.pass_by(15)
    assert state.runs.beat("r1")
    assert there(state.runs.get("r1")).version == 1
    assert len(events_of(state, "run")) == 1


def test_a_run_is_told_of_with_the_entry_that_starts_it(state: AnyState) -> None:
    lease = there(state.leases.acquire("schedule:default", "a", 30))
    state.history.append(lease, entry(), run())
    assert [stored.event.version for stored in events_of(state, "run")] == [1]


STEPS = st.lists(st.sampled_from(["begin", "beat", "cancel", *FINAL]), max_size=8)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_status_never_goes_back(state: State, steps: list[str]) -> None:
    """Whatever is asked of a run, in whatever order, and by whomever."""
    run_id = f"r{len(state.runs.find(RunQuery(100_000), ALL))}"
    state.runs.add(run(run_id))
    before = RunStatus.QUEUED
    for step in steps:
        accepted = do(state, run_id, step)
        after = status_of(state, run_id)
        assert after is before or before.may_become(after)
        assert accepted is not before.is_final
        before = after


def do(state: State, run_id: str, step: str) -> bool:
    if step == "begin":
        return state.runs.begin(run_id, OWNER)
    if step == "beat":
        return state.runs.beat(run_id)
    if step == "cancel":
        return state.runs.request_cancel(run_id)
    return state.runs.finish(run_id, RunEnd(RunStatus(step)))
