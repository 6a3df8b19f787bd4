"""A job: work that somebody asked the service for, such as the enrichment of a contact file.

    queued ──> running ──> completed | failed | cancelled
      ^  └────────│──────────^
      └───────────┘ its run was lost, and it has attempts left

A job outlives its runs: each attempt is a run of its own. A final status never changes, and what
has been processed never goes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.events import Event, Topic, shown_time

TRACE = "traceparent"
"""The parameter that names the trace of the request that asked for a job, as W3C writes it."""


class JobStatus(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in {JobStatus.QUEUED, JobStatus.RUNNING}

    def may_become(self, other: JobStatus) -> bool:
        """Whether a job may go from this status to ``other``, another one."""
        if self.is_final or self is other:
            return False
        if self is JobStatus.QUEUED:
            return other is not JobStatus.COMPLETED
        return True


@dataclass(frozen=True)
class Job:
    """What is known of a job. All times are UTC.

    ``fingerprint`` is the SHA-256 of what is asked for, ``parameters`` how it was asked for;
    neither holds personal data. ``version`` grows by one with every change. ``deleted_at`` is when
    it was taken out of sight; its files go, its record stays for a while.
    """

    id: str
    kind: str
    organization: str
    owner: str
    fingerprint: str
    status: JobStatus
    created_at: datetime
    updated_at: datetime
    input_key: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    output_key: str | None = None
    total_batches: int | None = None
    processed_batches: int = 0
    contacts: int | None = None
    failed_contacts: int = 0
    run_id: str | None = None
    attempts: int = 0
    cancel_requested_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    ended_at: datetime | None = None
    deleted_at: datetime | None = None
    version: int = 1

    @property
    def stands_for_repeats(self) -> bool:
        """Whether somebody who asks for the same again may be given this job."""
        if self.deleted_at is not None:
            return False
        if self.status.is_final:
            return self.status is JobStatus.COMPLETED
        return self.cancel_requested_at is None


def shown_job(job: Job) -> dict[str, Any]:
    """A job as clients see it, in answers and events alike. Pure."""
    shown = {
        "requestId": job.id,
        "status": job.status.value,
        "createdAt": shown_time(job.created_at),
        "updatedAt": shown_time(job.updated_at),
        "endedAt": shown_time(job.ended_at),
        "totalBatches": job.total_batches,
        "processedBatches": job.processed_batches,
        "contacts": job.contacts,
        "failedContacts": job.failed_contacts,
        "outputFileKey": job.output_key,
        "attempts": job.attempts,
        "cancelRequested": job.cancel_requested_at is not None,
        "version": job.version,
    }
    return {**shown, **_shown_error(job), **_shown_deletion(job)}


def _shown_error(job: Job) -> dict[str, Any]:
    if job.error_code is None:
        return {}
    return {"error": {"code": job.error_code, "message": job.error_message}}


def _shown_deletion(job: Job) -> dict[str, Any]:
    return {} if job.deleted_at is None else {"deletedAt": shown_time(job.deleted_at)}


def event_of_job(job: Job) -> Event:
    """What those who watch a job are told when it has become this."""
    topic = Topic("job", job.id)
    return Event(topic, job.version, job.organization, job.owner, job.updated_at, shown_job(job))


@dataclass(frozen=True)
class JobEnd:
    """How a job ended: a final status, its output, and what is safe to say of an error."""

    status: JobStatus
    output_key: str | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class PartProgress:
    """How far one part of a job's work is: absolute figures, so that telling them twice is once.

    Of what is told of a part the greatest of each figure counts.
    """

    part: int
    processed_batches: int
    failed_contacts: int


@dataclass(frozen=True)
class JobQuery:
    """Which jobs, newest first. ``after`` is the job of a cursor: those older than it follow.

    ``offset`` skips so many of those that match; it is for small numbers.
    """

    kind: str
    status: JobStatus | None = None
    limit: int = 50
    after: JobCursor | None = None
    offset: int = 0


@dataclass(frozen=True)
class JobCursor:
    """A job's place among all: jobs sort by time, and by id where times are equal."""

    created_at: datetime
    id: str
