"""What controllers and processors tell each other, whatever the dialect. All times are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.dsr import DsrStatus, Identity, IdentityFormat, IdentityType, Regulation, RequestType

MPARTICLE_DOMAIN = "opendsr.mparticle.com"
"""The domain that mParticle's extensions are under, and its callbacks are signed for."""


class Dialect(StrEnum):
    """How a processor speaks. They differ in identities, and in how errors are written."""

    SPECIFICATION_2 = "opendsr-2.0"
    MPARTICLE_3 = "mparticle-v3"


class ProcessingStatus(StrEnum):
    """Where a request is at its processor (OpenDSR 2.0, request_status)."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def as_status(self) -> DsrStatus:
        """The same as a status of ours."""
        return _OURS[self]

    @staticmethod
    def of(status: DsrStatus) -> ProcessingStatus:
        """What a controller is told of a request of this status.

        OpenDSR knows no failure. One that failed is not worked off any more, and was not to the
        end: of what a controller can be told, that is nearest to cancelled.
        """
        return _THEIRS[status]


_THEIRS = {
    DsrStatus.HELD: ProcessingStatus.PENDING,
    DsrStatus.QUEUED: ProcessingStatus.PENDING,
    DsrStatus.SUBMITTED: ProcessingStatus.PENDING,
    DsrStatus.IN_PROGRESS: ProcessingStatus.IN_PROGRESS,
    DsrStatus.COMPLETED: ProcessingStatus.COMPLETED,
    DsrStatus.FAILED: ProcessingStatus.CANCELLED,
    DsrStatus.CANCELLED: ProcessingStatus.CANCELLED,
}
_OURS = {
    ProcessingStatus.PENDING: DsrStatus.SUBMITTED,
    ProcessingStatus.IN_PROGRESS: DsrStatus.IN_PROGRESS,
    ProcessingStatus.COMPLETED: DsrStatus.COMPLETED,
    ProcessingStatus.CANCELLED: DsrStatus.CANCELLED,
}


@dataclass(frozen=True)
class SubjectRequest:
    """A request as a controller sends it; ``id`` is the subject_request_id.

    ``extensions`` are by the domain that they are for. ``group_id`` is known to mParticle only.
    """

    id: str
    regulation: Regulation
    type: RequestType
    submitted_at: datetime
    identities: tuple[Identity, ...]
    callback_urls: tuple[str, ...] = ()
    extensions: Mapping[str, Any] = field(default_factory=dict, repr=False)
    group_id: str | None = None
    api_version: str | None = None


@dataclass(frozen=True)
class Acceptance:
    """A processor's word that it has taken a request, or that it will cancel one."""

    request_id: str
    controller_id: str
    received_at: datetime | None = None
    expected_completion_at: datetime | None = None


@dataclass(frozen=True)
class StatusReport:
    """Where a request is; ``results_url`` gives access to a subject's data.

    A callback may leave out all but the request and its status. ``callback_url`` is in callbacks.
    """

    request_id: str
    status: ProcessingStatus
    controller_id: str | None = None
    expected_completion_at: datetime | None = None
    results_url: str | None = field(default=None, repr=False)
    results_count: int | None = None
    group_id: str | None = None
    callback_url: str | None = None
    api_version: str | None = None


@dataclass(frozen=True)
class SupportedIdentity:
    """A kind of identity that a processor finds subjects by."""

    type: IdentityType
    format: IdentityFormat


@dataclass(frozen=True)
class Discovery:
    """What a processor does. ``certificate`` is the address of its certificate."""

    api_version: str
    identities: tuple[SupportedIdentity, ...]
    types: tuple[RequestType, ...]
    certificate: str | None = None
