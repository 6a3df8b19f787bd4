"""What a schedule leaves behind: the lease of its leader, and the history of its jobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True)
class Lease:
    """The right to act as ``name`` until ``expires_at``.

    ``token`` grows by one each time the lease changes hands: a write that carries an older token is
    refused, so whoever was paused beyond his lease cannot act on what he knew before.
    """

    name: str
    holder: str
    token: int
    expires_at: datetime


class ScheduleEvent(StrEnum):
    """What a scheduler did about a job."""

    ADDED = "added"
    """It saw the job, or its new cron expression, for the first time; nothing was due before."""

    STARTED = "started"
    SKIPPED = "skipped"
    """Runs were missed that the job does not want to be made good."""


@dataclass(frozen=True)
class ScheduleEntry:
    """One line of a schedule's history; there is one of each (job, ``due_at``, ``sequence``).

    ``attempt`` counts from 1; an attempt whose process never began is made again under the same
    number and the next ``sequence``. ``missed`` is how many due times before this one got no run
    of their own. ``expression`` is the cron expression, with its zone, that gave ``due_at``.
    """

    schedule: str
    job: str
    due_at: datetime
    sequence: int
    event: ScheduleEvent
    at: datetime
    expression: str
    attempt: int = 0
    missed: int = 0
    run_id: str | None = None
