"""Cancelling: at once what no processor can have, else by asking its processor.

What the lake has begun to erase is not cancelled any more.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dsr.changing import Step, change
from dsr.desk import Desk
from schemas.access import Reach
from schemas.dsr import Dsr, DsrStatus
from schemas.errors import Conflict


def cancel(desk: Desk, request_id: str, reach: Reach, actor: str) -> Dsr:
    """Cancel a request, or have it cancelled; the request as it is then. May be repeated.

    Raises ``NotFound``, and ``Conflict`` for one that is closed, or that its processor or the lake
    has begun: OpenDSR cancels what is pending alone.
    """
    return change(desk, request_id, reach, actor, cancelled)


def cancelled(dsr: Dsr, now: datetime) -> Step | None:
    """What a request becomes when it is cancelled; None if that was asked for before."""
    if dsr.status is DsrStatus.CANCELLED or dsr.cancel_requested_at is not None:
        return None
    is_begun = dsr.lake is not None and dsr.lake.began_at is not None
    if dsr.status.is_final or dsr.status is DsrStatus.IN_PROGRESS or is_begun:
        message = f"the request cannot be cancelled any more: it is {dsr.status}"
        raise Conflict(message, reason="too_late", status=dsr.status.value)
    is_alone = dsr.lake is not None and dsr.lake.alone
    is_sent = dsr.status is DsrStatus.SUBMITTED or dsr.forwarding.tried_at is not None
    if is_sent and not is_alone:
        # The processor is asked soon, however long the next try was put off.
        forwarding = replace(dsr.forwarding, next_try_at=now)
        asked = replace(dsr, cancel_requested_at=now, parked_reason=None, forwarding=forwarding)
        return Step(asked, "cancel_requested")
    return Step(replace(dsr, status=DsrStatus.CANCELLED), "cancelled")
