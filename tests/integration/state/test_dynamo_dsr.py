"""Data subject requests where DynamoDB has limits of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.audit import AuditDraft
from schemas.dsr import Dsr, DsrQuery
from schemas.errors import TooLarge
from tests.dsr_requests import a_request
from tests.integration.state.conftest import new_table
from tests.integration.state.records import ALL, AnyState, opened

AT_ONCE = 16


@pytest.fixture
def state(request: pytest.FixtureRequest, moto_dynamodb_url: str) -> Iterator[AnyState]:
    state = opened(new_table(request, moto_dynamodb_url))
    yield state
    state.close()


def add(state: AnyState, requests: list[Dsr]) -> None:
    said = AuditDraft("user-1", "org-1", "dsr.submitted", "dsr:1")
    state.dsr.add(requests, [said for _ in requests])


def requests_of(many: int) -> list[Dsr]:
    return [a_request(subjects=(f"{number:064}",)) for number in range(many)]


def test_as_many_requests_are_added_at_once_as_the_guide_says(state: AnyState) -> None:
    add(state, requests_of(AT_ONCE))
    assert len(state.dsr.find(DsrQuery(), ALL)) == AT_ONCE


def test_more_are_refused_and_none_is_added(state: AnyState) -> None:
    with pytest.raises(TooLarge):
        add(state, requests_of(AT_ONCE + 1))
    assert state.dsr.find(DsrQuery(), ALL) == []
