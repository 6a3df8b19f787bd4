"""A data subject request as stores keep it: flat, but for what no query looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import msgspec

from schemas.dsr import (
    Dsr,
    DsrStatus,
    DueNotice,
    Forwarding,
    Regulation,
    RequestType,
    Review,
    Risk,
)
from schemas.dsr_lake import LakeWork
from stores.state.dsr_port import OpenRequestExists


@dataclass(frozen=True)
class DsrRow:
    """A ``Dsr`` with what is known of its forwarding beside the rest."""

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
    confirm_at: datetime | None
    extended_at: datetime | None
    extension_reason: str | None = field(repr=False)
    risk: Mapping[str, Any]
    review: Mapping[str, Any] | None = field(repr=False)
    processor: str | None
    region: str | None
    attempts: int
    tried_at: datetime | None
    next_try_at: datetime | None
    controller_id: str | None
    expected_completion_at: datetime | None
    results_count: int | None
    cancel_requested_at: datetime | None
    parked_reason: str | None
    closed_at: datetime | None
    minimised_at: datetime | None
    error_code: str | None
    error_message: str | None
    due_notice: Mapping[str, Any] | None
    group_hash: str | None
    lake: Mapping[str, Any] | None
    lake_state: str | None
    version: int


_FORWARDED = tuple(each.name for each in fields(Forwarding))
_NESTED = frozenset({"risk", "review", "forwarding", "due_notice", "lake"})


def row_of(dsr: Dsr) -> DsrRow:
    """What is kept of a request."""
    flat = {name: value for name, value in vars(dsr).items() if name not in _NESTED}
    risk = _kept_risk(dsr.risk)
    notice = None if dsr.due_notice is None else {**vars(dsr.due_notice)}
    review = _kept_review(dsr.review)
    return DsrRow(
        **flat,
        **vars(dsr.forwarding),
        risk=risk,
        review=review,
        due_notice=notice,
        lake=None if dsr.lake is None else msgspec.to_builtins(dsr.lake),
        lake_state=None if dsr.lake is None else dsr.lake.state.value,
    )


def dsr_of(row: DsrRow) -> Dsr:
    """The request that was kept so."""
    flat = dict(vars(row))
    del flat["lake_state"]
    forwarding = Forwarding(**{name: flat.pop(name) for name in _FORWARDED})
    features = row.risk.get("features", {})  # Older rows have none.
    risk = Risk(row.risk["score"], tuple(row.risk["reasons"]), features)
    notice = None if row.due_notice is None else DueNotice(**row.due_notice)
    nested = {"risk": risk, "review": _review(row.review), "forwarding": forwarding}
    lake = None if row.lake is None else msgspec.convert(row.lake, LakeWork)
    return Dsr(**{**flat, **nested, "due_notice": notice, "lake": lake})


def _kept_risk(risk: Risk) -> dict[str, Any]:
    return {**vars(risk), "reasons": [*risk.reasons], "features": {**risk.features}}


def _kept_review(review: Review | None) -> dict[str, Any] | None:
    return None if review is None else {**vars(review), "at": review.at.isoformat()}


def _review(kept: Mapping[str, Any] | None) -> Review | None:
    if kept is None:
        return None
    return Review(**{**kept, "at": datetime.fromisoformat(kept["at"])})


def check_apart(requests: Sequence[Dsr]) -> None:
    """Raises ``OpenRequestExists`` if two requests that are not closed ask for the same."""
    seen: set[tuple[str, ...]] = set()
    for claims in map(open_claims, requests):
        if not seen.isdisjoint(claims):
            raise open_exists(None)
        seen |= claims


def open_claims(dsr: Dsr) -> set[tuple[str, ...]]:
    """What there is one of at a time: organization, subject, regulation, type, as it is open."""
    if dsr.status.is_final:
        return set()
    return {(dsr.organization, subject, dsr.regulation, dsr.type) for subject in dsr.subjects}


def open_exists(request_id: str | None) -> OpenRequestExists:
    """The error that names the request that is there."""
    return OpenRequestExists(
        "a request that is not closed asks for the same, for the same subject",
        request_id=request_id,
    )
