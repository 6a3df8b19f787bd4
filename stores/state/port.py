"""The state ports: what Lethe needs of the place where it remembers things, one port an aggregate.

Every method may raise ``StoreUnavailable`` (locked for too long, no answer: trying again may help)
or ``StoreError`` (see ``schemas.errors``); adapters retry what is retriable themselves. Times come
from the clock that the store was made with, in UTC. Each method is atomic.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from schemas.access import Reach
from schemas.errors import StoreError
from schemas.runs import RunEnd, RunOwner, RunQuery, RunRecord
from schemas.schedule import Lease, ScheduleEntry


class AlreadyThere(StoreError):
    """There is something of this id already."""

    code = "already_there"
    http_status = 409


class LeaseLost(StoreError):
    """The lease has expired, or somebody else holds it: nothing was written."""

    code = "lease_lost"
    http_status = 409


class RunStore(Protocol):
    """Runs. Each change that is told of raises ``version`` and writes an event, in one transaction.

    ``schemas.run_changes`` says what a change makes of a run, which are refused, and which are
    told of; ``schemas.runs.event_of_run`` is the event.
    """

    def add(self, run: RunRecord) -> None:
        """Keep a new run. Raises ``StoreError`` if its id is taken."""

    def get(self, run_id: str) -> RunRecord | None:
        """The run of this id, or None, whosever it is: for Lethe's own processes."""

    def visible(self, run_id: str, reach: Reach) -> RunRecord | None:
        """The run of this id, if it is within reach: for requests.

        Runs that nobody asked the service for are within the reach of scope ``all`` alone.
        """

    def find(self, query: RunQuery, reach: Reach) -> list[RunRecord]:
        """Runs within reach, newest first."""

    def begin(self, run_id: str, owner: RunOwner) -> bool:
        """Make a queued run ``owner``'s and running; whether it is now. Repeatable."""

    def beat(self, run_id: str, counts: Mapping[str, int] | None = None) -> bool:
        """Note a sign of life, and counts if given; False if the run has ended or is unknown."""

    def finish(self, run_id: str, end: RunEnd, counts: Mapping[str, int] | None = None) -> bool:
        """End a run, once: whether this call did it."""

    def request_cancel(self, run_id: str) -> bool:
        """Ask the run's owner to end it; False if the run has ended or is unknown."""

    def prune(self, before: datetime) -> list[RunRecord]:
        """Forget the runs that ended before this time, and return them."""


class LeaseStore(Protocol):
    """Leases: of those who want to act under one name, one may, for some time.

    acquire(30 s) ──> renew ──> renew ──────────────> (paused) ──> renew: LeaseLost
    token 7                            expires_at ─┐
                                another's acquire ─┴─> token 8
    """

    def acquire(self, name: str, holder: str, seconds: float) -> Lease | None:
        """Take the lease if it is free or has expired; None if another's, or ours, still runs."""

    def renew(self, lease: Lease, seconds: float) -> Lease:
        """The same lease, from now on for so long. Raises ``LeaseLost``."""

    def release(self, lease: Lease) -> None:
        """Let others have it at once. No error if it was lost."""

    def current(self, name: str) -> Lease | None:
        """The lease as it was last given, or None; it may have expired."""


class ScheduleHistory(Protocol):
    """What was done about a schedule's jobs; only by whoever holds the schedule's lease."""

    def append(self, lease: Lease, entry: ScheduleEntry, run: RunRecord | None = None) -> None:
        """Add an entry, together with the run that it starts. Raises ``LeaseLost``.

        Raises ``StoreError`` if there is an entry of this job, due time and sequence.
        """

    def hand_over(self, lease: Lease, run_id: str, owner: RunOwner) -> None:
        """Make a queued run ``owner``'s, still queued. Raises ``LeaseLost``."""

    def last(self, schedule: str, job: str) -> ScheduleEntry | None:
        """The newest entry of a job, by due time and sequence."""

    def entries(self, schedule: str, job: str | None, limit: int) -> list[ScheduleEntry]:
        """The newest entries of a schedule, or of one job of it, newest first."""

    def prune(self, schedule: str, before: datetime) -> int:
        """Forget entries made before this time, but for the newest of each job; how many."""


class State(Protocol):
    """All aggregates of one place."""

    @property
    def runs(self) -> RunStore: ...

    @property
    def leases(self) -> LeaseStore: ...

    @property
    def history(self) -> ScheduleHistory: ...

    def close(self) -> None:
        """Let go of connections."""
