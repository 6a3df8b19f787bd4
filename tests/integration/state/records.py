"""A clock that goes when it is told to, and records to keep."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from schemas.access import Reach
from schemas.events import StoredEvent
from schemas.jobs import Job, JobStatus
from schemas.runs import RunOwner, RunRecord, RunStatus
from schemas.schedule import ScheduleEntry, ScheduleEvent
from stores.state.opening import open_stores, utc_now
from stores.state.service_port import ServiceState, Stores

T = TypeVar("T")

ALL = Reach(None)
START = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
OWNER = RunOwner("a-host", 4711, "99")


AnyState = Stores
"""A state store of any kind, with all aggregates."""


def opened(url: str, clock: Callable[[], datetime] = utc_now) -> AnyState:
    """The state store of this URL, of whatever kind it is."""
    return open_stores(url, clock)


class Clock:
    """Time as the test has it."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def run(run_id: str = "r1", **more: Any) -> RunRecord:
    """A queued run."""
    known = {"kind": "deliver", "status": RunStatus.QUEUED, "queued_at": START, "seen_at": START}
    return RunRecord(run_id, owner=OWNER, **{**known, **more})


def entry(minutes: float = 0, sequence: int = 0, **more: Any) -> ScheduleEntry:
    """An entry of the job ``nightly``, due so many minutes after the start."""
    known: dict[str, Any] = {
        "schedule": "default",
        "job": "nightly",
        "event": ScheduleEvent.STARTED,
        "at": START + timedelta(minutes=minutes),
        "expression": "* * * * * UTC",
        "attempt": 1,
    }
    due_at = START + timedelta(minutes=minutes)
    return ScheduleEntry(due_at=due_at, sequence=sequence, **{**known, **more})


def job(job_id: str = "j1", **more: Any) -> Job:
    """A queued job of ana's, of org-1."""
    known: dict[str, Any] = {
        "kind": "enrichment",
        "organization": "org-1",
        "owner": "ana",
        "fingerprint": "f" * 64,
        "status": JobStatus.QUEUED,
        "created_at": START,
        "updated_at": START,
        "input_key": f"inputs/{job_id}.ndjson",
    }
    return Job(job_id, **{**known, **more})


def there(found: T | None) -> T:
    """What was found, as something has to be."""
    assert found is not None
    return found


def events_of(state: ServiceState, kind: str = "job") -> list[StoredEvent]:
    """All events of topics of this kind, in their order."""
    return [stored for stored in state.outbox.after(0, 10_000) if stored.event.topic.kind == kind]
