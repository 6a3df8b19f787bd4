"""The status machine, exhaustively, and what is shown of a request."""

from __future__ import annotations

import json
from itertools import product

import pytest

from schemas.dsr import DsrStatus, Regulation, RequestType, Review, event_of_dsr, shown_dsr
from tests.dsr_requests import RECEIVED, a_request

OPEN = ["held", "queued", "submitted", "in_progress"]
FINAL = ["completed", "failed", "cancelled"]
ALLOWED = (
    {("held", "queued"), ("held", "submitted"), ("held", "cancelled")}
    | {("queued", to) for to in ["submitted", "in_progress", *FINAL]}
    | {("submitted", to) for to in ["in_progress", *FINAL]}
    | {("in_progress", to) for to in FINAL}
)


@pytest.mark.parametrize(("before", "after"), [*product(OPEN + FINAL, repeat=2)])
def test_status_goes_on_and_never_back(before: str, after: str) -> None:
    assert DsrStatus(before).may_become(DsrStatus(after)) is ((before, after) in ALLOWED)


def test_final_statuses_are_final() -> None:
    assert [status for status in DsrStatus if status.is_final] == FINAL


@pytest.mark.parametrize(
    ("regulation", "asked", "kind"),
    [
        ("gdpr", "erasure", "gdpr_delete"),
        ("ccpa", "erasure", "ccpa_delete"),
        ("ccpa", "portability", "export"),
        ("gdpr", "access", "access"),
    ],
)
def test_kind_is_named_as_clients_do(regulation: str, asked: str, kind: str) -> None:
    dsr = a_request(regulation=Regulation(regulation), type=RequestType(asked))
    assert dsr.kind == kind


def test_what_people_wrote_and_who_it_is_about_are_not_shown() -> None:
    dsr = a_request(
        subjects=("c0ffee",),
        sealed=b"canary",
        extension_reason="canary",
        review=Review(RECEIVED, "user-2", True, "canary"),
    )
    text = json.dumps(shown_dsr(dsr)) + repr(dsr)
    assert "canary" not in text
    assert "c0ffee" not in json.dumps(shown_dsr(dsr))


def test_event_shows_the_request_as_answers_do() -> None:
    dsr = a_request(version=3)
    event = event_of_dsr(dsr)
    assert (str(event.topic), event.version) == (f"dsr:{dsr.id}", 3)
    assert event.payload == shown_dsr(dsr)
