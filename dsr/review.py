"""Reviewing what was held, a request or the lake's part in it: a person lets it go on, or not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from dsr.changing import Step, change
from dsr.desk import Desk
from dsr.lake import DENIED, accepted_status, reviewed
from schemas.access import Reach
from schemas.dsr import Dsr, DsrStatus, Review
from schemas.dsr_lake import LakeState
from schemas.errors import Conflict, Forbidden


@dataclass(frozen=True)
class Verdict:
    """What a reviewer decided, and why; the reason is a person's text, and may hold anything."""

    approved: bool
    reason: str = field(repr=False)


def review(desk: Desk, request_id: str, reach: Reach, actor: str, verdict: Verdict) -> Dsr:
    """Let a held request go on, or cancel it; or the lake's part that is held with its counts.

    A repeat by the same reviewer changes nothing.

    Raises ``NotFound``; ``Conflict`` for one that is not held; ``Forbidden`` for whoever submitted
    it, if four eyes are wanted.
    """

    def decide(dsr: Dsr, now: datetime) -> Step | None:
        if _is_repeat(dsr, actor, verdict):
            return None
        is_lakes = _is_held_at_lake(dsr)
        if dsr.status is not DsrStatus.HELD and not is_lakes:
            message = f"the request waits for no review: it is {dsr.status}"
            raise Conflict(message, reason="not_held", status=dsr.status.value)
        if desk.section.risk.four_eyes and dsr.owner == actor:
            raise Forbidden("a request is reviewed by somebody else than who submitted it")
        reason = desk.subjects.pseudonym("reason", verdict.reason)
        action = "approved" if verdict.approved else "denied"
        if is_lakes:
            after = reviewed(dsr, now, actor, verdict.approved)
            return Step(after, f"lake_{action}", {"reason": reason})
        return Step(_reviewed(dsr, now, actor, verdict), action, {"reason": reason})

    return change(desk, request_id, reach, actor, decide)


def _is_repeat(dsr: Dsr, actor: str, verdict: Verdict) -> bool:
    if _is_held_at_lake(dsr):
        return False
    work, made = dsr.lake, dsr.review
    if work is not None and work.reviewed_at is not None:
        return (work.reviewed_by, work.is_approved) == (actor, verdict.approved)
    return made is not None and (made.by, made.approved) == (actor, verdict.approved)


def _is_held_at_lake(dsr: Dsr) -> bool:
    is_held = dsr.lake is not None and dsr.lake.state is LakeState.HELD
    return is_held and not dsr.status.is_final


def _reviewed(dsr: Dsr, now: datetime, actor: str, verdict: Verdict) -> Dsr:
    made = Review(now, actor, verdict.approved, verdict.reason)
    if verdict.approved:
        return replace(dsr, status=accepted_status(dsr.lake), review=made)
    return replace(
        dsr,
        status=DsrStatus.CANCELLED,
        review=made,
        error_code=DENIED,
        error_message="a reviewer denied the request",
    )
