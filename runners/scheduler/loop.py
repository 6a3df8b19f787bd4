"""The scheduler's loop: hold the lease, settle what has ended, start what is due."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from runners.launcher import Child, Launch, Launcher, end_of_process
from runners.runs import BEAT_EVERY, is_gone, owner_here, prune_runs
from runners.scheduler.config import Schedule
from runners.scheduler.plan import Action, JobState, due
from schemas.errors import StoreError
from schemas.runs import RunEnd, RunRecord, RunStatus
from schemas.schedule import Lease, ScheduleEntry, ScheduleEvent
from stores.log import new_run_id
from stores.state.leadership import Leadership
from stores.state.port import LeaseLost, State

TICK = 0.5
"""Seconds between two looks at what is due."""

LOST_AFTER = timedelta(seconds=5)
"""How long a run's process must be gone: another scheduler may be about to say how it ended."""

_PRUNE_EVERY = timedelta(hours=1)

_NEVER_STARTED = RunEnd(RunStatus.LOST, None, "lost", "it was never started")
_GONE = RunEnd(RunStatus.LOST, None, "lost", "its process is gone")

_log = structlog.get_logger()


@dataclass(frozen=True)
class Place:
    """Where a scheduler works: what it remembers, starts processes with, and tells the time by."""

    state: State
    launcher: Launcher
    clock: Callable[[], datetime]
    logs: Path
    keep: timedelta


@dataclass(frozen=True)
class _Started:
    """A run of this scheduler whose process has not been settled."""

    run_id: str
    job: str
    child: Child
    seen_at: datetime


class Scheduler:
    """One of the processes that run a schedule; the one that holds the lease starts the jobs.

    ``holder`` names it, unlike any other. Whoever leads or not, each settles the runs it started.
    """

    def __init__(self, schedule: Schedule, place: Place, holder: str) -> None:
        self._schedule = schedule
        self._place = place
        self._leadership = Leadership(
            place.state.leases,
            lease_name(schedule),
            holder,
            schedule.lease.total_seconds(),
            place.clock,
        )
        self._started: list[_Started] = []
        self._endings: dict[str, RunEnd] = {}
        self._gone_since: dict[str, datetime] = {}
        self._pruned_at: datetime | None = None

    @property
    def leads(self) -> bool:
        return self._leadership.lease is not None

    def run(self, stop: threading.Event) -> None:
        """Go on until ``stop`` is set; then let others lead, and running jobs finish."""
        while not stop.is_set():
            self._guarded(self.step)
            stop.wait(TICK)
        self._guarded(self._leadership.resign)
        self._end_children()

    def step(self) -> None:
        """One look at what is to be done. Raises ``StoreError``."""
        self._settle()
        lease = self._leadership.hold()
        if lease is None:
            return
        try:
            for action in due(self._schedule, self._states(), self._place.clock()):
                self._do(lease, action)
            self._prune()
        except LeaseLost:
            self._leadership.lost()

    def _guarded(self, work: Callable[[], None]) -> None:
        """A state store that fails is no reason to end; the lease sees to it that others go on."""
        try:
            work()
        except StoreError as error:
            _log.warning("state store failed", reason=error.message)

    # --- what there is to know

    def _states(self) -> dict[str, JobState]:
        return {name: self._state_of(name) for name in self._schedule.jobs}

    def _state_of(self, job: str) -> JobState:
        last = self._place.state.history.last(self._schedule.name, job)
        if last is None or last.run_id is None:
            return JobState(last)
        run = self._place.state.runs.get(last.run_id)
        if run is not None and self._is_lost(run):
            run = self._declare_lost(run)
        return JobState(last, run)

    def _is_lost(self, run: RunRecord) -> bool:
        now = self._place.clock()
        if self._is_ours(run.id) or not is_gone(run, now):
            self._gone_since.pop(run.id, None)
            return False
        since = self._gone_since.setdefault(run.id, now)
        return run.status is RunStatus.QUEUED or now - since >= LOST_AFTER

    def _is_ours(self, run_id: str) -> bool:
        """Whether this scheduler is going to say how it ended."""
        return any(started.run_id == run_id for started in self._started)

    def _declare_lost(self, run: RunRecord) -> RunRecord | None:
        end = _NEVER_STARTED if run.status is RunStatus.QUEUED else _GONE
        if self._place.state.runs.finish(run.id, end):
            _log.warning("run lost", job=run.schedule, run=run.id, reason=end.error_message)
        return self._place.state.runs.get(run.id)

    # --- what there is to do

    def _do(self, lease: Lease, action: Action) -> None:
        entry = self._entry(action)
        if action.event is not ScheduleEvent.STARTED:
            self._place.state.history.append(lease, entry)
            _log.info(f"job {action.event}", job=action.job, missed=action.missed)
            return
        run = self._queued(action.job)
        try:
            self._place.state.history.append(lease, replace(entry, run_id=run.id), run)
            self._launch(lease, action.job, run)
        except StoreError:
            if not self._is_ours(run.id):
                self._endings[run.id] = _NEVER_STARTED
            raise

    def _entry(self, action: Action) -> ScheduleEntry:
        return ScheduleEntry(
            schedule=self._schedule.name,
            job=action.job,
            due_at=action.due_at,
            sequence=action.sequence,
            event=action.event,
            at=self._place.clock(),
            expression=action.expression,
            attempt=action.attempt,
            missed=action.missed,
        )

    def _queued(self, job: str) -> RunRecord:
        now = self._place.clock()
        run_id = new_run_id(now)
        return RunRecord(
            id=run_id,
            kind=self._schedule.jobs[job].command[0],
            status=RunStatus.QUEUED,
            owner=owner_here(),
            queued_at=now,
            seen_at=now,
            schedule=job,
            log_path=str(self._place.logs / f"{run_id}.log"),
        )

    def _launch(self, lease: Lease, job: str, run: RunRecord) -> None:
        """Start the process, have it written down, and only then let it work.

        append ──> start ──> hand over ──> open the gate ──> begin
           a death here: queued, its        here: the process has
           process gone: never started      begun, and says so itself
        """
        child = self._child(job, run)
        if child is None:
            return
        try:
            self._place.state.history.hand_over(lease, run.id, child.owner)
        except StoreError:
            child.turn_away()
            raise
        self._started.append(_Started(run.id, job, child, self._place.clock()))
        child.open_gate()
        _log.info("job started", job=job, run=run.id)
        self._place.state.runs.begin(run.id, child.owner)

    def _child(self, job: str, run: RunRecord) -> Child | None:
        """A process for the run; None, and a failed run, if there can be none."""
        words = self._schedule.jobs[job].command
        try:
            return self._place.launcher.start(Launch(run.id, words, Path(str(run.log_path))))
        except StoreError as error:
            _log.warning("job cannot be started", job=job, reason=error.message)
            self._place.state.runs.begin(run.id, run.owner)
            end = RunEnd(RunStatus.FAILED, None, error.code, error.message)
            self._place.state.runs.finish(run.id, end)
            return None

    # --- what was started

    def _settle(self) -> None:
        """Write down how runs ended that did not say so themselves, and that others live."""
        for run_id, end in list(self._endings.items()):
            self._place.state.runs.finish(run_id, end)
            del self._endings[run_id]
        for started in list(self._started):
            status = started.child.status()
            if status is None:
                self._look_after(started)
            else:
                self._settle_one(started, status)

    def _settle_one(self, started: _Started, status: int) -> None:
        runs = self._place.state.runs
        run = runs.get(started.run_id)
        cancelled = run is not None and run.cancel_requested_at is not None
        runs.finish(started.run_id, end_of_process(status, cancelled))
        self._started.remove(started)
        _log.info("job ended", job=started.job, run=started.run_id, status=status)

    def _look_after(self, started: _Started) -> None:
        runs, now = self._place.state.runs, self._place.clock()
        if (now - started.seen_at).total_seconds() < BEAT_EVERY:
            return
        runs.beat(started.run_id)
        self._started[self._started.index(started)] = replace(started, seen_at=now)

    def _end_children(self) -> None:
        """Ask what runs to end after its round; what takes too long is left to itself."""
        for started in self._started:
            started.child.send(signal.SIGTERM)
        until = self._place.clock() + self._schedule.grace
        while self._started and self._place.clock() < until:
            self._guarded(self._settle)
            time.sleep(TICK)
        for started in self._started:
            _log.warning("job left running", job=started.job, run=started.run_id)

    def _prune(self) -> None:
        now = self._place.clock()
        if self._pruned_at is None or now - self._pruned_at >= _PRUNE_EVERY:
            self._pruned_at = now
            self._place.state.history.prune(self._schedule.name, now - self._place.keep)
            prune_runs(self._place.state, now - self._place.keep)


def lease_name(schedule: Schedule) -> str:
    """The lease of whoever leads a schedule."""
    return f"schedule:{schedule.name}"
