"""A clock that goes when it is told to, and records to keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.runs import RunOwner, RunRecord, RunStatus
from schemas.schedule import ScheduleEntry, ScheduleEvent

START = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
OWNER = RunOwner("a-host", 4711, "99")


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
