"""What is due, told from the jobs, what was done about them, and the time alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.scheduler.config import Schedule
from runners.scheduler.plan import LONGEST_DELAY, Action, JobState, due, next_due
from schemas.runs import RunOwner, RunRecord, RunStatus
from schemas.schedule import ScheduleEntry, ScheduleEvent

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STARTED = ScheduleEvent.STARTED


def schedule(cron: str = "*/15 * * * *", zone: str = "UTC", **more: Any) -> Schedule:
    job = {"cron": cron, "command": ["log", "--lake", "lake"], "timezone": zone, **more}
    return Schedule.model_validate({"jobs": {"job": job}})


def entry(
    due_at: datetime = NOON, expression: str = "*/15 * * * * UTC", **more: Any
) -> ScheduleEntry:
    known = {"sequence": 0, "event": STARTED, "at": due_at, "attempt": 1, "run_id": "r1"}
    return ScheduleEntry("default", "job", due_at, expression=expression, **{**known, **more})


def run(status: RunStatus, ended_at: datetime = NOON, **more: Any) -> RunRecord:
    times = {"queued_at": NOON, "seen_at": NOON, "started_at": NOON}
    ended = ended_at if status.is_final else None
    known = {**times, "ended_at": ended, **more}
    return RunRecord("r1", "log", status, RunOwner("h", 1, "1"), **known)


def action(plan: Schedule, state: JobState, now: datetime) -> Action | None:
    return next(iter(due(plan, {"job": state}, now)), None)


def started(plan: Schedule, state: JobState, now: datetime) -> Action:
    found = action(plan, state, now)
    assert found is not None
    assert found.event is STARTED
    return found


DONE = JobState(entry(), run(RunStatus.SUCCEEDED))


def test_a_new_job_is_noted_and_nothing_was_due_before() -> None:
    found = action(schedule(), JobState(), NOON)
    assert found == Action("job", ScheduleEvent.ADDED, NOON, "*/15 * * * * UTC")


def test_nothing_is_due_before_its_time() -> None:
    assert action(schedule(), DONE, NOON + 15 * MINUTE - timedelta(microseconds=1)) is None


def test_a_job_is_due_at_its_time() -> None:
    found = started(schedule(), DONE, NOON + 15 * MINUTE)
    assert (found.due_at, found.attempt, found.sequence, found.missed) == (
        NOON + 15 * MINUTE,
        1,
        0,
        0,
    )


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.RUNNING])
def test_a_job_is_not_started_while_it_runs(status: RunStatus) -> None:
    assert action(schedule(), JobState(entry(), run(status)), NOON + 60 * MINUTE) is None


def test_a_running_job_is_left_alone_even_if_its_expression_changed() -> None:
    state = JobState(entry(expression="old UTC"), run(RunStatus.RUNNING))
    assert action(schedule(), state, NOON + 60 * MINUTE) is None


def test_all_missed_runs_are_made_good_by_one() -> None:
    found = started(schedule(), DONE, NOON + 3 * 15 * MINUTE + 10 * MINUTE)
    assert (found.due_at, found.missed) == (NOON + 45 * MINUTE, 2)


def test_late_runs_are_skipped_if_the_job_says_so() -> None:
    found = action(schedule(missed="skip"), DONE, NOON + 50 * MINUTE)
    assert found is not None
    assert (found.event, found.due_at, found.missed) == (
        ScheduleEvent.SKIPPED, NOON + 45 * MINUTE, 3,
    )  # fmt: skip


def test_a_run_that_a_change_of_leader_delayed_is_not_skipped() -> None:
    found = started(schedule(missed="skip"), DONE, NOON + 15 * MINUTE + timedelta(seconds=30))
    assert found.due_at == NOON + 15 * MINUTE


def test_a_run_of_long_ago_is_made_good_too() -> None:
    """Beyond the time for which missed ones are counted."""
    yearly = schedule("0 0 1 1 *")
    last = entry(datetime(2024, 1, 1, tzinfo=UTC), "0 0 1 1 * UTC")
    found = started(yearly, JobState(last), NOON)
    assert (found.due_at, found.missed) == (datetime(2026, 1, 1, tzinfo=UTC), 1)


def test_a_new_expression_starts_from_now() -> None:
    found = action(schedule("* * * * *"), DONE, NOON + 60 * MINUTE)
    assert found is not None
    assert (found.event, found.expression) == (ScheduleEvent.ADDED, "* * * * * UTC")


def test_a_new_zone_is_a_new_expression() -> None:
    found = action(schedule(zone="Asia/Tokyo"), DONE, NOON + 60 * MINUTE)
    assert found is not None
    assert found.event is ScheduleEvent.ADDED


RETRIED = schedule(attempts=3, delay="10s")


def failed(attempt: int = 1, **more: Any) -> JobState:
    sequence = attempt - 1
    known = {"exit_status": 1, **more}
    return JobState(entry(attempt=attempt, sequence=sequence), run(RunStatus.FAILED, **known))


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 10), (2, 20)])
def test_a_failed_run_is_tried_again_after_a_delay_that_doubles(attempt: int, seconds: int) -> None:
    at = NOON + timedelta(seconds=seconds)
    assert action(RETRIED, failed(attempt), at - timedelta(microseconds=1)) is None
    found = started(RETRIED, failed(attempt), at)
    assert (found.due_at, found.attempt, found.sequence) == (NOON, attempt + 1, attempt)


def test_the_delay_is_bounded() -> None:
    plan = schedule("0 0 1 1 *", attempts=100, delay="30m")
    state = failed(50)
    assert state.last is not None
    state = replace(state, last=replace(state.last, expression="0 0 1 1 * UTC"))
    assert started(plan, state, NOON + LONGEST_DELAY).attempt == 51


def test_no_more_attempts_than_asked() -> None:
    assert action(RETRIED, failed(3), NOON + 14 * MINUTE) is None


@pytest.mark.parametrize("status", [2, 3])
def test_what_another_attempt_would_not_change_is_not_tried_again(status: int) -> None:
    assert action(RETRIED, failed(exit_status=status), NOON + 14 * MINUTE) is None


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.CANCELLED])
def test_only_failures_are_tried_again(status: RunStatus) -> None:
    assert action(RETRIED, JobState(entry(), run(status)), NOON + 14 * MINUTE) is None


def test_a_lost_run_counts_as_an_attempt() -> None:
    found = started(RETRIED, JobState(entry(), run(RunStatus.LOST)), NOON + MINUTE)
    assert (found.attempt, found.sequence) == (2, 1)


def test_a_run_that_never_started_is_started_at_once_and_is_no_attempt() -> None:
    lost = run(RunStatus.LOST, started_at=None)
    found = started(schedule(attempts=1), JobState(entry(), lost), NOON)
    assert (found.due_at, found.attempt, found.sequence) == (NOON, 1, 1)


def test_a_new_run_that_is_due_takes_the_place_of_another_attempt() -> None:
    found = started(RETRIED, failed(), NOON + 15 * MINUTE)
    assert (found.due_at, found.attempt) == (NOON + 15 * MINUTE, 1)


def test_a_job_whose_run_is_forgotten_goes_on() -> None:
    assert action(RETRIED, JobState(entry(), None), NOON + MINUTE) is None
    assert started(RETRIED, JobState(entry(), None), NOON + 15 * MINUTE)


CRONS = ["* * * * *", "*/7 * * * *", "30 2 * * *", "0 1-3 * * *", "0 */2 * * SUN", "15,45 3 L * *"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


@given(
    st.sampled_from(CRONS),
    st.sampled_from(ZONES),
    TIMES,
    st.timedeltas(timedelta(), timedelta(days=3)),
)
def test_what_is_due_is_after_the_last_and_not_in_the_future(
    cron: str, zone: str, last: datetime, later: timedelta
) -> None:
    state = JobState(entry(last, f"{cron} {zone}"))
    found = action(schedule(cron, zone), state, last + later)
    assert found is None or last < found.due_at <= last + later


@given(st.sampled_from(CRONS), st.sampled_from(ZONES), TIMES, st.integers(1, 400))
def test_looking_rarely_finds_the_same_newest_time_as_looking_often(
    cron: str, zone: str, last: datetime, looks: int
) -> None:
    plan, now, seen = schedule(cron, zone), last + looks * 5 * MINUTE, last
    rarely = action(plan, JobState(entry(last, f"{cron} {zone}")), now)
    for look in range(1, looks + 1):
        often = action(plan, JobState(entry(seen, f"{cron} {zone}")), last + look * 5 * MINUTE)
        seen = seen if often is None else often.due_at
    assert seen == (last if rarely is None else rarely.due_at)


@pytest.mark.parametrize("zone", ZONES)
def test_a_daily_job_runs_once_on_each_day_also_when_clocks_change(zone: str) -> None:
    plan, time = schedule("30 2 * * *", zone), datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
    days = set()
    for _ in range(365):
        time = next_due(plan, "job", time)
        days.add(time.astimezone(ZoneInfo(zone)).date())
    assert len(days) == 365
