"""What is shown of requests is what the document says, and holds nobody's data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from dsr.submit import KINDS
from schemas.audit import AuditDraft, AuditHead, chained
from schemas.dsr import DsrStatus, Particulars, Review, Risk
from schemas.dsr_lake import LakeCertificate, LakeExport, LakePreview, LakeState, LakeWork
from service.dsr.shown import (
    AuditEntryShown,
    DsrInFull,
    DsrShown,
    NewDsr,
    in_full,
    shown,
    shown_entry,
)
from tests.dsr_requests import EMAIL, RECEIVED, a_request

REQUESTS = [
    a_request(),
    a_request(
        status=DsrStatus.CANCELLED,
        confirm_at=RECEIVED,
        review=Review(RECEIVED, "user-2", False, "canary"),
        risk=Risk(0.65, ("one", "two")),
        error_code="review_denied",
        error_message="a reviewer denied the request",
    ),
    a_request(
        lake=LakeWork(
            LakeState.DONE,
            preview=LakePreview("p1", 3, 100, 2, {"demand": 3}),
            certificate=LakeCertificate("c1", "0" * 64, 2, 3, 2),
            export=LakeExport("e1", "lethe-export-e1.zip", "0" * 64, 3, RECEIVED),
        )
    ),
]


def names(model: type[Any]) -> set[str]:
    return {field.alias for field in model.model_fields.values()}


@pytest.mark.parametrize("dsr", REQUESTS)
def test_request_is_shown_as_the_document_says(dsr: Any) -> None:
    body = shown(dsr, RECEIVED)
    assert names(DsrShown) - {"error"} == {*body} - {"error"}
    DsrShown.model_validate_json(json.dumps(dict(body)))


def test_full_request_is_shown_as_the_document_says() -> None:
    body = in_full(REQUESTS[1], Particulars((EMAIL,), {}, "https://r.example"), RECEIVED)
    assert {*body} == names(DsrInFull)
    DsrInFull.model_validate_json(json.dumps(dict(body)))
    assert body["reviewReason"] == "canary"


def test_entry_is_shown_as_the_document_says() -> None:
    entry = chained(AuditDraft("user-1", "org-1", "dsr.submitted", "dsr:x"), RECEIVED, AuditHead())
    assert {*shown_entry(entry)} == names(AuditEntryShown)


def test_masking_hides_all_but_the_first_letter() -> None:
    assert "canary" not in json.dumps(dict(in_full(a_request(), Particulars((EMAIL,)), RECEIVED)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_asked_for(kind: str) -> None:
    assert NewDsr.model_validate({"type": kind, "email": "ana@example.com"}).order().kind == kind


def test_extensions_are_bounded() -> None:
    body = {"type": "export", "email": EMAIL.value, "extensions": {"a.example": {"b": "é" * 9000}}}
    with pytest.raises(ValidationError, match="at most"):
        NewDsr.model_validate(body)
