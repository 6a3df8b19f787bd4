"""The conversation by which a queued request reaches its processor, once. No I/O in here.

    Claim: the time is written down ── overtaken by another change ──> left to the next round
      │
    Send, with what is known of an earlier attempt
      ├─ Accepted ──────────────────────────> submitted
      ├─ Refused ───────────────────────────> failed, with the reason
      ├─ Unsettled: it may have it ─────────> queued, and asked first the next time
      ├─ all else: it does not have it ─────> queued, after a pause
      └─ ... after the last attempt ──Tell──> parked, until somebody has it tried again

A process that dies after its claim leaves the time behind, and the next one asks first. A request
whose cancelling is asked for is not sent; if it may have arrived, that is found out first.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from dsr.callbacks import Seal, advanced, heard_of, with_results
from dsr.changing import Decide, Step
from dsr.lake import retried as retried_at_lake
from dsr.lake import told_by_processor
from dsr.pauses import Draw, Pauses, Silence
from schemas.alerts import Alert, AlertKind
from schemas.dsr import Dsr, DsrStatus, Forwarding
from schemas.opendsr.model import Acceptance, StatusReport
from stores.processors.errors import (
    Gone,
    Misconfigured,
    NotPending,
    ProcessorError,
    Refused,
    Throttled,
    Unsettled,
)
from stores.processors.port import Accepted, Earlier


class Unreadable(ProcessorError):
    """What is sealed of the request cannot be opened: nothing was sent."""

    code = "seal_broken"
    http_status = 500


class Unready(Misconfigured):
    """Our own settings or keys do not let it be sent: no processor was asked anything."""


class Outcome(StrEnum):
    """What became of a request in one round."""

    FORWARDED = "forwarded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PUT_OFF = "put_off"
    ASKED = "asked"
    PARKED = "parked"
    OVERTAKEN = "overtaken"
    LEFT = "left"


@dataclass(frozen=True)
class Claim:
    """Write this, if nobody has changed the request since it was read: it, or None."""

    decide: Decide


@dataclass(frozen=True)
class Settle:
    """Write what this makes of the request as it is by now: the request."""

    decide: Decide


@dataclass(frozen=True)
class Send:
    """Have the processor take it: ``Accepted`` or the error."""

    dsr: Dsr
    earlier: Earlier | None


@dataclass(frozen=True)
class LookUp:
    """Ask where it is, wherever it may be: ``Located`` or the error."""

    dsr: Dsr


@dataclass(frozen=True)
class Located:
    """The region that has it, and what that says of it."""

    region: str
    report: StatusReport


@dataclass(frozen=True)
class Withdraw:
    """Have the processor cancel it: ``Acceptance`` or the error."""

    dsr: Dsr


@dataclass(frozen=True)
class Tell:
    """Tell operators: whether they have been told."""

    alert: Alert


Said = Claim | Settle | Send | LookUp | Withdraw | Tell
Heard = Dsr | Accepted | Located | Acceptance | ProcessorError | bool | None
Talk = Generator[Said, Heard, Outcome]


@dataclass(frozen=True)
class Rules:
    """How long is waited, and how often tried.

    So long after it was sent, a request that a processor does not know is not on its way any more.
    """

    pauses: Pauses
    draw: Draw
    max_attempts: int
    seal: Seal
    settled_after: timedelta = timedelta(minutes=2)
    silence: Silence = field(default_factory=Silence)


def forwarding(dsr: Dsr, processor: str, rules: Rules) -> Talk:
    """Have a queued request taken by the processor of this name."""
    if dsr.cancel_requested_at is not None:
        return (yield from _recall(dsr, rules))
    earlier = _earlier(dsr.forwarding)
    claimed = yield Claim(lambda known, now: _claimed(known, processor, now))
    if not isinstance(claimed, Dsr):
        return Outcome.OVERTAKEN
    answer = yield Send(claimed, earlier)
    if isinstance(answer, Accepted):
        yield Settle(_taken_by(answer, rules))
        return Outcome.FORWARDED
    assert isinstance(answer, ProcessorError)
    if isinstance(answer, Refused):
        yield Settle(_while_claimed(claimed, lambda known, now: _refused(known, answer, now)))
        return Outcome.FAILED
    return (yield from _later(claimed, dsr.forwarding, answer, rules))


def withdrawal(dsr: Dsr, rules: Rules) -> Talk:
    """Have a submitted request cancelled at its processor, while it is pending there.

    A processor that has no such request (404) will not work it off. One that has it no more (410)
    may have done so: to call that cancelled would deny an erasure that may have been.
    """
    answer = yield Withdraw(dsr)
    if isinstance(answer, Acceptance) or _has_none(answer):
        yield Settle(_cancelled)
        return Outcome.CANCELLED
    if isinstance(answer, NotPending | Refused | Gone):
        report = yield LookUp(dsr)
        found = report if isinstance(report, Located) else None
        yield Settle(lambda known, now: _too_late(known, found, rules, now))
        return Outcome.FAILED
    assert isinstance(answer, ProcessorError)
    yield Settle(partial(asked_again_later, error=answer, rules=rules))
    return Outcome.PUT_OFF


def retried(dsr: Dsr, now: datetime) -> Step | None:
    """What a parked request becomes when somebody has it tried again; None for any other.

    It may be parked in the queue, at the lake, or at both.
    """
    if dsr.status.is_final:
        return None
    at_lake = retried_at_lake(dsr, now)
    if dsr.parked_reason is None:
        return at_lake
    known = dsr if at_lake is None else at_lake.dsr
    forwarding = replace(dsr.forwarding, attempts=0, next_try_at=now)
    return Step(replace(known, parked_reason=None, forwarding=forwarding), "retried")


def _recall(dsr: Dsr, rules: Rules) -> Talk:
    """End a request that is not to be sent any more, if no processor has it."""
    if dsr.forwarding.tried_at is None:
        yield Settle(_cancelled)
        return Outcome.CANCELLED
    answer = yield LookUp(dsr)
    if isinstance(answer, Located):
        yield Settle(lambda known, now: _located(known, answer, rules, now))
        return Outcome.FORWARDED
    assert isinstance(answer, ProcessorError)
    again = partial(asked_again_later, error=answer, rules=rules)
    if isinstance(answer, Gone) and answer.had_it:
        return (yield from parking(dsr, answer, again))
    if not isinstance(answer, Gone):
        yield Settle(again)
        return Outcome.PUT_OFF
    settled = yield Settle(lambda known, now: _not_there(known, rules, now))
    is_over = isinstance(settled, Dsr) and settled.status is DsrStatus.CANCELLED
    return Outcome.CANCELLED if is_over else Outcome.PUT_OFF


def _later(dsr: Dsr, before: Forwarding, error: ProcessorError, rules: Rules) -> Talk:
    """Queue it again, or park it, but not without having told somebody."""
    left = partial(_left, error=error, before=before)
    is_last = dsr.forwarding.attempts >= rules.max_attempts or isinstance(error, Unreadable)
    if is_last and not isinstance(error, Throttled):
        told = yield Tell(_parked_alert(dsr, error))
        if told:
            yield Settle(_while_claimed(dsr, lambda known, _: _parked_in_queue(left(known), error)))
            return Outcome.PARKED
    yield Settle(_while_claimed(dsr, lambda known, now: _put_off(left(known), error, rules, now)))
    return Outcome.PUT_OFF


def parking(dsr: Dsr, error: ProcessorError, otherwise: Decide) -> Talk:
    """Leave a request to operators, who are told of it first; ``otherwise`` if they cannot be."""
    told = yield Tell(_parked_alert(dsr, error))
    if not told:
        yield Settle(otherwise)
        return Outcome.PUT_OFF
    yield Settle(lambda known, _: _parked(known, error) if known.status is dsr.status else None)
    return Outcome.PARKED


def _has_none(answer: Heard) -> bool:
    return isinstance(answer, Gone) and not answer.had_it


def _earlier(known: Forwarding) -> Earlier | None:
    return None if known.tried_at is None else Earlier(known.tried_at, known.region)


# --- what a request becomes


def _while_claimed(claimed: Dsr, decide: Decide) -> Decide:
    """Leaves a request that another one has claimed since: by now it may be on its way again."""

    def settle(known: Dsr, now: datetime) -> Step | None:
        is_ours = known.forwarding.tried_at == claimed.forwarding.tried_at
        return decide(known, now) if is_ours else None

    return settle


def _claimed(dsr: Dsr, processor: str, now: datetime) -> Step | None:
    if dsr.status is not DsrStatus.QUEUED:
        return None
    attempts = dsr.forwarding.attempts + 1
    # Any region may have it from here on, whichever may have had it before.
    tried = replace(
        dsr.forwarding, processor=processor, region=None, attempts=attempts, tried_at=now
    )
    return Step(replace(dsr, forwarding=tried), "forwarding", {"attempt": attempts})


def _taken_by(accepted: Accepted, rules: Rules) -> Decide:
    """Also if a callback was faster: a status never goes back."""

    def decide(dsr: Dsr, now: datetime) -> Step:
        known = replace(
            dsr.forwarding,
            region=accepted.region,
            controller_id=accepted.controller_id,
            expected_completion_at=(
                accepted.expected_completion_at or dsr.forwarding.expected_completion_at
            ),
            results_count=accepted.results_count or dsr.forwarding.results_count,
        )
        there = _at(replace(dsr, forwarding=known), accepted.status.as_status, now)
        taken = heard_of(there, rules.silence, now)
        detail = {"processor": known.processor, "region": known.region, "late": accepted.is_late}
        kept, lost = with_results(taken, accepted.results_url, rules.seal)
        return Step(kept, "forwarded", {**detail, **lost})

    return decide


def _located(dsr: Dsr, located: Located, rules: Rules, now: datetime) -> Step:
    """What a request becomes that was found where it was sent."""
    report, silence = located.report, rules.silence
    may = dsr.status.may_become(report.status.as_status)
    found = advanced(dsr, report, silence, now) if may else heard_of(dsr, silence, now)
    there = replace(found, forwarding=replace(found.forwarding, region=located.region))
    kept, lost = with_results(there, report.results_url, rules.seal)
    return Step(kept, "forwarded", {"late": True, **lost})


def _at(dsr: Dsr, status: DsrStatus, now: datetime) -> Dsr:
    if not dsr.status.may_become(status):
        return dsr
    return told_by_processor(dsr, status, now)


def _refused(dsr: Dsr, error: ProcessorError, now: datetime) -> Step | None:
    if dsr.status is not DsrStatus.QUEUED:
        return None
    if dsr.cancel_requested_at is not None:
        return _cancelled(dsr, now)
    failed = replace(
        dsr,
        status=DsrStatus.FAILED,
        closed_at=now,
        error_code=error.code,
        error_message=error.message,
        forwarding=replace(dsr.forwarding, next_try_at=None),
    )
    return Step(failed, "failed", {"code": error.code})


def _cancelled(dsr: Dsr, now: datetime) -> Step | None:
    if not dsr.status.may_become(DsrStatus.CANCELLED):
        return None
    return Step(replace(dsr, status=DsrStatus.CANCELLED, closed_at=now), "cancelled")


def _put_off(dsr: Dsr, error: ProcessorError, rules: Rules, now: datetime) -> Step | None:
    if dsr.status is not DsrStatus.QUEUED:
        return None
    attempts = dsr.forwarding.attempts - isinstance(error, Throttled)
    at = now + _pause(attempts, error, rules)
    forwarding = replace(dsr.forwarding, attempts=attempts, next_try_at=at)
    return Step(replace(dsr, forwarding=forwarding), "put_off", {"code": error.code})


def _parked_in_queue(dsr: Dsr, error: ProcessorError) -> Step | None:
    return _parked(dsr, error) if dsr.status is DsrStatus.QUEUED else None


def _parked(dsr: Dsr, error: ProcessorError) -> Step:
    forwarding = replace(dsr.forwarding, next_try_at=None)
    reason = f"{error.code}: {error.message}"
    parked = replace(dsr, parked_reason=reason, forwarding=forwarding)
    return Step(parked, "parked", {"code": error.code})


def _left(dsr: Dsr, error: ProcessorError, before: Forwarding) -> Dsr:
    """What is remembered of an attempt that failed; if none was made, of those before it.

    The time is kept if the processor may have the request, else forgotten.
    """
    tried_at, region = None, None
    if isinstance(error, Unreadable | Unready) or _is_unsettled_before(error, before):
        tried_at, region = before.tried_at, before.region
    elif isinstance(error, Unsettled):
        tried_at, region = dsr.forwarding.tried_at, error.region
    return replace(dsr, forwarding=replace(dsr.forwarding, tried_at=tried_at, region=region))


def _is_unsettled_before(error: ProcessorError, before: Forwarding) -> bool:
    """Whether regions were only asked: what is sent leaves no doubt but about one of them.

    Counted from each question, the time after which nothing is on its way would never pass.
    """
    is_any = isinstance(error, Unsettled) and error.region is None
    return is_any and before.tried_at is not None


def _not_there(dsr: Dsr, rules: Rules, now: datetime) -> Step | None:
    """No processor has it; but what was just sent may still be on its way."""
    tried_at = dsr.forwarding.tried_at
    if tried_at is None or now - tried_at >= rules.settled_after:
        return _cancelled(dsr, now)
    waiting = replace(dsr.forwarding, next_try_at=tried_at + rules.settled_after)
    return Step(replace(dsr, forwarding=waiting), "put_off", {"code": "processor_unsettled"})


def asked_again_later(dsr: Dsr, now: datetime, error: ProcessorError, rules: Rules) -> Step | None:
    """What is to be cancelled is asked for until its processor has answered."""
    if dsr.status.is_final:
        return None
    attempts = dsr.forwarding.attempts + 1
    at = now + _pause(attempts, error, rules)
    forwarding = replace(dsr.forwarding, attempts=attempts, next_try_at=at)
    return Step(replace(dsr, forwarding=forwarding), "put_off", {"code": error.code})


def _too_late(dsr: Dsr, found: Located | None, rules: Rules, now: datetime) -> Step | None:
    """It goes on at its processor."""
    if dsr.status.is_final:
        return None
    goes_on = replace(dsr, cancel_requested_at=None)
    if found is not None:
        goes_on = _located(goes_on, found, rules, now).dsr
    return Step(goes_on, "cancel_refused")


def _pause(failures: int, error: ProcessorError, rules: Rules) -> timedelta:
    pause = rules.pauses.drawn(max(1, failures), rules.draw)
    if isinstance(error, Throttled):
        return pause + timedelta(seconds=error.retry_after)
    return pause


def _parked_alert(dsr: Dsr, error: ProcessorError) -> Alert:
    return Alert(
        kind=AlertKind.REQUEST_PARKED,
        key=f"parked:{dsr.id}:{dsr.version}",
        at=dsr.updated_at,
        resource=f"dsr:{dsr.id}",
        organization=dsr.organization,
        message="a request cannot go on and waits for somebody to have it tried again",
        details={"code": error.code, "attempts": dsr.forwarding.attempts},
    )
