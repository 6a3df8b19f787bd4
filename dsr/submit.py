"""Submitting: what somebody asks for becomes a request, queued for a processor or held.

order ──> identities checked ──> risk ──> kept: queued, or held for a reviewer
                                           └── another one like it is open: Conflict
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from dsr.changing import Step, draft_of
from dsr.desk import Desk
from dsr.lake import accepted_status, part_of
from dsr.risk import DAY, Signals, assess, is_disposable, is_mismatched, within_a_day
from dsr.risk_features import Asked, features_of
from schemas.access import Reach
from schemas.deadlines import deadlines
from schemas.dsr import (
    Dsr,
    DsrQuery,
    DsrStatus,
    Identity,
    Particulars,
    Regulation,
    RequestType,
    Risk,
)
from schemas.errors import Conflict, Invalid
from schemas.identities import checked_all
from schemas.requests import Counted
from stores.state.dsr_port import OpenRequestExists

KINDS: Mapping[str, tuple[Regulation | None, RequestType]] = {
    "gdpr_delete": (Regulation.GDPR, RequestType.ERASURE),
    "ccpa_delete": (Regulation.CCPA, RequestType.ERASURE),
    "export": (None, RequestType.PORTABILITY),
    "access": (None, RequestType.ACCESS),
    "portability": (None, RequestType.PORTABILITY),
    "erasure": (None, RequestType.ERASURE),
}
"""What can be asked for, by the names that clients use; None leaves the law to the request."""

_LOOKED_AT = 20
"""Earlier requests of a subject that are compared with a new one."""


@dataclass(frozen=True)
class Order:
    """What is asked for: ``kind`` is one of ``KINDS``, ``extensions`` are OpenDSR's.

    ``callback_urls`` are where a controller wants to be told by OpenDSR what becomes of it, and
    ``group_id`` is what it calls a group of its requests. What has ``lake_only`` goes to no other
    processor.
    """

    kind: str
    identities: Sequence[Identity] = field(repr=False)
    regulation: Regulation | None = None
    extensions: Mapping[str, Any] = field(default_factory=dict, repr=False)
    callback_urls: tuple[str, ...] = field(default=(), repr=False)
    group_id: str | None = field(default=None, repr=False)
    lake_only: bool = False


@dataclass(frozen=True)
class Submitter:
    """Who asks: a principal's name, and where from. ``source`` never gets written down as it is.

    ``readable`` is how far they may read requests; None if they may not.
    """

    subject: str
    organization: str
    readable: Reach | None
    source: str | None = field(default=None, repr=False)


def submit(
    desk: Desk,
    order: Order,
    submitter: Submitter,
    request_id: str,
    expect: Callable[[], None] | None = None,
) -> Dsr:
    """The request that an order becomes. Repeatable: under an id that is taken it is that one.

    ``expect`` is called right before the request is kept, once it is known that nothing is wrong
    with it; what that raises is raised, and the request is not kept.

    Raises ``Invalid``, ``NotSupported`` if it is for a lake that does nothing of the kind, and
    ``Conflict`` if the organization has a request that asks for the same,
    for the same subject, and is not closed: it is named if the submitter may read it.
    """
    known = desk.requests.get(request_id, Reach(submitter.organization))
    if known is not None:
        return known
    dsr = _prepared(desk, order, submitter, request_id)
    if expect is not None:
        _refuse_duplicate(desk, dsr, submitter)
        expect()
    detail = {"regulation": dsr.regulation, "type": dsr.type, "score": str(dsr.risk.score)}
    step = Step(dsr, "submitted", {**detail, "subjects": [*dsr.subjects]})
    try:
        desk.requests.add([dsr], [draft_of(step, submitter.subject)])
    except OpenRequestExists as error:
        return _already_there(desk, error, submitter, request_id)
    if dsr.is_waiting:
        desk.queue.put(dsr)
    return dsr


def request_id_of(digits: str) -> str:
    """A UUID of version 4 (RFC 9562) made of 32 hexadecimal digits, random ones or a hash's."""
    return str(uuid.UUID(hex=digits, version=4))


def regulation_of(order: Order, default: Regulation) -> tuple[Regulation, RequestType]:
    """The law and the type of an order. Raises ``Invalid`` if its kind is of another law."""
    if order.kind not in KINDS:
        raise Invalid(f"type: choose one of {', '.join(KINDS)}", where="type")
    regulation, asked = KINDS[order.kind]
    if regulation is None:
        return order.regulation or default, asked
    if order.regulation not in {None, regulation}:
        raise Invalid(f"regulation: {order.kind} is of {regulation}", where="regulation")
    return regulation, asked


def _prepared(desk: Desk, order: Order, submitter: Submitter, request_id: str) -> Dsr:
    regulation, asked = regulation_of(order, desk.section.regulation)
    identities = checked_all(order.identities)
    subjects, now = desk.subjects.hashes_of(identities), desk.clock()
    at = now.astimezone(desk.section.zone)
    lake = part_of(desk.lake, asked, identities, order.lake_only)
    about = Asked(identities, regulation, asked, order.extensions, at)
    risk = _risk(desk, _signals(desk, identities, subjects, submitter, now), about)
    due = deadlines(regulation, now, desk.section.zone)
    return Dsr(
        id=request_id,
        organization=submitter.organization,
        owner=submitter.subject,
        regulation=regulation,
        type=asked,
        status=DsrStatus.HELD if _is_risky(desk, risk) else accepted_status(lake),
        received_at=now,
        updated_at=now,
        due_at=due.due_at,
        confirm_at=due.confirm_at,
        subjects=subjects,
        sealed=desk.subjects.seal(request_id, _particulars(order, identities)),
        risk=risk,
        group_hash=group_hash_of(desk, order.group_id),
        lake=lake,
    )


def _risk(desk: Desk, signals: Signals, asked: Asked) -> Risk:
    """By the rules, and by what was learned; with the features, for others to be learned from."""
    features = features_of(signals, asked)
    learned = None if desk.model is None else desk.model.judge(features)
    return replace(assess(signals, desk.section.risk, learned), features=features)


def group_hash_of(desk: Desk, group_id: str | None) -> str | None:
    """By what the requests of a group are found; what it is called may be anybody's name."""
    return None if group_id is None else desk.subjects.pseudonym("group", group_id)


def _particulars(order: Order, identities: tuple[Identity, ...]) -> Particulars:
    return Particulars(identities, order.extensions, callback_urls=order.callback_urls)


def _is_risky(desk: Desk, risk: Risk) -> bool:
    return risk.score >= desk.section.risk.review_at


def _signals(
    desk: Desk,
    identities: Sequence[Identity],
    subjects: Sequence[str],
    submitter: Submitter,
    now: datetime,
) -> Signals:
    of_subject, of_submitter, of_source = _velocities(desk, subjects, submitter, now)
    return Signals(
        of_subject=of_subject,
        of_submitter=of_submitter,
        of_source=of_source,
        disposable_domain=is_disposable(identities, desk.section.risk.disposable_domains),
        identity_mismatch=is_mismatched(subjects, _earlier(desk, subjects, submitter)),
    )


def _velocities(
    desk: Desk, subjects: Sequence[str], submitter: Submitter, now: datetime
) -> tuple[float, float, float]:
    """How many requests came in a day: of the subject, of the submitter, and from the source."""
    place = submitter.organization
    names = [f"dsr/{place}/submitter/{submitter.subject}"]
    if submitter.source is not None:
        source = desk.subjects.pseudonym("source", submitter.source)
        names.append(f"dsr/{place}/source/{source}")
    names += [f"dsr/{place}/subject/{subject}" for subject in subjects]
    tallies = desk.counters.count([Counted(name, DAY) for name in names])
    found = [within_a_day(tally, now) for tally in tallies]
    first_subject = len(names) - len(subjects)
    return max(found[first_subject:]), found[0], sum(found[1:first_subject])


def _earlier(desk: Desk, subjects: Sequence[str], submitter: Submitter) -> list[Dsr]:
    """Requests that may know the subject otherwise; by one identity alone none can."""
    if len(subjects) == 1:
        return []
    reach = Reach(submitter.organization)
    queries = [DsrQuery(subject=subject, limit=_LOOKED_AT) for subject in subjects]
    return [dsr for query in queries for dsr in desk.requests.find(query, reach)]


def _refuse_duplicate(desk: Desk, dsr: Dsr, submitter: Submitter) -> None:
    """Raise ``Conflict`` as keeping it would, unless the other one comes at the same time."""
    reach = Reach(dsr.organization)
    for subject in dsr.subjects:
        for known in desk.requests.find(DsrQuery(subject, limit=_LOOKED_AT), reach):
            is_alike = (known.regulation, known.type) == (dsr.regulation, dsr.type)
            if is_alike and not known.status.is_final:
                raise _duplicate(desk, known.id, submitter)


def _already_there(
    desk: Desk, error: OpenRequestExists, submitter: Submitter, request_id: str
) -> Dsr:
    """The request itself, if a repeat was faster. Raises ``Conflict`` for another one."""
    other = error.details.get("request_id")
    if other == request_id:
        known = desk.requests.get(request_id, Reach(submitter.organization))
        if known is not None:
            return known
    raise _duplicate(desk, other, submitter) from None


def _duplicate(desk: Desk, other: str | None, submitter: Submitter) -> Conflict:
    message = "a request of this type is open for this subject: wait for it, or cancel it"
    details = {"requestId": other} if _may_read(desk, other, submitter) else {}
    return Conflict(message, reason="duplicate", **details)


def _may_read(desk: Desk, request_id: str | None, submitter: Submitter) -> bool:
    if request_id is None or submitter.readable is None:
        return False
    return desk.requests.get(request_id, submitter.readable) is not None
