"""What is to be done about a job that has not ended. Pure.

queued ──> Start, when there is room
       └─> End: cancelled, if somebody asked for that
running, its run lives    ──> AskToEnd, if somebody asked for that; else nothing
         its run is over  ──> Requeue, as long as it has attempts left
                          └─> End: cancelled, or failed
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runners.runs import is_gone
from schemas.jobs import Job, JobEnd, JobStatus
from schemas.runs import RunRecord, RunStatus


@dataclass(frozen=True)
class Start:
    """Start a run of it, when there is room."""


@dataclass(frozen=True)
class Leave:
    """All is well."""


@dataclass(frozen=True)
class AskToEnd:
    """Pass on to its run that it is to end."""


@dataclass(frozen=True)
class Requeue:
    """Its run is over without a word of how the job went: have another go on."""


@dataclass(frozen=True)
class End:
    """End it so."""

    end: JobEnd


Step = Start | Leave | AskToEnd | Requeue | End

_CANCELLED = End(JobEnd(JobStatus.CANCELLED))


def next_step(job: Job, run: RunRecord | None, now: datetime, max_attempts: int) -> Step:
    """What is to be done; ``run`` is the job's, if it has one that is known."""
    if job.status is JobStatus.QUEUED:
        return Start() if job.cancel_requested_at is None else _CANCELLED
    if run is not None and not run.status.is_final and not is_gone(run, now):
        asked = job.cancel_requested_at is not None and run.cancel_requested_at is None
        return AskToEnd() if asked else Leave()
    return _after(job, run, max_attempts)


def _after(job: Job, run: RunRecord | None, max_attempts: int) -> Step:
    """A job whose run is over, and did not end it."""
    if job.cancel_requested_at is not None:
        return _CANCELLED
    if run is not None and run.status is RunStatus.CANCELLED:
        return _CANCELLED
    return Requeue() if job.attempts < max_attempts else End(_given_up(job, run))


def _given_up(job: Job, run: RunRecord | None) -> JobEnd:
    code = run.error_code if run is not None and run.error_code is not None else "run_lost"
    message = f"{job.attempts} runs of it ended without a result: their logs say more"
    return JobEnd(JobStatus.FAILED, error_code=code, error_message=message)
