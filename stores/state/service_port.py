"""The state ports of the service: jobs, events, requests. See ``stores.state.port`` for the rules.

What lies outside of a ``Reach`` is not there: methods that take one give None or False for it, as
for an id that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from schemas.access import Reach
from schemas.events import Event, StoredEvent, Topic
from schemas.jobs import Job, JobEnd, JobQuery, PartProgress
from schemas.requests import ApiKey, Claim, Counted, StoredResponse, Tally
from stores.notify.memory import AlertMemory
from stores.state.dsr_port import AuditLog, DsrStore
from stores.state.port import State
from stores.webhooks.port import WebhookStore


class JobStore(Protocol):
    """Jobs. Each change raises ``version`` and writes an event, in one transaction.

    ``schemas.job_changes`` says what a change makes of a job, and which are refused; what it gives
    back unchanged is left as it is, without an event. ``schemas.jobs.event_of_job`` is the event.
    """

    def add(self, jobs: Sequence[Job]) -> None:
        """Keep new jobs, all or none.

        Raises ``AlreadyThere`` if an id is taken, also by a job that was deleted.
        """

    def add_once(self, job: Job) -> Job:
        """Keep a new job, unless its organization has one of its kind and fingerprint already.

        Returns the job that is there now: this one, or the newest one before that
        ``Job.stands_for_repeats``. Raises ``AlreadyThere`` as ``add`` does. Of several callers at
        once one adds. Jobs that were added by ``add`` count too, and a job's fingerprint is the one
        that its run has told.
        """

    def get(self, job_id: str, reach: Reach) -> Job | None:
        """The job, unless it is deleted."""

    def find(self, query: JobQuery, reach: Reach) -> list[Job]:
        """Jobs that are not deleted, newest first."""

    def count(self, query: JobQuery, reach: Reach) -> int:
        """How many ``find`` would give without limit, cursor and offset."""

    def unfinished(self, limit: int) -> list[Job]:
        """Queued and running jobs of everybody, deleted ones too, oldest first."""

    def begin(self, job_id: str, run_id: str) -> Job | None:
        """Make a queued job running, one attempt more; None if it is not queued."""

    def requeue(self, job_id: str, run_id: str) -> Job | None:
        """Make a job queued again whose run ``run_id`` was lost; None if that is not its run."""

    def plan(
        self, job_id: str, run_id: str, fingerprint: str, contacts: int, batches: int
    ) -> Job | None:
        """Note what a run found in the input. None if the job is not this run's any more."""

    def report(self, job_id: str, progress: PartProgress) -> None:
        """Note how far a part is, each figure if it is greater than was known. Writes no event.

        Nothing is kept of a job that has ended.
        """

    def advance(self, job_id: str, run_id: str) -> Job | None:
        """Add up what the parts have reported; an event only if that changed something.

        None if the job is not this run's any more: it was cancelled, or given to another one.
        """

    def finish(self, job_id: str, run_id: str | None, end: JobEnd) -> Job | None:
        """End a job, once, with what its parts have reported; their figures go.

        None if it has ended, or is not this run's; ``run_id`` None ends it whosever it is.
        """

    def request_cancel(self, job_id: str, reach: Reach, at_once: bool) -> Job | None:
        """Ask that a job end; ``at_once`` ends it if it is queued.

        None if there is none, or it has ended. Asked again, it gives the job as it is.
        """

    def delete(self, job_id: str, reach: Reach) -> bool:
        """Take a job out of sight; one that runs is asked to end, a queued one is cancelled.

        False if there is none.
        """

    def prune(self, before: datetime) -> int:
        """Forget jobs that ended before this time; how many. Their files are left alone."""


class Outbox(Protocol):
    """Events, kept for ``schemas.events.EVENTS_KEPT``."""

    def append(self, event: Event) -> None:
        """Add an event that belongs to no other change, such as one of a run."""

    def newest(self) -> int:
        """The place of the newest event, 0 if there is none."""

    def after(self, place: int, limit: int) -> list[StoredEvent]:
        """The next events in their order; one that is given is never preceded by one yet to come.

        So an event of a transaction that began before, but ended after another's, is not passed
        over: later ones are held back until it is there.
        """

    def of(self, topic: Topic, after_version: int, limit: int) -> list[Event]:
        """The events of a topic that follow a version, as far as they are still kept."""

    def wait(self, place: int, seconds: float) -> bool:
        """Return as soon as there may be something after ``place``; False if time ran out.

        Cheap: SQLite's data version, PostgreSQL's notifications, DynamoDB by polling. For a
        few threads of a process, each of which keeps a connection for it.
        """

    def prune(self, before: datetime) -> int:
        """Forget events older than this; how many."""


class IdempotencyStore(Protocol):
    """Answers to requests that were made under a key, so that a repeat is answered alike.

    claim ──> Claimed ──> work ──> complete          a repeat: Answered
                            └── (died) ··· lock ran out ──> claim: Claimed
    """

    def claim(self, key: str, fingerprint: str, lock_seconds: float, keep_seconds: float) -> Claim:
        """Begin a request under ``key``. Of several at once one gets ``Claimed``."""

    def complete(self, key: str, token: str, response: StoredResponse) -> bool:
        """Keep the answer; False if the claim was lost to another one."""

    def release(self, key: str, token: str) -> None:
        """Give a claim back, for a request that failed and may be repeated."""

    def prune(self) -> int:
        """Forget what has been kept for long enough; how many."""


class RequestCounters(Protocol):
    """Counts of requests, shared by all processes: what a sliding window is estimated from.

    They survive the death of all processes, but need not survive a power cut.
    """

    def count(self, counted: Sequence[Counted]) -> list[Tally]:
        """Count one request under each name, in one round trip; the tallies with it counted.

        Tallies come in the order of what was given; each is to be given once.
        """

    def prune(self) -> int:
        """Forget periods that no window looks at any more; how many."""


class ApiKeyStore(Protocol):
    """Keys of machines."""

    def add(self, key: ApiKey) -> None:
        """Keep a new key. Raises ``StoreError`` if its id or digest is taken."""

    def find(self, digest: str) -> ApiKey | None:
        """The key of this digest, revoked and expired ones too."""

    def all(self) -> list[ApiKey]:
        """Every key, newest first."""

    def revoke(self, key_id: str) -> bool:
        """Have a key end now; False if there is none, or it has ended."""


@dataclass(frozen=True)
class Pruned:
    """How much was forgotten."""

    events: int
    answers: int
    counters: int


class ServiceState(Protocol):
    """All aggregates of the service, in one place.

    Open it in each process: connections do not survive a fork.
    """

    @property
    def jobs(self) -> JobStore: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def idempotency(self) -> IdempotencyStore: ...

    @property
    def counters(self) -> RequestCounters: ...

    @property
    def api_keys(self) -> ApiKeyStore: ...

    @property
    def webhooks(self) -> WebhookStore: ...

    @property
    def alerts(self) -> AlertMemory: ...

    def prune(self, now: datetime) -> Pruned:
        """Forget events, answers and counters that are past their time; to be called hourly.

        Jobs and runs are pruned by whoever clears their files and logs away as well.
        """


class Stores(State, ServiceState, Protocol):
    """All aggregates: of runs and schedules, of the service, and of data subject requests."""

    @property
    def dsr(self) -> DsrStore: ...

    @property
    def audit(self) -> AuditLog: ...
