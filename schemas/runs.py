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

    @property
    def predecessors(self) -> tuple[RunStatus, ...]:
        """The statuses that may become this one."""
        return tuple(status for status in RunStatus if status.may_become(self))


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
    sign of life, ``counts`` what it has done so far.
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

    @property
    def never_started(self) -> bool:
        """Whether it ended before it began, so that nothing was done."""
        return self.status.is_final and self.started_at is None
