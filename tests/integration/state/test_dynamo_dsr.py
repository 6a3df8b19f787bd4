"""Data subject requests where DynamoDB has limits of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from config.settings import load_settings
from schemas.audit import AuditDraft
from schemas.dsr import Dsr, DsrQuery, DsrStatus, Forwarding
from schemas.errors import TooLarge
from schemas.identities import MOST
from service.app import create_app
from service.bootstrap import wire
from stores.state.dynamo.items import key_of
from stores.state.dynamo.state import DynamoState
from tests.dsr_requests import RECEIVED, a_request
from tests.integration.service.principals import somebody
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


def test_one_with_the_most_identities_is_added_and_closed(state: AnyState) -> None:
    dsr = a_request(subjects=tuple(f"{number:064}" for number in range(MOST)))
    add(state, [dsr])
    closed = replace(dsr, status=DsrStatus.CANCELLED, closed_at=dsr.received_at, subjects=())
    draft = AuditDraft("user-1", "org-1", "dsr.minimised", f"dsr:{dsr.id}")
    assert state.dsr.change(closed, draft) is not None


def test_bulk_takes_more_than_a_transaction_does_each_on_its_own(
    request: pytest.FixtureRequest,
    moto_dynamodb_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LETHE_ENV", "test")
    settings = load_settings(
        state={"folder": tmp_path / "state", "url": new_table(request, moto_dynamodb_url)},
        parameters={"source": "file", "folder": tmp_path / "keys"},
    )
    wiring = wire(settings)
    items = [{"type": "export", "email": f"p{n}@example.com"} for n in range(AT_ONCE * 2)]
    with closing(wiring.state):
        known = replace(wiring, authenticate=lambda _: somebody("privacy"))
        answer = create_app(known).test_client().post("/v1/dsr:bulk", json={"items": items})
    assert [each["status"] for each in (answer.json or {})["results"]] == [202] * len(items)


def test_more_are_refused_with_the_limit_and_none_is_added(state: AnyState) -> None:
    with pytest.raises(TooLarge, match="100"):
        add(state, requests_of(AT_ONCE + 1))
    assert state.dsr.find(DsrQuery(), ALL) == []


def as_an_earlier_lethe_left_it(url: str, *requests: Dsr) -> AnyState:
    """A table with these requests, but without the items that tell of what is held or parked."""
    with closing(opened(url)) as state:
        assert isinstance(state, DynamoState)
        add(state, list(requests))
        for pk in ("layout", "dsrs-held", "dsrs-parked"):
            items = state.table.query("#pk = :pk", values={"pk": pk})
            state.table.delete_all([key_of(item) for item in items])
    return opened(url)


def test_what_processors_had_before_silence_was_watched_is_asked_about_once(
    request: pytest.FixtureRequest, moto_dynamodb_url: str
) -> None:
    there = {"forwarding": Forwarding("one", "us", tried_at=RECEIVED), "subjects": ()}
    kept = [a_request(status=DsrStatus(status), **there) for status in ("submitted", "in_progress")]
    url, now = new_table(request, moto_dynamodb_url), RECEIVED
    with closing(as_an_earlier_lethe_left_it(url, *kept, a_request())) as state:
        found = {dsr.id for dsr in state.dsr.to_ask_about(now, 9)}
        assert found == {dsr.id for dsr in kept}
        assert {dsr.version for dsr in state.dsr.to_ask_about(now, 9)} == {2}


def test_what_was_held_or_parked_before_that_was_counted_is_counted(
    request: pytest.FixtureRequest, moto_dynamodb_url: str
) -> None:
    held = a_request(status=DsrStatus.HELD, subjects=())
    parked = a_request(parked_reason="no answer")
    url = new_table(request, moto_dynamodb_url)
    with closing(as_an_earlier_lethe_left_it(url, held, parked)) as state:
        state.dsr.to_ask_about(RECEIVED, 9)
        tally = state.dsr.tally(RECEIVED)
        assert (tally.held, tally.queued, tally.parked) == (1, 0, 1)
