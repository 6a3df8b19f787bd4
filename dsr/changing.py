"""Changing a request: read, decide, write if nobody was faster; else once more.

read version 3 ──> decide ──> write 4
                     └── another wrote 4 ──> read version 4 ──> decide ──> write 5
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from dsr.desk import Desk
from schemas.access import Reach
from schemas.audit import AuditDraft
from schemas.dsr import Dsr
from schemas.errors import NotFound, Unavailable

_TRIES = 10


@dataclass(frozen=True)
class Step:
    """What a request is to become, and what is written down of it, without personal data."""

    dsr: Dsr
    action: str
    detail: Mapping[str, Any] = field(default_factory=dict)


Decide = Callable[[Dsr, datetime], Step | None]
"""Says what a request is to become now; None leaves it. May raise, and has no effect."""


def change(desk: Desk, request_id: str, reach: Reach, actor: str, decide: Decide) -> Dsr:
    """The request as it is after ``decide``. Raises ``NotFound``, and what ``decide`` raises.

    Raises ``Unavailable`` if others change it all the time.
    """
    for _ in range(_TRIES):
        dsr, now = found(desk, request_id, reach), desk.clock()
        step = decide(dsr, now)
        if step is None:
            return dsr
        kept = desk.requests.change(_dated(step.dsr, now), draft_of(step, actor))
        if kept is not None:
            if kept.is_waiting and not dsr.is_waiting:
                desk.queue.put(kept)
            return kept
    raise Unavailable("the request is being changed by others: try again soon")


def found(desk: Desk, request_id: str, reach: Reach) -> Dsr:
    """The request of this id. Raises ``NotFound``, also for what is out of reach."""
    dsr = desk.requests.get(request_id, reach)
    if dsr is None:
        raise NotFound("there is no request of this id")
    return dsr


def draft_of(step: Step, actor: str) -> AuditDraft:
    """What the audit log is told of a step."""
    dsr = step.dsr
    detail = {"status": dsr.status.value, **step.detail}
    return AuditDraft(actor, dsr.organization, f"dsr.{step.action}", resource_of(dsr.id), detail)


def _dated(dsr: Dsr, now: datetime) -> Dsr:
    """The request with the time of its change, and of its end if that is what it is."""
    closed_at = now if dsr.status.is_final and dsr.closed_at is None else dsr.closed_at
    return replace(dsr, updated_at=now, closed_at=closed_at)


def resource_of(request_id: str) -> str:
    """What a request is called in the audit log."""
    return f"dsr:{request_id}"
