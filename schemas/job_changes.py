"""What may be done to a job: pure functions from a job to what it becomes, None if it may not.

The stores of jobs apply them, each with its own way to have nothing change in between; ``version``
and ``updated_at`` are theirs to set. A function that gives back an equal job has nothing to tell.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime

from schemas.jobs import Job, JobEnd, JobStatus


def begun(job: Job, run_id: str) -> Job | None:
    """Running, by this run: one attempt more."""
    if job.status is not JobStatus.QUEUED:
        return None
    return replace(job, status=JobStatus.RUNNING, run_id=run_id, attempts=job.attempts + 1)


def requeued(job: Job, run_id: str) -> Job | None:
    """Queued again, because this run of it was lost."""
    if not _is_run_by(job, run_id):
        return None
    return replace(job, status=JobStatus.QUEUED, run_id=None)


def planned(job: Job, run_id: str, fingerprint: str, contacts: int, batches: int) -> Job | None:
    """With what its run found in the input."""
    if not _is_run_by(job, run_id):
        return None
    return replace(job, fingerprint=fingerprint, contacts=contacts, total_batches=batches)


def advanced(job: Job, run_id: str, processed: int, failed: int) -> Job | None:
    """With its parts' sums, where these are greater than what was known."""
    return _at_least(job, processed, failed) if _is_run_by(job, run_id) else None


def ended(
    job: Job, run_id: str | None, end: JobEnd, now: datetime, processed: int, failed: int
) -> Job | None:
    """At its end, with its parts' sums; ``run_id`` None is for whoever ends it for any run."""
    if run_id not in {None, job.run_id} or not job.status.may_become(end.status):
        return None
    return replace(_at_least(job, processed, failed), **asdict(end), ended_at=now)


def asked_to_end(job: Job, now: datetime, at_once: bool) -> Job | None:
    """Asked to end, or ended if it is queued and ``at_once``; asked again, nothing changes."""
    if job.status.is_final:
        return None
    asked = replace(job, cancel_requested_at=job.cancel_requested_at or now)
    if at_once and job.status is JobStatus.QUEUED:
        return replace(asked, status=JobStatus.CANCELLED, ended_at=now)
    return asked


def taken_away(job: Job, now: datetime) -> Job:
    """Out of sight, and asked to end at once if it has not ended."""
    return replace(asked_to_end(job, now, at_once=True) or job, deleted_at=now)


def _is_run_by(job: Job, run_id: str) -> bool:
    return job.status is JobStatus.RUNNING and job.run_id == run_id


def _at_least(job: Job, processed: int, failed: int) -> Job:
    return replace(
        job,
        processed_batches=max(job.processed_batches, processed),
        failed_contacts=max(job.failed_contacts, failed),
    )
