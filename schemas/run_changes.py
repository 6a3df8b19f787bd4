"""What may be done to a run: pure functions from a run to what it becomes, None if it may not.

The stores of runs apply them, each with its own way to have nothing change in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime

from schemas.runs import RunEnd, RunOwner, RunRecord, RunStatus


def begun(run: RunRecord, owner: RunOwner, now: datetime) -> RunRecord | None:
    """Running, and this process's; as often as it says so."""
    if run.status.is_final:
        return None
    started = run.started_at or now
    return replace(run, status=RunStatus.RUNNING, owner=owner, started_at=started, seen_at=now)


def seen(run: RunRecord, counts: Mapping[str, int] | None, now: datetime) -> RunRecord | None:
    """Alive now, with these counts if there are any."""
    if run.status.is_final:
        return None
    return replace(run, seen_at=now, counts=run.counts if counts is None else dict(counts))


def ended(
    run: RunRecord, end: RunEnd, counts: Mapping[str, int] | None, now: datetime
) -> RunRecord | None:
    """At its end, with these counts if there are any."""
    if not run.status.may_become(end.status):
        return None
    known = run.counts if counts is None else dict(counts)
    return replace(run, **asdict(end), counts=known, ended_at=now)


def asked_to_end(run: RunRecord, now: datetime) -> RunRecord | None:
    """With a request to end, the latest one."""
    return None if run.status.is_final else replace(run, cancel_requested_at=now)


def is_told(before: RunRecord, after: RunRecord) -> bool:
    """Whether those who watch a run are told of this change: of all but a mere sign of life."""
    return replace(after, seen_at=before.seen_at) != before
