"""The enrichment client: what it repeats, what it waits for, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from schemas.contacts import Reason
from schemas.errors import UsageError
from stores.enrichment.api import EnrichmentApi, Wire, check_url, results_of, retry_after
from stores.enrichment.client import ApiSettings, ClientCounts, EnrichmentClient
from stores.enrichment.errors import (
    ApiMisused,
    ApiUnavailable,
    BadCall,
    BatchNotEnriched,
    Unreachable,
)

ONE = [msgspec.Raw(b'{"id":"1"}')]
FOUND = [{"id": "1"}]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class FakeClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


class ScriptedApi(EnrichmentApi):
    """Does for each call what the script says next, and its last word for ever."""

    def __init__(self, *script: Exception | None) -> None:
        super().__init__("http://127.0.0.1:9", 1, 1.0)
        self.script = list(script)
        self.calls: list[int] = []

    def call(self, contacts: Sequence[msgspec.Raw]) -> list[Wire]:
        self.calls.append(len(contacts))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if step is not None:
            raise step
        return [msgspec.json.decode(each) for each in contacts]


class SpoiltApi(ScriptedApi):
    """Fails over any contact, and is well otherwise."""

    def call(self, contacts: Sequence[msgspec.Raw]) -> list[Wire]:
        return super().call(contacts) if contacts else []


def client(api: EnrichmentApi, clock: FakeClock | None = None, **settings: Any) -> EnrichmentClient:
    return EnrichmentClient(
        ApiSettings("http://127.0.0.1:9", **settings), api, clock or FakeClock()
    )


def test_a_failed_call_is_repeated() -> None:
    asked = client(ScriptedApi(BadCall(Reason.API_ERROR), None))
    assert asked.enrich(ONE) == FOUND
    assert asked.counts == ClientCounts(calls=2, retries=1)


def test_a_batch_that_fails_again_and_again_is_given_back_with_its_reason() -> None:
    api = SpoiltApi(BadCall(Reason.API_TIMEOUT))
    with pytest.raises(BatchNotEnriched) as raised:
        client(api).enrich(ONE)
    assert (raised.value.reason, len(api.calls)) == (Reason.API_TIMEOUT, 3)


def test_no_contact_is_blamed_while_the_api_fails_without_any() -> None:
    api = ScriptedApi(*[BadCall(Reason.API_ERROR)] * 60, None)
    assert client(api).enrich(ONE) == FOUND


def test_an_api_that_only_fails_tries_patience() -> None:
    with pytest.raises(ApiUnavailable):
        client(ScriptedApi(BadCall(Reason.API_ERROR)), patience=30.0).enrich(ONE)


def test_an_api_that_answers_but_takes_no_contacts_tries_patience() -> None:
    with pytest.raises(ApiUnavailable):
        client(SpoiltApi(Unreachable()), patience=30.0).enrich(ONE)


def test_a_rejected_batch_is_not_repeated() -> None:
    api = ScriptedApi(BatchNotEnriched(Reason.REJECTED))
    with pytest.raises(BatchNotEnriched):
        client(api).enrich(ONE)
    assert len(api.calls) == 1


def test_an_api_out_of_reach_is_waited_for_and_no_contact_blamed() -> None:
    api = ScriptedApi(*[Unreachable()] * 60, None)
    assert client(api).enrich(ONE) == FOUND


def test_while_the_api_is_down_only_empty_batches_are_sent() -> None:
    api = ScriptedApi(*[Unreachable()] * 60, None)
    client(api).enrich(ONE)
    assert api.calls == [1] * 20 + [0] * 41 + [1]


def test_patience_ends() -> None:
    clock = FakeClock()
    with pytest.raises(ApiUnavailable):
        client(ScriptedApi(Unreachable()), clock, patience=30.0).enrich(ONE)
    assert 30 < clock.passed < 60


def test_a_retry_after_is_kept_to() -> None:
    clock = FakeClock()
    client(ScriptedApi(Unreachable(7.0, throttled=True), None), clock).enrich(ONE)
    assert 7.0 <= clock.passed < 8.0


def test_a_retry_after_beyond_patience_ends_the_run_at_once() -> None:
    clock = FakeClock()
    with pytest.raises(ApiUnavailable):
        client(ScriptedApi(Unreachable(86_400.0)), clock, patience=60.0).enrich(ONE)
    assert clock.passed < 1.0


def test_being_throttled_does_not_open_the_breaker() -> None:
    api = ScriptedApi(*[Unreachable(throttled=True)] * 30, None)
    client(api).enrich(ONE)
    assert set(api.calls) == {1}


def test_a_misused_api_is_not_asked_again() -> None:
    api = ScriptedApi(ApiMisused("the API answered 401"))
    with pytest.raises(ApiMisused):
        client(api).enrich(ONE)
    assert len(api.calls) == 1


def test_the_rate_is_kept_to() -> None:
    clock = FakeClock()
    asked = client(ScriptedApi(None), clock, rate=10.0)
    for _ in range(21):
        asked.enrich(ONE)
    assert clock.passed == pytest.approx(2.0)


def test_pauses_grow_and_are_drawn_from_zero() -> None:
    spent = []
    for _ in range(200):
        clock = FakeClock()
        client(ScriptedApi(BadCall(Reason.API_ERROR), None), clock).enrich(ONE)
        spent.append(clock.passed)
    assert max(spent) <= 0.2
    assert min(spent) < 0.05


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("0", 0.0), (" 12 ", 12.0), ("soon", None),
        ("Fri, 02 Jan 2026 00:00:30 GMT", 30.0), ("Thu, 01 Jan 2026 00:00:00 GMT", 0.0),
    ],
)  # fmt: skip
def test_a_retry_after_is_a_number_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b'{"result": []}', b'{"results": {}}', b'{"results": [', b"\xff"],
)
def test_what_is_no_answer_is_a_bad_call(content: bytes) -> None:
    with pytest.raises(BadCall):
        results_of(content)


@pytest.mark.parametrize("url", ["ftp://a", "localhost:80", "http://", "http://u:p@host"])
def test_an_address_that_cannot_be_used_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_url(url)
    assert "u:p" not in raised.value.message
