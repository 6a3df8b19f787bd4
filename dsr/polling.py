"""Asking processors about requests that they have been silent about. No I/O in here.

Whether a callback comes is the processor's affair, and the network's. So a request that it has is
asked about when it was not heard of for a while, less and less often (``dsr.pauses.Silence``). What
it answers counts as a callback does: it takes the request further, or changes nothing.

    LookUp ──┬─ Located ────────────────> as a callback; asked again after the next silence
             ├─ Gone, by now for good ──Tell──> parked: nobody says any more what became of it
             └─ all else ───────────────> asked again after the next silence
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

from dsr.callbacks import advanced, heard_of, takes_further, with_results
from dsr.changing import Step
from dsr.forwarding import (
    Located,
    LookUp,
    Outcome,
    Rules,
    Settle,
    Talk,
    Unready,
    asked_again_later,
    parking,
)
from schemas.dsr import Dsr, DsrStatus
from stores.processors.errors import Gone, ProcessorError

THERE = frozenset({DsrStatus.SUBMITTED, DsrStatus.IN_PROGRESS})
"""What a request is while its processor has it."""


def inquiry(dsr: Dsr, now: datetime, rules: Rules) -> Talk:
    """Ask the processor of a request where it is."""
    answer = yield LookUp(dsr)
    if isinstance(answer, Located):
        yield Settle(partial(_told, located=answer, rules=rules))
        return Outcome.ASKED
    assert isinstance(answer, ProcessorError)
    later = partial(_not_told, error=answer, rules=rules)
    if isinstance(answer, Gone) and _is_settled(dsr, now, rules):
        return (yield from parking(dsr, answer, later))
    yield Settle(later)
    return Outcome.PUT_OFF


def orphaned(dsr: Dsr, rules: Rules) -> Talk:
    """Park a request whose processor, or its region, the settings do not name any more."""
    known = dsr.forwarding
    whose = repr(known.processor)
    if known.region is not None:
        whose += f" with its region {known.region!r}"
    error = Unready(
        f"the settings do not name the processor {whose} any more: name it again, then have the "
        "request tried again"
    )
    return (yield from parking(dsr, error, partial(asked_again_later, error=error, rules=rules)))


def _told(dsr: Dsr, now: datetime, located: Located, rules: Rules) -> Step | None:
    """What a request becomes by what its processor says of it; a callback may have been faster."""
    if dsr.status not in THERE:
        return None
    there = replace(dsr, forwarding=replace(dsr.forwarding, region=located.region))
    detail = {"told": located.report.status.value, "asked": True}
    if not takes_further(there, located.report):
        return Step(heard_of(there, rules.silence, now), "asked", detail)
    found = advanced(there, located.report, rules.silence, now)
    kept, lost = with_results(found, located.report.results_url, rules.seal)
    return Step(kept, "told", {**detail, **lost})


def _not_told(dsr: Dsr, now: datetime, error: ProcessorError, rules: Rules) -> Step | None:
    if dsr.status.is_final:
        return None
    return Step(heard_of(dsr, rules.silence, now), "asked", {"code": error.code})


def _is_settled(dsr: Dsr, now: datetime, rules: Rules) -> bool:
    """Whether it was sent so long ago that it is not on its way any more."""
    tried_at = dsr.forwarding.tried_at
    return tried_at is None or now - tried_at >= rules.settled_after
