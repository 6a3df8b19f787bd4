"""What clients send about data subject requests, and what they are shown of them.

An answer holds no identity. Whoever may approve requests sees them masked, with the link to the
results: to judge a request, and to answer its subject.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from dsr.answers import lake_results_in
from dsr.submit import Order
from schemas.audit import AuditEntry
from schemas.deadlines import days_left
from schemas.dsr import (
    Dsr,
    DsrStatus,
    Identity,
    IdentityFormat,
    IdentityType,
    Particulars,
    Regulation,
    RequestType,
    shown_dsr,
)
from schemas.dsr_lake import LakeState
from schemas.events import shown_time
from schemas.identities import LONGEST, MOST, checked, masked
from service.answers import AnswerModel, RequestModel
from service.errors import ErrorDetail
from service.paging import PageModel

MOST_ITEMS = 100
"""Items of one bulk request."""

MOST_EXTENSION_BYTES = 16 * 1024

Kind = Literal["gdpr_delete", "ccpa_delete", "export", "access", "portability", "erasure"]
ShownKind = Literal["gdpr_delete", "ccpa_delete", "export", "access"]

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]

_Email = Annotated[str, StringConstraints(max_length=LONGEST)]
_Domain = Annotated[str, StringConstraints(min_length=1, max_length=253)]


class IdentityGiven(RequestModel):
    """One identity of a subject."""

    type: IdentityType = Field(description="As OpenDSR names it.")
    value: str = Field(min_length=1, max_length=LONGEST)
    format: IdentityFormat = Field(default=IdentityFormat.RAW, description="How it is given.")

    def identity(self) -> Identity:
        return Identity(self.type, self.value, self.format)


class NewDsr(RequestModel):
    """A data subject request: of somebody with this email, or with these identities."""

    type: Kind = Field(
        description="`export` asks for the data to be handed over, as `portability` does; "
        "`access`, `portability` and `erasure` are OpenDSR's names."
    )
    email: _Email | None = None
    identities: list[IdentityGiven] | None = Field(
        default=None, min_length=1, max_length=MOST, description="One of a type and format."
    )
    regulation: Regulation | None = Field(
        default=None, description="The law; `dsr.regulation` of the settings unless `type` says it."
    )
    extensions: dict[_Domain, dict[str, Any]] = Field(
        default_factory=dict, max_length=20, description="OpenDSR's, by the processor's domain."
    )

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.email is None) == (self.identities is None):
            raise ValueError("give either email or identities")
        if len(json.dumps(self.extensions).encode()) > MOST_EXTENSION_BYTES:
            raise ValueError(f"extensions: at most {MOST_EXTENSION_BYTES:,} bytes")
        return self

    def order(self) -> Order:
        """What is asked for. Raises ``Invalid`` for an email that can be none."""
        if self.email is not None:
            identities = [of_email(self.email)]
        else:
            identities = [one.identity() for one in self.identities or ()]
        return Order(self.type, identities, self.regulation, self.extensions)


class NewDsrs(RequestModel):
    """Several requests at once, each on its own."""

    items: list[NewDsr] = Field(min_length=1, max_length=MOST_ITEMS)


class DsrIds(RequestModel):
    """Which requests."""

    ids: list[Annotated[str, StringConstraints(max_length=64)]] = Field(
        min_length=1, max_length=100
    )


class DsrSearch(RequestModel):
    """Which requests: what is personal stands in a body, which is written to no access log."""

    email: _Email | None = None
    identity: IdentityGiven | None = None
    status: DsrStatus | None = None
    cursor: str | None = Field(
        default=None, max_length=200, description="`nextCursor` of the page before this one."
    )
    limit: int = Field(default=50, ge=1, le=200, description="How many at most.")

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if self.email is not None and self.identity is not None:
            raise ValueError("give an email or an identity, not both")
        return self

    def subject(self) -> Identity | None:
        """Whose requests. Raises ``Invalid`` for an email that can be none."""
        if self.email is not None:
            return of_email(self.email)
        return None if self.identity is None else self.identity.identity()


class DsrsQuery(RequestModel):
    """Which requests. An email in an address gets into the logs of proxies: `:search` takes it."""

    email: _Email | None = Field(
        default=None, description="Proxies may log it: prefer `POST /v1/dsr:search`."
    )
    status: DsrStatus | None = Field(default=None, description="Only those of this status.")
    cursor: str | None = Field(
        default=None, max_length=200, description="`nextCursor` of the page before this one."
    )
    limit: int = Field(default=50, ge=1, le=200, description="How many at most.")

    def subject(self) -> Identity | None:
        """Whose requests. Raises ``Invalid`` for an email that can be none."""
        return None if self.email is None else of_email(self.email)


class AtRiskQuery(RequestModel):
    """Which requests count as being at risk."""

    days: int | None = Field(
        default=None, ge=0, le=90, description="Days left, at most; else the settings say it."
    )
    cursor: str | None = Field(
        default=None, max_length=200, description="`nextCursor` of the page before this one."
    )
    limit: int = Field(default=50, ge=1, le=200, description="How many at most.")


class ExtensionGiven(RequestModel):
    """Why more time is needed, as the subject is told. Name nobody."""

    reason: Reason


class ReviewGiven(RequestModel):
    """What a reviewer decided, and why. Name nobody."""

    decision: Literal["approve", "deny"]
    reason: Reason


class RiskShown(AnswerModel):
    """How a request was judged: 0 is harmless; why not, if it is not."""

    score: float
    reasons: list[str]


class ReviewShown(AnswerModel):
    """Who reviewed a request."""

    at: str
    by: str
    approved: bool


class DsrErrorShown(AnswerModel):
    """Why a request failed or was denied."""

    code: str
    message: str | None


class IdentityShown(AnswerModel):
    """An identity whose value is hidden but for its first letter."""

    type: IdentityType
    format: IdentityFormat
    masked: str


class LakePreviewShown(AnswerModel):
    """What an erasure would take."""

    id: str
    rows: int
    rows_in_all: int
    files: int
    by_type: dict[str, int] = Field(description="Rows by type of record.")


class LakeCertificateShown(AnswerModel):
    """What was erased, as its certificate has it."""

    id: str = Field(description="The lake keeps it as `_lethe/certificates/ID.json`.")
    sha256: str
    requests: int = Field(description="As many were answered together; the figures are of all.")
    rows: int
    files: int
    unreachable: int = Field(description="How much could not be reached; the certificate says it.")
    open_runs: int = Field(description="Deliveries that had begun before, and had not ended.")


class LakeExportShown(AnswerModel):
    """An archive of the subject's rows."""

    id: str
    archive: str = Field(description="Its name, in the place that the settings name.")
    sha256: str
    rows: int
    expires_at: str = Field(description="When it is removed.")
    unread: int = Field(description="Files that could not be looked into.")


class LakeShown(AnswerModel):
    """The lake's part in a request."""

    state: LakeState
    unsearched: list[str] = Field(description="Types of identities that nothing is found by.")
    preview: LakePreviewShown | None
    reviewed_by: str | None
    reviewed_at: str | None
    began_at: str | None = Field(description="From here on rows may be gone, or gathered.")
    done_at: str | None
    processor_done_at: str | None = Field(description="When the processor was done, if before.")
    try_at: str | None = Field(description="When it is tried again, at the earliest.")
    certificate: LakeCertificateShown | None
    earlier_certificates: list[LakeCertificateShown] = Field(
        description="Of erasures before that one, the oldest first."
    )
    export: LakeExportShown | None
    reason: str | None = Field(description="Why it is held or parked, or waits again.")


class DsrShown(AnswerModel):
    """A data subject request."""

    id: str = Field(description="OpenDSR's `subject_request_id`.")
    type: ShownKind
    regulation: Regulation
    request_type: RequestType = Field(description="As OpenDSR names it.")
    status: DsrStatus
    received_at: str
    updated_at: str
    due_at: str = Field(description="By when it has to be answered.")
    days_left: int = Field(description="Whole days; below 0 when it is overdue.")
    confirm_by: str | None = Field(description="By when its receipt has to be confirmed.")
    extended_at: str | None
    risk: RiskShown
    review: ReviewShown | None
    cancel_requested: bool
    parked_reason: str | None
    closed_at: str | None
    minimised_at: str | None = Field(description="When it lost its subject.")
    processor: str | None
    attempts: int
    expected_completion_at: str | None
    results_count: int | None
    lake: LakeShown | None = Field(description="The lake's part, if it has one.")
    version: int = Field(description="Grows with every change.")
    error: DsrErrorShown | None = None


class DsrInFull(DsrShown):
    """A request as those see it who may approve requests; others see no identities."""

    identities: list[IdentityShown] | None = Field(
        default=None,
        description="Only for `dsr:approve`; empty once minimised; null if the key is lost.",
    )
    results_url: str | None = Field(default=None, description="Only for `dsr:approve`.")
    lake_results_url: str | None = Field(
        default=None, description="Of what the lake holds. Only for `dsr:approve`."
    )
    extension_reason: str | None = Field(default=None, description="Only for `dsr:approve`.")
    review_reason: str | None = Field(default=None, description="Only for `dsr:approve`.")


class DsrsPage(PageModel):
    """Requests, newest first."""

    items: list[DsrShown]


class DsrsFound(AnswerModel):
    """Those of the ids that there are, in their order, and the others."""

    items: list[DsrShown]
    missing: list[str]


class DsrsAtRisk(PageModel):
    """Open requests, the soonest due first."""

    items: list[DsrShown]


class DsrBulkResult(AnswerModel):
    """What became of one item; `status` is what a request of its own would have answered."""

    status: int
    result: DsrShown | None = None
    error: ErrorDetail | None = None


class DsrBulkAnswer(AnswerModel):
    """What became of each item, in their order."""

    results: list[DsrBulkResult]


class AuditEntryShown(AnswerModel):
    """An entry of the audit log."""

    sequence: int
    at: str
    actor: str
    action: str
    detail: dict[str, Any] = Field(description="By the action. Hashes, no personal data.")
    previous: str = Field(description="The hash of the entry before, whatever it speaks of.")
    hash: str


class DsrHistory(AnswerModel):
    """What was done with a request, oldest first; `more` says that others follow."""

    items: list[AuditEntryShown]
    more: bool


def of_email(email: str) -> Identity:
    """A subject's identity. Raises ``Invalid``, which names the field, not the value."""
    return checked(Identity(IdentityType.EMAIL, email), "email")


def shown(dsr: Dsr, now: datetime) -> Mapping[str, Any]:
    """A request as ``DsrShown`` has it."""
    return {**shown_dsr(dsr), "daysLeft": days_left(dsr.due_at, now)}


def in_full(dsr: Dsr, particulars: Particulars | None, now: datetime) -> Mapping[str, Any]:
    """A request as ``DsrInFull`` has it; without particulars, if they cannot be opened."""
    return {
        **shown(dsr, now),
        "identities": None if particulars is None else [*map(_hidden, particulars.identities)],
        "resultsUrl": None if particulars is None else particulars.results_url,
        "lakeResultsUrl": None if particulars is None else lake_results_in(dsr, particulars, now),
        "extensionReason": dsr.extension_reason,
        "reviewReason": None if dsr.review is None else dsr.review.reason,
    }


def _hidden(identity: Identity) -> Mapping[str, Any]:
    return {
        "type": identity.type.value,
        "format": identity.format.value,
        "masked": masked(identity),
    }


def shown_entry(entry: AuditEntry) -> Mapping[str, Any]:
    """An entry as ``AuditEntryShown`` has it."""
    return {
        "sequence": entry.sequence,
        "at": shown_time(entry.at),
        "actor": entry.draft.actor,
        "action": entry.draft.action,
        "detail": {**entry.draft.detail},
        "previous": entry.previous,
        "hash": entry.hash,
    }
