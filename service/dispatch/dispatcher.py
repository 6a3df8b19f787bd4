"""The dispatcher: whichever process holds the lease starts queued jobs, oldest first.

Every worker process has one, in a thread. A job's run is a process of its own, in a session of its
own: it outlives the worker that started it, and the whole service. So SIGTERM and SIGKILL of the
service leave running jobs running; whoever leads next finds them by their records, and has those go
on whose process is gone.

That one leads keeps ``max_running``; it is not what jobs' safety rests on. Each change of a job is
a conditional write that names the run it speaks for: of two who take themselves for the leader, one
begins a job, and a run that lost its job is refused at its next word.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from runners.launcher import Launcher
from runners.runs import tell_to_end
from schemas.errors import StoreError
from schemas.jobs import Job, JobStatus
from schemas.runs import RunEnd, RunStatus
from service.dispatch.decide import AskToEnd, End, Leave, Requeue, Start, Step, next_step
from service.dispatch.starter import Starter
from stores.state.leadership import Leadership
from stores.state.service_port import Stores

LEASE = "dispatch"
"""The lease of whoever leads."""

LEASE_SECONDS = 6.0
"""How long nobody leads, at most, when a leader was killed."""

LOOK_EVERY = LEASE_SECONDS / 4
"""Seconds between two looks if nothing happens: a process that is killed tells nobody."""

_SLICE = 0.5
"""Seconds after which a wait sees that the process is asked to end."""

_BREATH = 0.05
"""Seconds between two looks, however much happens."""

_LOOKED_AHEAD = 100
"""Queued jobs that one look takes in, oldest first, beside those that run."""

_GONE = RunEnd(RunStatus.LOST, None, "lost", "its process is gone")

_log = structlog.get_logger()


@dataclass(frozen=True)
class Post:
    """Where a dispatcher works: what it remembers, starts processes with, and tells the time by.

    ``state`` is its own, as only one thread of a store may wait for events. ``sweep`` sees to it
    that what is past its time is cleared away, and returns at once; ``enlist`` makes jobs of what
    waits for one.
    """

    state: Stores
    launcher: Launcher
    clock: Callable[[], datetime]
    logs: Path
    max_running: int
    max_attempts: int
    sweep: Callable[[], None]
    enlist: Callable[[], None] = lambda: None


class Dispatcher:
    """One of the processes' dispatchers. ``holder`` names it, unlike any other."""

    def __init__(self, post: Post, holder: str) -> None:
        self._post = post
        self._leadership = Leadership(post.state.leases, LEASE, holder, LEASE_SECONDS, post.clock)
        self._starter = Starter(post.state, post.launcher, post.clock, post.logs)
        self._seen = 0

    @property
    def leads(self) -> bool:
        return self._leadership.lease is not None

    def run(self, stop: threading.Event) -> None:
        """Go on until ``stop`` is set; then let others lead. Running jobs go on."""
        while not stop.is_set():
            self._guarded(self.step)
            self._guarded(lambda: self._wait(stop))
        self._guarded(self._leadership.resign)

    def step(self) -> None:
        """One look at what is to be done. Raises ``StoreError``."""
        self._starter.settle()
        if self._leadership.hold() is None:
            return
        self._seen = self._post.state.outbox.newest()
        # What waits already goes first: to enlist more may take longer than the lease.
        self._look()
        self._post.enlist()
        self._post.sweep()

    def _guarded(self, work: Callable[[], None]) -> None:
        """A state store that fails is no reason to end; the lease sees to it that others go on."""
        try:
            work()
        except StoreError as error:
            _log.warning("state store failed", code=error.code)

    def _wait(self, stop: threading.Event) -> None:
        """Until something happens, if this one leads; for some seconds at most."""
        stop.wait(_BREATH)
        for _ in range(int(LOOK_EVERY / _SLICE)):
            if stop.is_set() or self._has_news(stop):
                return

    def _has_news(self, stop: threading.Event) -> bool:
        if not self.leads:
            return stop.wait(_SLICE)
        try:
            return self._post.state.outbox.wait(self._seen, _SLICE)
        except StoreError:
            stop.wait(_SLICE)
            raise

    # --- what there is to do

    def _look(self) -> None:
        jobs = self._post.state.jobs.unfinished(self._post.max_running + _LOOKED_AHEAD)
        steps = [(job, self._step_of(job)) for job in jobs]
        for job, step in steps:
            self._do(job, step)
        running = sum(_is_running(job, step) for job, step in steps)
        queued = [job for job, step in steps if isinstance(step, Start)]
        self._start_some(queued[: max(0, self._post.max_running - running)])

    def _step_of(self, job: Job) -> Step:
        run = None if job.run_id is None else self._post.state.runs.get(job.run_id)
        return next_step(job, run, self._post.clock(), self._post.max_attempts)

    def _do(self, job: Job, step: Step) -> None:
        """All but starting it; nothing if it has ended by itself since it was looked at."""
        jobs, runs = self._post.state.jobs, self._post.state.runs
        match step:
            case End(end):
                ended = jobs.finish(job.id, job.run_id, end)
                self._declare_lost(job)
                if ended is not None:
                    _log.info("job ended", job=job.id, status=end.status.value, code=end.error_code)
            case Requeue():
                queued = jobs.requeue(job.id, str(job.run_id))
                self._declare_lost(job)
                if queued is not None:
                    said = {"job": job.id, "lost": job.run_id, "attempt": job.attempts}
                    _log.warning("job queued again", **said)
            case AskToEnd() if job.run_id is not None and runs.request_cancel(job.run_id):
                run = runs.get(job.run_id)
                if run is not None:
                    tell_to_end(run)

    def _declare_lost(self, job: Job) -> None:
        """End the job's run if it has not said itself how it ended; no change if it has.

        Only after the job was taken from it: should it live after all, it takes this for a wish
        that it end, and must not pass that on to the job.
        """
        if job.run_id is not None:
            self._post.state.runs.finish(job.run_id, _GONE)

    def _start_some(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if self._leadership.hold() is None:
                return
            self._starter.start(job)


def _is_running(job: Job, step: Step) -> bool:
    """Whether it takes one of the places: it runs, and goes on."""
    return job.status is JobStatus.RUNNING and isinstance(step, Leave | AskToEnd)
