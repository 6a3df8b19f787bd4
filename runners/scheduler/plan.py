"""What is due: a pure function from the jobs, what was done about them, and the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from runners.scheduler.config import Job, MissedRuns, Schedule
from schemas.runs import RunRecord, RunStatus
from schemas.schedule import ScheduleEntry, ScheduleEvent

FINAL_STATUSES = frozenset({2, 3})
"""Exit statuses that another attempt would not change: bad usage; too many dead letters."""

LONGEST_DELAY = timedelta(hours=1)
"""Between two attempts, however many there were."""

_DOUBLED_AT_MOST = 12
"""By then the shortest delay, a second, has grown to the longest."""

_COUNTED = timedelta(days=1)
"""How far back missed due times are counted one by one."""


@dataclass(frozen=True)
class JobState:
    """The newest entry of a job, and the run that it started."""

    last: ScheduleEntry | None = None
    run: RunRecord | None = None


@dataclass(frozen=True)
class Action:
    """What is to be done about a job now: the entry of its history that says so."""

    job: str
    event: ScheduleEvent
    due_at: datetime
    expression: str
    sequence: int = 0
    attempt: int = 0
    missed: int = 0


def due(schedule: Schedule, states: Mapping[str, JobState], now: datetime) -> list[Action]:
    """What is to be done now, at most one thing a job.

    A job whose run has not ended is left alone. All due times that went by are made good by one
    run, or by none if the newest of them is late and the job skips missed runs; a run that failed
    is tried again, unless a new one is due.
    """
    found = (_action(schedule, name, states.get(name, JobState()), now) for name in schedule.jobs)
    return [action for action in found if action is not None]


def next_due(schedule: Schedule, name: str, after: datetime) -> datetime:
    """The first due time of a job after this one, in UTC."""
    return next(_due_times(schedule.jobs[name], _zone(schedule, name), after))


def _action(schedule: Schedule, name: str, state: JobState, now: datetime) -> Action | None:
    job, expression = schedule.jobs[name], _expression(schedule, name)
    if state.run is not None and not state.run.status.is_final:
        return None
    if state.last is None or state.last.expression != expression:
        return Action(name, ScheduleEvent.ADDED, now, expression)
    waiting = _waiting(job, _zone(schedule, name), state.last.due_at, now)
    if waiting:
        return _of_waiting(name, job, expression, waiting, now - schedule.late_after)
    return _again(name, job, state.last, state.run, now)


def _of_waiting(
    name: str, job: Job, expression: str, waiting: list[datetime], late: datetime
) -> Action:
    newest, missed = waiting[-1], len(waiting) - 1
    if job.missed is MissedRuns.SKIP and newest < late:
        return Action(name, ScheduleEvent.SKIPPED, newest, expression, missed=missed + 1)
    return Action(name, ScheduleEvent.STARTED, newest, expression, attempt=1, missed=missed)


def _again(
    name: str, job: Job, last: ScheduleEntry, run: RunRecord | None, now: datetime
) -> Action | None:
    """Another attempt, if the last one failed and it is time."""
    if run is None or run.ended_at is None or not _may_be_tried_again(run):
        return None
    attempt = last.attempt if run.never_started else last.attempt + 1
    if attempt > job.attempts or now < run.ended_at + _delay(job, run, last.attempt):
        return None
    return Action(
        name, ScheduleEvent.STARTED, last.due_at, last.expression, last.sequence + 1, attempt
    )


def _may_be_tried_again(run: RunRecord) -> bool:
    if run.status is RunStatus.FAILED:
        return run.exit_status not in FINAL_STATUSES
    return run.status is RunStatus.LOST


def _delay(job: Job, run: RunRecord, attempt: int) -> timedelta:
    """Twice as long after each attempt; no time at all if nothing was attempted."""
    if run.never_started:
        return timedelta()
    doubled = min(attempt - 1, _DOUBLED_AT_MOST)
    return min(job.delay * 2**doubled, LONGEST_DELAY)


def _waiting(job: Job, zone: ZoneInfo, after: datetime, now: datetime) -> list[datetime]:
    """Due times after ``after`` and up to now; of long ago at least the newest."""
    recent = max(after, now - _COUNTED)
    found = _until(_due_times(job, zone, recent), now)
    if found or recent == after:
        return found
    return _until(_due_times(job, zone, after), now)


def _until(times: Iterator[datetime], now: datetime) -> list[datetime]:
    return list(takewhile(lambda time: time <= now, times))


def _due_times(job: Job, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Due times after ``after``, each once, however the zone's clocks are put forward or back."""
    newest = after
    for local in CronSim(job.cron, after.astimezone(zone)):
        time = local.astimezone(UTC)
        if time > newest:
            newest = time
            yield time


def _zone(schedule: Schedule, name: str) -> ZoneInfo:
    return schedule.jobs[name].timezone or schedule.timezone


def _expression(schedule: Schedule, name: str) -> str:
    return f"{schedule.jobs[name].cron} {_zone(schedule, name).key}"
