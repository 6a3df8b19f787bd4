"""The lake's part in a request: what a request becomes as the lake goes on. No I/O in here.

A request may need a processor and the lake, or the lake alone. It is completed when both are done,
whichever is first::

    processor  completed ─────────────┐
                                      ├──> completed
    lake       waiting ──> ... done ──┘

Of one that the lake answers alone, ``submitted`` means that it waits for the lake, and
``in_progress`` that rows may be gone. See ``schemas.dsr_lake`` for the states of the lake's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dsr.changing import Step
from schemas.alerts import Alert, AlertKind
from schemas.dsr import Dsr, DsrStatus, Identity, IdentityFormat, IdentityType, RequestType
from schemas.dsr_lake import (
    UNDER_WAY,
    LakeCertificate,
    LakeExport,
    LakePreview,
    LakeState,
    LakeWork,
)
from schemas.errors import Invalid, RequestError
from schemas.fields import Scrub
from schemas.registry import Registry, load_registry

if TYPE_CHECKING:
    from config.settings import Settings

DENIED = "review_denied"

NOT_ALL_REACHED = "not_all_reached"
"""The code of what was erased as far as that was possible, and is not done."""

AGAIN = timedelta(minutes=30)
"""After so long it is looked whether deliveries that had begun before have ended."""

_DUE = frozenset({DsrStatus.QUEUED, DsrStatus.SUBMITTED, DsrStatus.IN_PROGRESS})


class NotSupported(RequestError):
    """What is asked for is well formed, and nothing that this processor does."""

    code = "not_supported"
    http_status = 501


@dataclass(frozen=True)
class LakeOffer:
    """What the lake can do for requests.

    ``kept`` are the types of identities that some field of the lake's record types holds as they
    are; ``hashed`` those that fields hold as a hash only: by a digest nothing is found there.
    ``alone`` says that there is no processor.
    """

    types: frozenset[RequestType]
    kept: frozenset[IdentityType]
    hashed: frozenset[IdentityType]
    alone: bool

    def finds(self, identity: Identity) -> bool:
        """Whether rows of this identity would be found."""
        if identity.type in self.kept:
            return True
        return identity.type in self.hashed and identity.format is IdentityFormat.RAW

    @property
    def formats(self) -> tuple[tuple[IdentityType, IdentityFormat], ...]:
        """Every type and format that rows are found by."""
        return tuple(
            (kind, form)
            for kind in IdentityType
            for form in IdentityFormat
            if self.finds(Identity(kind, "", form))
        )


def offer_of(settings: Settings) -> LakeOffer | None:
    """What the lake of the settings can do; None if there is none.

    Raises ``UsageError`` and ``SchemaError`` if its record types cannot be read.
    """
    section = settings.dsr.lake
    if section.uri is None:
        return None
    types = {RequestType.ERASURE}
    if section.export_to is not None:
        types |= {RequestType.ACCESS, RequestType.PORTABILITY}
    return offered(load_registry(settings.schemas), frozenset(types), not settings.processors)


def offered(registry: Registry, types: frozenset[RequestType], alone: bool) -> LakeOffer:
    """What a lake of these record types can do."""
    found = [field for kind in registry for _, field in kind.subjects]
    known = set(IdentityType)
    held = {scrub: {f.subject for f in found if f.scrub is scrub} & known for scrub in Scrub}
    return LakeOffer(
        types=types,
        kept=frozenset(IdentityType(str(one)) for one in held[Scrub.KEEP]),
        hashed=frozenset(IdentityType(str(one)) for one in held[Scrub.HASH]),
        alone=alone,
    )


# --- when a request comes


def part_of(
    offer: LakeOffer | None, asked: RequestType, identities: Sequence[Identity], alone: bool
) -> LakeWork | None:
    """The lake's part in a new request; None if it has none. ``alone`` is for the lake only.

    Raises ``NotSupported`` and ``Invalid`` if the lake could do nothing for a request that nobody
    else is asked to answer.
    """
    if offer is None or asked not in offer.types:
        if alone:
            raise NotSupported(f"{asked} is not supported here: discovery lists what is")
        return None
    is_alone = alone or offer.alone
    found = [one for one in identities if offer.finds(one)]
    unsearched = sorted({one.type.value for one in identities if not offer.finds(one)})
    if found:
        return LakeWork(LakeState.WAITING, is_alone, tuple(unsearched))
    if is_alone:
        raise _nothing_found(offer)
    return LakeWork(LakeState.UNSEARCHED, False, tuple(unsearched))


def _nothing_found(offer: LakeOffer) -> Invalid:
    types = ", ".join(sorted(offer.kept | offer.hashed)) or "no identity at all"
    return Invalid(
        f"identities: nothing in the lake is found by any of these: it is searched by {types}; "
        "digests are found only where values are kept as they are",
        where="identities",
    )


def accepted_status(work: LakeWork | None) -> DsrStatus:
    """What a request becomes that no reviewer has to see (any more)."""
    is_alone = work is not None and work.alone
    return DsrStatus.SUBMITTED if is_alone else DsrStatus.QUEUED


# --- while a job is at it


def is_due(dsr: Dsr, now: datetime) -> bool:
    """Whether a job may take it up by now."""
    work = dsr.lake
    if work is None or work.state is not LakeState.WAITING or dsr.cancel_requested_at is not None:
        return False
    return dsr.status in _DUE and (work.try_at is None or work.try_at <= now)


def taken(dsr: Dsr, now: datetime, job_id: str, counts_first: bool) -> Step | None:
    """Taken up by a job: an erasure is counted first, unless a reviewer has approved that.

    What a job has put off or certified is not for the same job, however late that goes on.
    """
    if dsr.lake is None or not is_due(dsr, now):
        return None
    if dsr.lake.try_at is not None and dsr.lake.job_id == job_id:
        return None
    if dsr.lake.certificate is not None and dsr.lake.certificate.job_id == job_id:
        return None
    is_erasure = dsr.type is RequestType.ERASURE
    if counts_first and is_erasure and not dsr.lake.is_approved:
        work = replace(dsr.lake, state=LakeState.COUNTING, job_id=job_id, reason=None)
        return Step(replace(dsr, lake=work), "lake_counting", {"job": job_id})
    work = replace(
        dsr.lake, state=LakeState.RUNNING, job_id=job_id, began_at=now, reason=None, try_at=None
    )
    status = dsr.status
    if work.alone and status.may_become(DsrStatus.IN_PROGRESS):
        status = DsrStatus.IN_PROGRESS
    return Step(replace(dsr, lake=work, status=status), "lake_running", {"job": job_id})


def held(dsr: Dsr, now: datetime, job_id: str, preview: LakePreview, reason: str) -> Step | None:
    """Held for a reviewer, with what was counted."""
    del now
    work = dsr.lake
    if work is None or not _is_at(work, job_id) or dsr.status.is_final:
        return None
    kept = replace(
        work,
        state=LakeState.HELD,
        preview=preview,
        reason=reason,
        began_at=None,
        reviewed_by=None,
        reviewed_at=None,
    )
    detail = {"preview": preview.id, "rows": preview.rows, "files": preview.files}
    return Step(replace(dsr, lake=kept), "lake_held", detail)


def done(dsr: Dsr, now: datetime, job_id: str, certificate: LakeCertificate) -> Step | None:
    """Erased, by this certificate. Completed, unless a processor has not done its part yet."""
    work = _running(dsr, job_id)
    if work is None:
        return None
    kept = replace(work.certified(certificate), state=LakeState.DONE, done_at=now, reason=None)
    return Step(_joined(replace(dsr, lake=kept), now), "lake_erased", _told(certificate))


def left_over(
    dsr: Dsr, now: datetime, job_id: str, certificate: LakeCertificate, is_told: bool = True
) -> Step | None:
    """Erased as far as that was possible, by this certificate, and so not done.

    What was not reached is left to operators, once they could be told; if nothing was missed, it
    waits for the deliveries that had begun before.
    """
    work = _running(dsr, job_id)
    if work is None:
        return None
    kept = work.certified(certificate)
    if missed := certificate.missed:
        reason = f"{NOT_ALL_REACHED}: the certificate names {missed} places that were not reached"
        kept = replace(kept, state=LakeState.PARKED if is_told else kept.state, reason=reason)
    else:
        kept = _waiting_for_deliveries(kept, now)
    return Step(replace(dsr, lake=kept), "lake_left_over", _told(certificate))


def put_off(dsr: Dsr, now: datetime, job_id: str) -> Step | None:
    """Looked at again, and deliveries that had begun before are still under way."""
    work = _running(dsr, job_id)
    if work is None:
        return None
    return Step(replace(dsr, lake=_waiting_for_deliveries(work, now)), "lake_put_off")


def accepted(dsr: Dsr, now: datetime) -> Step | None:
    """What was not reached is not going to be, somebody decided: done by the certificate there is.

    None for any other.
    """
    work = dsr.lake
    if work is None or work.state is not LakeState.PARKED or work.certificate is None:
        return None
    kept = replace(work, state=LakeState.DONE, done_at=now)
    return Step(_joined(replace(dsr, lake=kept), now), "lake_accepted", _told(work.certificate))


def _running(dsr: Dsr, job_id: str) -> LakeWork | None:
    """The lake's part, if this job is at it."""
    work = dsr.lake
    is_running = work is not None and _is_at(work, job_id) and work.state is LakeState.RUNNING
    return work if is_running else None


def _waiting_for_deliveries(work: LakeWork, now: datetime) -> LakeWork:
    reason = "deliveries that had begun before the erasure are under way"
    return replace(work, state=LakeState.WAITING, try_at=now + AGAIN, reason=reason)


def _told(certificate: LakeCertificate) -> dict[str, Any]:
    return {
        "certificate": certificate.id,
        "certificateSha256": certificate.sha256,
        "requests": certificate.requests,
        "unreachable": certificate.unreachable,
        "openRuns": certificate.open_runs,
    }


def handed_over(
    dsr: Dsr, now: datetime, job_id: str, export: LakeExport, sealed: bytes
) -> Step | None:
    """Exported into this archive; ``sealed`` has its address, if it has one."""
    work = dsr.lake
    if work is None or not _is_at(work, job_id) or not dsr.sealed:
        return None
    kept = replace(work, state=LakeState.DONE, export=export, done_at=now, reason=None)
    counted = replace(dsr.forwarding, results_count=export.rows) if work.alone else dsr.forwarding
    detail = {"export": export.id, "archiveSha256": export.sha256, "unread": export.unread}
    after = replace(dsr, lake=kept, sealed=sealed, forwarding=counted)
    return Step(_joined(after, now), "lake_exported", detail)


def parked(
    dsr: Dsr, now: datetime, job_id: str, code: str, message: str, is_told: bool = True
) -> Step | None:
    """Left to operators: a job could not do it, and said why.

    If they could not be told, only the reason is kept, for whoever can tell them later.
    """
    del now
    work = dsr.lake
    if work is None or not _is_at(work, job_id) or dsr.status.is_final:
        return None
    state = LakeState.PARKED if is_told else work.state
    kept = replace(work, state=state, reason=f"{code}: {message}")
    action = "lake_parked" if is_told else "lake_failed"
    return Step(replace(dsr, lake=kept), action, {"code": code})


def parked_alert(dsr: Dsr, job_id: str, code: str, now: datetime) -> Alert:
    """What operators are told before the lake's part is parked, once a job."""
    return Alert(
        kind=AlertKind.REQUEST_PARKED,
        key=f"parked:{dsr.id}:lake:{job_id}",
        at=now,
        resource=f"dsr:{dsr.id}",
        organization=dsr.organization,
        message="the lake could not answer a request: it waits for somebody to have it tried again",
        details={"code": code},
    )


def returned(dsr: Dsr, now: datetime, job_id: str) -> Step | None:
    """Given back by a job that was to count it anew: what was approved is not kept any more."""
    del now
    work = dsr.lake
    if work is None or not _is_at(work, job_id) or dsr.status.is_final:
        return None
    kept = replace(
        work, state=LakeState.WAITING, job_id=None, preview=None, began_at=None,
        reviewed_by=None, reviewed_at=None,
    )  # fmt: skip
    return Step(replace(dsr, lake=kept), "lake_returned")


def retried(dsr: Dsr, now: datetime) -> Step | None:
    """What was parked waits for the lake again, for another job; None for any other."""
    del now
    if dsr.lake is None or dsr.lake.state is not LakeState.PARKED or dsr.status.is_final:
        return None
    work = replace(dsr.lake, state=LakeState.WAITING, reason=None)
    return Step(replace(dsr, lake=work), "lake_retried")


def _is_at(work: LakeWork, job_id: str) -> bool:
    return work.state in UNDER_WAY and work.job_id == job_id


# --- what a reviewer decides


def reviewed(dsr: Dsr, now: datetime, actor: str, approved: bool) -> Dsr:
    """A request whose lake's part was held: it goes on, or is not done."""
    assert dsr.lake is not None
    state = LakeState.WAITING if approved else LakeState.DENIED
    work = replace(dsr.lake, state=state, reviewed_by=actor, reviewed_at=now, reason=None)
    return _joined(replace(dsr, lake=work), now)


# --- where the two parts meet


def told_by_processor(dsr: Dsr, status: DsrStatus, now: datetime) -> Dsr:
    """A request of which its processor says so; it goes on as long as the lake is not done."""
    if status is not DsrStatus.COMPLETED or dsr.lake is None:
        return replace(dsr, status=status, closed_at=now if status.is_final else dsr.closed_at)
    work = dsr.lake if dsr.lake.processor_done_at else replace(dsr.lake, processor_done_at=now)
    return _joined(replace(dsr, lake=work), now)


def is_done_at_processor(dsr: Dsr) -> bool:
    """Whether its processor has nothing more to say of it."""
    return dsr.lake is not None and dsr.lake.processor_done_at is not None


def _joined(dsr: Dsr, now: datetime) -> Dsr:
    """With the status that both parts make."""
    work = dsr.lake
    assert work is not None
    if not (work.alone or work.processor_done_at):
        return dsr
    if work.state.is_over:
        return _ended(dsr, work, now)
    if work.processor_done_at and dsr.status.may_become(DsrStatus.IN_PROGRESS):
        return replace(dsr, status=DsrStatus.IN_PROGRESS)
    return dsr


def _ended(dsr: Dsr, work: LakeWork, now: datetime) -> Dsr:
    status = DsrStatus.COMPLETED
    if work.state is LakeState.DENIED:
        status = DsrStatus.CANCELLED if work.alone else DsrStatus.FAILED
    if not dsr.status.may_become(status):
        return dsr
    ended = replace(dsr, status=status, closed_at=now)
    if work.state is not LakeState.DENIED:
        return ended
    message = "a reviewer denied that the lake forgets the subject"
    return replace(ended, error_code=DENIED, error_message=message)
