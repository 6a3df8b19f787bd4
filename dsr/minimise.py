"""Minimising: a closed request loses who it was about, after a while. That it was made remains."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from dsr.changing import Step, change
from dsr.desk import Desk
from schemas.access import Reach
from schemas.dsr import Dsr

ACTOR = "retention"
"""Who does it, in the audit log."""

_AT_ONCE = 200


def minimise(desk: Desk) -> int:
    """Minimise requests that were closed for long enough; how many. To be called hourly.

    Raises ``StoreError``; may be repeated, and by several at once.
    """
    before = desk.clock() - timedelta(days=desk.section.keep_days)
    total = 0
    while True:
        some = desk.requests.to_minimise(before, _AT_ONCE)
        for dsr in some:
            change(desk, dsr.id, Reach(None), ACTOR, minimised)
        total += len(some)
        if len(some) < _AT_ONCE:
            return total


def minimised(dsr: Dsr, now: datetime) -> Step | None:
    """The request without identities, extensions, results, and what people wrote."""
    if dsr.minimised_at is not None or not dsr.status.is_final:
        return None
    review = None if dsr.review is None else replace(dsr.review, reason=None)
    bare = replace(
        dsr, subjects=(), sealed=b"", extension_reason=None, review=review, minimised_at=now
    )
    return Step(bare, "minimised")
