"""Extending a deadline: once, in time, with a reason, and to the latest that the law allows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dsr.changing import Step, change
from dsr.desk import Desk
from schemas.access import Reach
from schemas.deadlines import check_extension, extended_deadline
from schemas.dsr import Dsr


def extend(desk: Desk, request_id: str, reach: Reach, actor: str, reason: str) -> Dsr:
    """Extend a request's deadline; whoever calls tells the subject, as the law wants it.

    Raises ``NotFound``, and ``Conflict`` for one that is closed, overdue or extended.
    """

    def decide(dsr: Dsr, now: datetime) -> Step:
        check_extension(dsr, now)
        due_at = extended_deadline(dsr.regulation, dsr.received_at, desk.section.zone)
        extended = replace(
            dsr, due_at=due_at, extended_at=now, extension_reason=reason, due_notice=None
        )
        detail = {"dueAt": due_at.isoformat(), "reason": desk.subjects.pseudonym("reason", reason)}
        return Step(extended, "extended", detail)

    return change(desk, request_id, reach, actor, decide)
