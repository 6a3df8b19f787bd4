"""What every store of runs does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.access import Reach
from schemas.errors import StoreError
from schemas.runs import RunEnd, RunOwner, RunQuery, RunStatus
from stores.state.port import State
from tests.integration.state.records import OWNER, START, Clock, run

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
    assert [found.id for found in state.runs.find(RunQuery(3), Reach(None))] == ["r3", "r2", "r1"]


def test_only_runs_that_ended_before_are_forgotten(state: State, clock: Clock) -> None:
    for name in ("old", "new", "alive"):
        state.runs.add(run(name))
    state.runs.finish("old", SUCCESS)
    clock.pass_by(60)
    state.runs.finish("new", SUCCESS)
    assert [gone.id for gone in state.runs.prune(clock.now)] == ["old"]
    assert {found.id for found in state.runs.find(RunQuery(9), Reach(None))} == {"new", "alive"}


STEPS = st.lists(st.sampled_from(["begin", "beat", "cancel", *FINAL]), max_size=8)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_status_never_goes_back(state: State, steps: list[str]) -> None:
    """Whatever is asked of a run, in whatever order, and by whomever."""
    run_id = f"r{len(state.runs.find(RunQuery(100_000), Reach(None)))}"
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
