"""A data subject request (DSR): what a person asks of us, and where the answer is.

             ┌──────────────── approved ───────────────┐
    held ────┤                                         v
             └──> cancelled        queued ──> submitted ──> in_progress ──> completed
                                     │            │             │
                                     └────────────┴─────────────┴──> failed | cancelled

``held`` waits for a reviewer, ``queued`` for a processor that can be reached, ``submitted`` is what
OpenDSR calls ``pending``, also of what waits for the lake alone; ``failed`` is ours, no processor
says it. A status never goes back, and a final one never changes. Whatever follows in the row of
statuses may come next, for of what happens at a processor only some may be heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.dsr_lake import LakeWork, shown_lake
from schemas.events import Event, Topic, shown_time


class DsrStatus(StrEnum):
    """Where a request is, in the order in which it goes on."""

    HELD = "held"
    QUEUED = "queued"
    SUBMITTED = "submitted"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in {DsrStatus.COMPLETED, DsrStatus.FAILED, DsrStatus.CANCELLED}

    def may_become(self, other: DsrStatus) -> bool:
        """Whether a request may go from this status to ``other``, another one."""
        if self.is_final or self is other:
            return False
        if self is DsrStatus.HELD:
            return other in {DsrStatus.QUEUED, DsrStatus.SUBMITTED, DsrStatus.CANCELLED}
        order = list(DsrStatus)
        return order.index(other) > order.index(self)


class Regulation(StrEnum):
    """The law that a request is made under."""

    GDPR = "gdpr"
    CCPA = "ccpa"


class RequestType(StrEnum):
    """What is asked for, as OpenDSR names it."""

    ACCESS = "access"
    PORTABILITY = "portability"
    ERASURE = "erasure"


class IdentityType(StrEnum):
    """What identifies a subject: the types of OpenDSR 2.0."""

    EMAIL = "email"
    CONTROLLER_CUSTOMER_ID = "controller_customer_id"
    ANDROID_ADVERTISING_ID = "android_advertising_id"
    ANDROID_ID = "android_id"
    FIRE_ADVERTISING_ID = "fire_advertising_id"
    IOS_ADVERTISING_ID = "ios_advertising_id"
    IOS_VENDOR_ID = "ios_vendor_id"
    MICROSOFT_ADVERTISING_ID = "microsoft_advertising_id"
    MICROSOFT_PUBLISHER_ID = "microsoft_publisher_id"
    ROKU_PUBLISHER_ID = "roku_publisher_id"
    ROKU_ADVERTISING_ID = "roku_advertising_id"


class IdentityFormat(StrEnum):
    """How an identity's value is given."""

    RAW = "raw"
    SHA1 = "sha1"
    MD5 = "md5"
    SHA256 = "sha256"


@dataclass(frozen=True)
class Identity:
    """One identity of a subject. Personal data: never in a log, an error or a metric."""

    type: IdentityType
    value: str = field(repr=False)
    format: IdentityFormat = IdentityFormat.RAW


@dataclass(frozen=True)
class Particulars:
    """What of a request is kept sealed: who it is about, what else a processor is told, results.

    ``extensions`` are OpenDSR's, by the domain that they are for; they may name further identities.
    ``results_url`` gives access to a subject's data. ``callback_urls`` are where a controller that
    addresses us as its processor wants to be told; they may hold secrets of its own.
    ``lake_results_url`` is the address of what the lake holds of the subject.
    """

    identities: tuple[Identity, ...]
    extensions: Mapping[str, Any] = field(default_factory=dict, repr=False)
    results_url: str | None = field(default=None, repr=False)
    callback_urls: tuple[str, ...] = field(default=(), repr=False)
    lake_results_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Risk:
    """How a request was judged when it came: 0 is harmless, 1 is not; reasons say why.

    ``features`` are numbers of what was known then, for later ones to be compared with. They say
    nothing of who the subject is, and stay when the request is minimised.
    """

    score: float
    reasons: tuple[str, ...] = ()
    features: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Forwarding:
    """What is known of a request at a processor.

    ``tried_at`` is written before the processor is asked, so that after a crash it is asked whether
    it has the request before it is sent again.
    """

    processor: str | None = None
    region: str | None = None
    attempts: int = 0
    tried_at: datetime | None = None
    next_try_at: datetime | None = None
    controller_id: str | None = None
    expected_completion_at: datetime | None = None
    results_count: int | None = None


@dataclass(frozen=True)
class Review:
    """What a reviewer decided about a request that was held, and why."""

    at: datetime
    by: str
    approved: bool
    reason: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class DueNotice:
    """That whoever watches a request was told of its deadline: with ``days`` or fewer left.

    ``version`` is the version of the request whose event told of it.
    """

    days: int
    version: int


@dataclass(frozen=True)
class Dsr:
    """A data subject request. All times are UTC.

    ``id`` is a UUID of version 4 in small letters: OpenDSR's ``subject_request_id``. ``subjects``
    are keyed hashes of the identities, by which requests of a subject are found; ``sealed`` holds
    the ``Particulars``, encrypted. Both are empty once the request is minimised. ``due_at`` is when
    it must be answered, ``confirm_at`` when its receipt must be confirmed at the latest.
    ``cancel_requested_at`` is set of a request that its processor has, or may have, to cancel.
    ``due_notice`` is the last one of the deadline that it has now. ``group_hash`` is a keyed hash
    of the group that its controller put it in, by which it is found. ``lake`` is the lake's part,
    if it has one. ``version`` grows by one with every change.
    """

    id: str
    organization: str
    owner: str
    regulation: Regulation
    type: RequestType
    status: DsrStatus
    received_at: datetime
    updated_at: datetime
    due_at: datetime
    subjects: tuple[str, ...]
    sealed: bytes = field(repr=False)
    confirm_at: datetime | None = None
    extended_at: datetime | None = None
    extension_reason: str | None = field(default=None, repr=False)
    risk: Risk = Risk(0.0)
    review: Review | None = None
    forwarding: Forwarding = Forwarding()
    cancel_requested_at: datetime | None = None
    parked_reason: str | None = None
    closed_at: datetime | None = None
    minimised_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    due_notice: DueNotice | None = None
    group_hash: str | None = None
    lake: LakeWork | None = None
    version: int = 1

    @property
    def is_waiting(self) -> bool:
        """Whether it is to be forwarded, and not parked."""
        return self.status is DsrStatus.QUEUED and self.parked_reason is None

    @property
    def kind(self) -> str:
        """What is asked for, as clients name it: ``gdpr_delete``, ``ccpa_delete``, ``export``."""
        if self.type is RequestType.ERASURE:
            return f"{self.regulation}_delete"
        return "export" if self.type is RequestType.PORTABILITY else str(self.type)


def shown_dsr(dsr: Dsr) -> dict[str, Any]:
    """A request as clients see it, in answers and events alike: no personal data. Pure."""
    shown = {
        "id": dsr.id,
        "type": dsr.kind,
        "regulation": dsr.regulation.value,
        "requestType": dsr.type.value,
        "status": dsr.status.value,
        "receivedAt": shown_time(dsr.received_at),
        "updatedAt": shown_time(dsr.updated_at),
        "dueAt": shown_time(dsr.due_at),
        "confirmBy": shown_time(dsr.confirm_at),
        "extendedAt": shown_time(dsr.extended_at),
        "risk": {"score": dsr.risk.score, "reasons": [*dsr.risk.reasons]},
        "review": _shown_review(dsr.review),
        "cancelRequested": dsr.cancel_requested_at is not None,
        "parkedReason": dsr.parked_reason,
        "closedAt": shown_time(dsr.closed_at),
        "minimisedAt": shown_time(dsr.minimised_at),
        "lake": shown_lake(dsr.lake),
        "version": dsr.version,
    }
    return {**shown, **_shown_forwarding(dsr.forwarding), **_shown_error(dsr)}


def _shown_review(review: Review | None) -> dict[str, Any] | None:
    """Without its reason: people write what they like there."""
    if review is None:
        return None
    return {"at": shown_time(review.at), "by": review.by, "approved": review.approved}


def _shown_forwarding(forwarding: Forwarding) -> dict[str, Any]:
    return {
        "processor": forwarding.processor,
        "attempts": forwarding.attempts,
        "expectedCompletionAt": shown_time(forwarding.expected_completion_at),
        "resultsCount": forwarding.results_count,
    }


def _shown_error(dsr: Dsr) -> dict[str, Any]:
    if dsr.error_code is None:
        return {}
    return {"error": {"code": dsr.error_code, "message": dsr.error_message}}


def event_of_dsr(dsr: Dsr) -> Event:
    """What those who watch a request are told when it has become this."""
    topic, payload = Topic("dsr", dsr.id), {**shown_dsr(dsr), **_shown_notice(dsr)}
    return Event(topic, dsr.version, dsr.organization, dsr.owner, dsr.updated_at, payload)


def _shown_notice(dsr: Dsr) -> dict[str, Any]:
    """What only the event that tells of the deadline has."""
    if dsr.due_notice is None or dsr.due_notice.version != dsr.version:
        return {}
    kind = "deadline_passed" if dsr.due_at <= dsr.updated_at else "deadline_approaching"
    return {"notice": {"kind": kind, "days": dsr.due_notice.days}}


@dataclass(frozen=True)
class DsrCursor:
    """A request's place: requests sort by the time they were received, then by id."""

    received_at: datetime
    id: str


@dataclass(frozen=True)
class DueCursor:
    """An open request's place by deadline: they sort by ``due_at``, then by id."""

    due_at: datetime
    id: str


@dataclass(frozen=True)
class OpenTally:
    """How many requests are not closed: ``held``, ``queued`` and not parked, ``parked`` while
    queued; and how many, of whatever status, are ``due``, before a moment that was asked for.
    """

    held: int = 0
    queued: int = 0
    parked: int = 0
    due: int = 0


@dataclass(frozen=True)
class DsrQuery:
    """Which requests, newest first; ``after`` is the cursor's request.

    ``subject`` and ``group_hash`` are keyed hashes; one of them is given at most.
    """

    subject: str | None = None
    status: DsrStatus | None = None
    limit: int = 50
    after: DsrCursor | None = None
    group_hash: str | None = None
