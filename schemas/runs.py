"""A run: one execution of a command, from whoever asked for it to how it ended.

    queued ──> running ──> succeeded | failed | cancelled | lost
       └──────────────────────────────────────────^

A status never goes back, and a final one never changes. ``lost`` is a run whose process is gone
without a word; what it left in a lake is finished or cleared by the next run on that lake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.events import Event, Topic, shown_time


class RunStatus(StrEnum):
    """Where a run is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        return self not in {RunStatus.QUEUED, RunStatus.RUNNING}

    def may_become(self, other: RunStatus) -> bool:
        """Whether a run may go from this status to ``other``, another one."""
        if self is RunStatus.QUEUED:
            return other is not RunStatus.QUEUED
        return self is RunStatus.RUNNING and other.is_final


@dataclass(frozen=True)
class RunOwner:
    """The process of a run. ``started`` tells it from a later one of the same pid."""

    host: str
    pid: int
    started: str


@dataclass(frozen=True)
class RunEnd:
    """How a run ended: a final status, and what is safe to say of an error.

    ``exit_status`` is negative for the signal that ended the process, None if nobody knows.
    """

    status: RunStatus
    exit_status: int | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run. All times are UTC.

    ``kind`` is the command, ``schedule`` the scheduled job that started it, ``seen_at`` its last
    sign of life, ``counts`` what it has done so far. ``organization`` and ``requested_by`` say who
    asked the service for it, ``job_id`` for which job; they are None for what the command line or a
    schedule started. ``version`` grows by one with every change that is told of, which a mere sign
    of life is not.
    """

    id: str
    kind: str
    status: RunStatus
    owner: RunOwner
    queued_at: datetime
    seen_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    schedule: str | None = None
    log_path: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    exit_status: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    organization: str | None = None
    requested_by: str | None = None
    job_id: str | None = None
    version: int = 1

    @property
    def never_started(self) -> bool:
        """Whether it ended before it began, so that nothing was done."""
        return self.status.is_final and self.started_at is None


@dataclass(frozen=True)
class RunCursor:
    """A run's place among all: runs sort by time, and by id where times are equal."""

    queued_at: datetime
    id: str


@dataclass(frozen=True)
class RunQuery:
    """Which runs, newest first. ``after`` is the run of a cursor: those older than it follow.

    ``offset`` skips so many of those that match; it is for small numbers.
    """

    limit: int = 50
    status: RunStatus | None = None
    kind: str | None = None
    job_id: str | None = None
    after: RunCursor | None = None
    offset: int = 0


def shown_run(run: RunRecord) -> dict[str, Any]:
    """A run as clients see it, in answers and events alike, without its process. Pure."""
    shown = {
        "runId": run.id,
        "kind": run.kind,
        "status": run.status.value,
        "queuedAt": shown_time(run.queued_at),
        "startedAt": shown_time(run.started_at),
        "seenAt": shown_time(run.seen_at),
        "endedAt": shown_time(run.ended_at),
        "cancelRequested": run.cancel_requested_at is not None,
        "schedule": run.schedule,
        "jobId": run.job_id,
        "counts": dict(run.counts),
        "exitStatus": run.exit_status,
        "version": run.version,
    }
    return {**shown, **_shown_error(run)}


def _shown_error(run: RunRecord) -> dict[str, Any]:
    if run.error_code is None:
        return {}
    return {"error": {"code": run.error_code, "message": run.error_message}}


def event_of_run(run: RunRecord, at: datetime) -> Event:
    """What those who watch a run are told when it has become this."""
    topic = Topic("run", run.id)
    return Event(topic, run.version, run.organization, run.requested_by, at, shown_run(run))
