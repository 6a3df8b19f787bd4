"""Starting the runs of jobs, and noting how those ended that this process started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from runners.launcher import Child, Launch, Launcher, end_of_process
from schemas.errors import StoreError
from schemas.jobs import TRACE, Job
from schemas.runs import RunEnd, RunRecord, RunStatus
from stores.log import new_run_id
from stores.state.service_port import Stores

_NEVER_STARTED = RunEnd(RunStatus.LOST, None, "lost", "it was never started")

_log = structlog.get_logger()


@dataclass(frozen=True)
class _Started:
    """A run that this process started, and whose end it will be told."""

    run_id: str
    child: Child


class Starter:
    """Starts runs as processes of this machine; their logs go to the folder ``logs``."""

    def __init__(
        self, state: Stores, launcher: Launcher, clock: Callable[[], datetime], logs: Path
    ) -> None:
        self._state = state
        self._launcher = launcher
        self._clock = clock
        self._logs = logs
        self._started: list[_Started] = []

    def start(self, job: Job) -> None:
        """Start the process, have it written down, and only then let it work.

        Raises ``StoreError``, and then no process is left.

        start ──> add the run ──> begin the job ──> begin the run ──> open the gate
          └── a death up to here: the gate never opens, the process ends with nothing done;
              a job that was begun is found with its run's process gone, and queued again
        """
        run_id = new_run_id(self._clock())
        log = self._logs / f"{run_id}.log"
        trace = job.parameters.get(TRACE)
        child = self._launcher.start(Launch(run_id, ("job", job.id), log, trace))
        try:
            is_ours = self._is_begun(job, self._run(run_id, job, child, log))
        except StoreError:
            child.turn_away()
            raise
        if not is_ours:
            child.turn_away()
            self._state.runs.finish(run_id, _NEVER_STARTED)
            return
        self._started.append(_Started(run_id, child))
        child.open_gate()
        _log.info("job started", job=job.id, run=run_id)

    def _is_begun(self, job: Job, run: RunRecord) -> bool:
        """Whether the job is this run's now, and all of it written down."""
        state = self._state
        state.runs.add(run)
        if state.jobs.begin(job.id, run.id) is None:
            return False
        return state.runs.begin(run.id, run.owner)

    def _run(self, run_id: str, job: Job, child: Child, log: Path) -> RunRecord:
        now = self._clock()
        return RunRecord(
            id=run_id,
            kind=job.kind,
            status=RunStatus.QUEUED,
            owner=child.owner,
            queued_at=now,
            seen_at=now,
            log_path=str(log),
            organization=job.organization,
            requested_by=job.owner,
            job_id=job.id,
        )

    def settle(self) -> None:
        """Write down how runs ended that did not say so themselves, leader or not."""
        runs = self._state.runs
        for started in list(self._started):
            status = started.child.status()
            if status is not None:
                run = runs.get(started.run_id)
                cancelled = run is not None and run.cancel_requested_at is not None
                runs.finish(started.run_id, end_of_process(status, cancelled))
                self._started.remove(started)
