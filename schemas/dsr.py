"""A data subject request (DSR): what a person asks of us, and where the answer is.

             ┌──────────────── approved ───────────────┐
    held ────┤                                         v
             └──> cancelled        queued ──> submitted ──> in_progress ──> completed
                                     │            │             │
                                     └────────────┴─────────────┴──> failed | cancelled

``held`` waits for a reviewer, ``queued`` for a processor that can be reached, ``submitted`` is what
OpenDSR calls ``pending``; ``failed`` is ours, no processor says it. A status never goes back, and a
final one never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


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
            return other in {DsrStatus.QUEUED, DsrStatus.CANCELLED}
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
class Risk:
    """How a request was judged when it came: 0 is harmless, 1 is not; reasons say why."""

    score: float
    reasons: tuple[str, ...] = ()


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
class Dsr:
    """A data subject request. All times are UTC.

    ``subjects`` are keyed hashes of the identities, by which requests of a subject are found;
    ``sealed`` holds the identities and the link to the results, encrypted. Both are empty once the
    request is minimised. ``due_at`` is when it must be answered, ``confirm_at`` when its receipt
    must be confirmed at the latest. ``version`` grows by one with every change.
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
    extension_reason: str | None = None
    extensions: Mapping[str, Any] = field(default_factory=dict)
    risk: Risk = Risk(0.0)
    forwarding: Forwarding = Forwarding()
    parked_reason: str | None = None
    closed_at: datetime | None = None
    minimised_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    version: int = 1


@dataclass(frozen=True)
class DsrCursor:
    """A request's place: requests sort by the time they were received, then by id."""

    received_at: datetime
    id: str


@dataclass(frozen=True)
class DsrQuery:
    """Which requests, newest first; ``subject`` is a keyed hash, ``after`` the cursor's request."""

    subject: str | None = None
    status: DsrStatus | None = None
    limit: int = 50
    after: DsrCursor | None = None
